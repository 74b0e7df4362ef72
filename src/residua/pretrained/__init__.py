"""Weights that come with Residua: predict, explain and fine-tune from the first minute, offline.

Each is a file of this folder with its card beside it, both written by `benchmarks/pretrained.py`.
They are stored in half precision and computed with in single; their errors were measured so.
"""

from pathlib import Path

PRETRAINED = {
    "resnet20-cifar10": "ResNet-20, ten kinds of things in pictures of 32 pixels",
    "resnet56-cifar10": "ResNet-56, the same",
    "resnet20-digits": "ResNet-20, handwritten digits of 8 pixels",
}


def is_pretrained(source: str | Path) -> bool:
    """Whether this is the name of such weights, and no file of that name is nearer."""
    return str(source) in PRETRAINED and not Path(source).exists()


def file_of(name: str) -> Path:
    """The weights file of one of PRETRAINED."""
    return Path(__file__).parent / f"{name}.safetensors"
