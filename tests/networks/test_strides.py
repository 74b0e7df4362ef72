"""v1 or v1.5: resolved where their code settles it, refused where it does not."""

import pytest

from residua.errors import Refused
from residua.networks.strides import agree, leaves_stride_open, strided, strides


@pytest.mark.parametrize(
    ("name", "open_"),
    [
        ("resnet50", True),
        ("resnet50-se", True),
        ("preact101", True),
        ("resnet50-v1", False),
        ("resnet50-v1.5", False),
        ("resnet50-stride=1x1", False),
        ("resnet50-3x3", False),
        ("resnet50-d", False),
        ("resnet34", False),
        ("vgg16", False),
        ("resnet20-cifar", False),
    ],
)
def test_what_a_name_leaves_open(name: str, open_: bool) -> None:
    assert leaves_stride_open(name) is open_


def test_their_code_settles_it() -> None:
    assert strided("resnet101", "torchvision", "x")[0] == "resnet101-v1.5"
    assert strided("resnet50-gn", "timm", "x")[0] == "resnet50-gn-v1.5"
    for name in ("resnet50-v1", "resnet50-v1.5", "resnext50", "resnet18", "plain34", "vgg11"):
        assert strided(name, "torchvision", "x") == (name, [])
    with pytest.raises(Refused, match="with either stride"):
        strided("resnet50", "transformers", "x")
    assert strides("resnet50", "torchvision") == {"3x3"}
    assert strides("resnet50", "transformers") == {"1x1", "3x3"}
    assert strides("preact50", "torchvision") == set()


def test_names_that_agree() -> None:
    assert agree("resnet50", "resnet50-v1.5")
    assert agree("resnet50", "resnet50-v1")
    assert agree("resnet50-stride=3x3", "resnet50-v1.5")
    assert not agree("resnet50-v1", "resnet50-v1.5")
    assert not agree("resnet50", "resnet101-v1.5")
    assert not agree("resnet50-se", "resnet50-v1.5")
    assert agree("resnet18", "resnet18")
