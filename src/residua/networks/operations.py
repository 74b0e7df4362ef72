"""One operation of a network: its name in words, what it costs and how far it sees.

An operation with kernel k, dilation d and stride s makes a network's receptive field r and stride j
(input pixels between neighbors), whatever the padding,

    r' = r + d (k - 1) j        j' = s j

Multiply-adds are those of convolutions and linear layers, as the papers count them (He et al.
2016a, table 1).
"""

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import nn

from residua.networks.shortcuts import ZeroPad
from residua.networks.tracing import Call, function_name

SLIDING = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MaxPool2d, nn.AvgPool2d)
POOL_FUNCTIONS = ("max_pool2d", "avg_pool2d")
PRODUCTS = ("conv1d", "conv2d", "conv3d", "linear")  # functions whose second argument is a weight
MIXING = re.compile("conv|pool|fold|interpolate|upsample|matmul|roll|attention|einsum|shuffle")


class Node(NamedTuple):
    """One operation on one image."""

    name: str  # the path of its module, or the calling module's with the function's name
    operation: str  # in words: "convolution 3x3/2, 64"
    inputs: tuple[str, ...]
    shape: tuple[int, ...]  # (c, h, w) or (c,)
    parameters: int  # those of a module that is used twice count once
    multiply_adds: int
    receptive_field: int | None  # in input pixels; None after an operation without a fixed one
    stride: int | None  # input pixels between neighbors


class Window(NamedTuple):
    """How many positions of its input one result sees, and how many its neighbor is further on."""

    size: int
    stride: int


def describe(call: Call, inputs: Sequence[Node], parameters: int) -> Node:
    """Measure an operation that made a tensor from what `inputs` made."""
    if call.name == "input":
        return Node("input", "input", (), tuple(call.value.shape[1:]), 0, 0, 1, 1)
    constant = call.item.op == "get_attr"
    receptive_field, stride = (None, None) if constant else view(call, inputs)
    return Node(
        name=call.name,
        operation="constant" if constant else words(call),
        inputs=tuple(source.name for source in inputs),
        shape=tuple(call.value.shape[0 if constant else 1 :]),
        parameters=parameters,
        multiply_adds=multiply_adds(call),
        receptive_field=receptive_field,
        stride=stride,
    )


def words(call: Call) -> str:
    """Say what an operation does: "convolution 3x3/2, 64", "batch norm", "add"."""
    match call.module:
        case None:
            return function_words(call)
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d() as conv:
            groups = f", {conv.groups} groups" if conv.groups > 1 else ""
            return f"convolution {window_words(conv)}, {conv.out_channels}{groups}"
        case nn.ConvTranspose1d() | nn.ConvTranspose2d() | nn.ConvTranspose3d() as conv:
            return f"transposed convolution {window_words(conv)}, {conv.out_channels}"
        case nn.MaxPool2d() | nn.AvgPool2d() as pool:
            kind = "max" if isinstance(pool, nn.MaxPool2d) else "average"
            return f"{kind} pool {window_words(pool)}"
        case nn.AdaptiveAvgPool2d(output_size=1 | (1, 1)):
            return "global average pool"
        case nn.Linear() as linear:
            return f"linear, {linear.out_features}"
        case module:
            spaced = re.sub("(?<=[a-z])(?=[A-Z][a-z])", " ", type(module).__name__)
            return re.sub("[123]d$", "", spaced).lower()  # BatchNorm2d -> batch norm


def function_words(call: Call) -> str:
    """Name a function; 1 - x by its number, because gates hang on it."""
    name = function_name(call.item)
    if name in ("sub", "rsub") and len(call.args) == 2:
        number = call.args[0 if name == "sub" else 1]
        return f"{number:g} - x" if isinstance(number, int | float) else name
    return name


def window_words(module: Any) -> str:
    """Return kernel and stride as 3x3/2."""
    kernel, stride = pair(module.kernel_size), max(pair(module.stride))
    return "x".join(map(str, kernel)) + (f"/{stride}" if stride > 1 else "")


def pair(value: Any) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else tuple(value)


def multiply_adds(call: Call) -> int:
    """Count those of one image: each weight meets every position that it slides over."""
    match call.module:
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d() | nn.Linear() as module:
            weight, positions = module.weight, call.value[0]
        case nn.ConvTranspose1d() | nn.ConvTranspose2d() | nn.ConvTranspose3d() as module:
            weight, positions = module.weight, call.args[0][0]
        case None if words(call) in PRODUCTS and len(call.args) > 1:
            weight, positions = call.args[1], call.value[0]
        case _:
            return 0
    return int(positions.numel() * math.prod(weight.shape[1:]))


def view(call: Call, inputs: Sequence[Node]) -> tuple[int | None, int | None]:
    """Return receptive field and stride of the result; None where positions differ in them."""
    images = [source for source in inputs if source.operation != "constant"]
    sizes = [source.receptive_field for source in images if source.receptive_field is not None]
    strides = [source.stride for source in images if source.stride is not None]
    if not images or len(sizes) < len(images):
        return None, None
    step = window(call, images[0].shape[1:], tuple(call.value.shape[2:]))
    if step is None:
        return None, None
    return max(sizes) + (step.size - 1) * min(strides), step.stride * min(strides)


def window(call: Call, before: tuple[int, ...], after: tuple[int, ...]) -> Window | None:
    """Return what one of the positions `after` sees of the positions `before`."""
    module: Any = call.module
    name = words(call)
    if isinstance(module, SLIDING):
        return sliding(module.kernel_size, module.stride, getattr(module, "dilation", 1))
    if module is None and name in POOL_FUNCTIONS:
        kernel = call.args[1] if len(call.args) > 1 else call.kwargs["kernel_size"]
        stride = call.args[2] if len(call.args) > 2 else call.kwargs.get("stride")
        return sliding(kernel, stride or kernel, 1)
    ratios = {p / q for p, q in zip(before, after, strict=False)}
    if isinstance(module, nn.AdaptiveAvgPool2d) and len(ratios) == 1 and ratios.pop().is_integer():
        return Window(before[0] // after[0], before[0] // after[0])  # equal windows, side by side
    if before == after and not MIXING.search(name):
        return Window(1, 1)  # position by position
    if isinstance(module, nn.ReflectionPad2d | nn.ZeroPad2d):
        return Window(1, 1)  # like the padding of a convolution
    if set(after) <= {1}:
        return Window(max(before, default=1), max(before, default=1))  # all positions become one
    if isinstance(module, ZeroPad) or name == "getitem":
        return Window(1, max(math.ceil(p / q) for p, q in zip(before, after, strict=True)))
    return None


def sliding(kernel: Any, stride: Any, dilation: Any) -> Window:
    return Window(max(pair(dilation)) * (max(pair(kernel)) - 1) + 1, max(pair(stride)))
