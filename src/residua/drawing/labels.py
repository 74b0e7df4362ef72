"""What stands in a box: an operation's words as a slide has room for them.

convolution 3x3/2, 64     3×3 conv, 64, /2
linear, 1000              fc 1000
"""

import re
from typing import TYPE_CHECKING

from residua.theme import printable

if TYPE_CHECKING:
    from residua.networks.operations import Node

LAYER, POOL, JOIN, LIGHT, MOVE, INPUT = "layer", "pool", "join", "light", "move", "input"

SIGNS = {"add": "+", "mul": "×", "sub": "−", "rsub": "1 −", "truediv": "÷", "neg": "−"}
CONCATENATIONS = ("cat", "concat", "stack", "hstack", "vstack")
SLIDING = re.compile(r"(?P<what>.*?(?:convolution|pool)) (?P<size>[\dx]+)(?:/(?P<stride>\d+))?(.*)")
FLAT = re.compile("flatten|view|reshape|squeeze|permute|transpose|contiguous|dropout|unflatten")
WEIGHTED = re.compile(r"convolution|linear|conv\dd|multihead|embedding|lstm|gru")
SHORTER = {
    "global average pool": "avg pool",
    "adaptive avg pool": "avg pool",
    "adaptive_avg_pool2d": "avg pool",
    "batch norm": "norm",
    "group norm": "norm",
    "layer norm": "norm",
}
LONGEST = 30  # characters in a box

NARROW, WIDE = set(" .,:;!|'()[]ijltfI1/-"), set("mwMWGOQ×@%")


def kind(node: "Node", sources: int) -> str:
    """Say how an operation with so many inputs is drawn."""
    name = node.operation
    if name == "input":
        return INPUT
    if sources > 1 and not WEIGHTED.search(name):
        return JOIN
    if WEIGHTED.search(name) or node.multiply_adds:
        return LAYER
    if "pool" in name or name in ("mean", "average", "lp pool"):
        return POOL
    return LIGHT


def is_flat(node: "Node") -> bool:
    """Whether an operation only arranges values anew."""
    return bool(FLAT.search(node.operation))


def label(node: "Node") -> str:
    """Return the words of a box."""
    if node.operation == "input":
        what = "image" if node.name == "input" else "x "
        return f"{what} {' × '.join(map(str, node.shape))}"
    if found := SLIDING.fullmatch(node.operation):
        return printable(sliding(found, node.operation), LONGEST)
    if node.operation.startswith("linear, "):
        return "fc " + node.operation.removeprefix("linear, ")
    if node.operation.endswith(" - x"):
        return node.operation.replace("-", "−")
    return printable(SHORTER.get(node.operation, node.operation).replace("_", " "), LONGEST)


def sliding(found: "re.Match[str]", operation: str) -> str:
    """Name a convolution or pooling: kernel, channels, then what is unusual."""
    size, what = found["size"].replace("x", "×"), found["what"]
    turned = "transposed" in what  # its stride enlarges
    for word, short in (("transposed convolution", "up-conv"), ("convolution", "conv")):
        what = what.replace(word, short)
    stride = f", {'×' if turned else '/'}{found['stride']}" if found["stride"] else ""
    return f"{size} {what.replace('average', 'avg')}{operation[found.start(4) :]}{stride}"


def brief(node: "Node") -> str:
    """Return the words of a small box on an arc."""
    if found := SLIDING.fullmatch(node.operation):
        size = found["size"].replace("x", "×")
        what = "" if "conv" in found["what"] else " pool"
        return f"{size}{what}" + (f", /{found['stride']}" if found["stride"] else "")
    return printable(label(node), 14)


def sign(node: "Node") -> str:
    """Return what stands in the circle, or "" where that needs words."""
    return SIGNS.get(node.operation, "")


def is_concatenation(node: "Node") -> bool:
    return node.operation in CONCATENATIONS


def width(text: str, size: float) -> float:
    """Estimate the pixels that a text takes in a common sans-serif font, a little too many."""
    units = sum(0.36 if c in NARROW else 0.9 if c in WIDE else 0.62 for c in text)
    wide = sum(0.45 for c in text if ord(c) > 0x2E80)  # Chinese, Japanese, Korean
    return (units + wide) * size
