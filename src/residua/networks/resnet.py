"""The papers' tables: which residual and plain networks there are.

for photographs     He et al. 2016a, table 1; Xie et al. 2017, table 1
for small images    He et al. 2016a, section 4.2; He et al. 2016b, section 3
wide                Zagoruyko & Komodakis 2016, table 1             arXiv:1605.07146

The option `blocks` gives other numbers of blocks in the stages than the tables have, such as those
of a pruned network. The depth in the name then says only which table it departs from, and so, for
photographs, the kind of block; the network's `depth` counts the layers that are there.
"""

from collections.abc import Mapping
from functools import partial

from torch import nn

from residua.errors import Refused
from residua.networks.naming import counted, no_such_depth
from residua.networks.network import Head, Network, Size, named
from residua.networks.residual import (
    JOINS,
    Branch,
    Design,
    Inner,
    assemble,
    basic,
    bottleneck,
    convolution,
)
from residua.networks.shortcuts import SHORTCUTS
from residua.networks.variants import vary

IMAGENET_BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}  # blocks in each stage (2016a, table 1); from 50 on they are bottlenecks


def imagenet(join: str, name: str, size: Size, options: Mapping[str, str]) -> Network:
    """A network of 2016a, table 1, for images of about 224 pixels.

    Args:
        join: a key of residual.JOINS.
        name: the network's.
        size: of which the depth is 18, 34, 50, 101 or 152.
        options: `shortcut`, a key of shortcuts.SHORTCUTS; `stem`; `stride` and `width`, those of
            `Inner`; and those of `variants.vary`.

    Raises:
        Refused: the table has no such depth, or its blocks have no inner width.
    """
    depth, classes, channels = size
    if depth not in IMAGENET_BLOCKS:
        what = "network in the paper's table 1; names for small images end in -cifar"
        raise no_such_depth(name, what, depth, IMAGENET_BLOCKS)
    branch = imagenet_branch(name, depth, options)
    widths = [(64 if depth < 50 else 256) * 2**stage for stage in range(4)]
    counts = counted(options) or IMAGENET_BLOCKS[depth]
    sizes = list(zip(widths, counts, strict=True))
    shortcut = SHORTCUTS[options.get("shortcut", "B")]
    stem = STEMS[options["stem"]](channels)
    features = assemble(stem, sizes, Design(JOINS[join], branch, shortcut))
    vary(features, options)
    size = size._replace(depth=(3 if depth >= 50 else 2) * sum(counts) + 2)
    return Network(name, features, Head(widths[-1], classes), size)


def imagenet_branch(name: str, depth: int, options: Mapping[str, str]) -> Branch:
    """Basic blocks up to 34 layers, bottlenecks from 50 on."""
    groups, width = options["width"].removesuffix("d").split("x")
    if depth >= 50:
        return partial(bottleneck, inner=Inner(int(groups), int(width), options["stride"]))
    if options["width"] != "1x64d":
        raise Refused(
            "only bottlenecks have an inner width, and this network has none",
            where=f"network {name}, width={options['width']}",
            fix="choose a depth of 50, 101 or 152",
        )
    return basic


def seven(channels: int) -> nn.Sequential:
    """One 7x7 convolution (2016a, table 1)."""
    return named(
        conv=nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False),
        norm=nn.BatchNorm2d(64),
        relu=nn.ReLU(),
        pool=nn.MaxPool2d(3, stride=2, padding=1),
    )


def deep(channels: int) -> nn.Sequential:
    """Three 3x3 convolutions in place of the 7x7 (He et al. 2018, figure 2b: ResNet-C and -D)."""
    layers: dict[str, nn.Module] = {}
    for index, (c, d) in enumerate(((channels, 32), (32, 32), (32, 64)), 1):
        layers[f"conv{index}"] = convolution(c, d, 3, stride=2 if index == 1 else 1)
        layers[f"norm{index}"] = nn.BatchNorm2d(d)
        layers[f"relu{index}"] = nn.ReLU()
    return named(**layers, pool=nn.MaxPool2d(3, stride=2, padding=1))


STEMS = {"7x7": seven, "deep": deep}


def cifar(join: str, name: str, size: Size, options: Mapping[str, str]) -> Network:
    """A network for images of about 32 pixels (2016a, section 4.2; 2016b, section 3).

    Three stages of n blocks, 16, 32 and 64 channels wide (bottlenecks: four times that), give
    6n+2 layers of 3x3 convolutions or 9n+2 layers in bottlenecks.

    Args:
        join: a key of residual.JOINS; the option `join` may name another.
        name: the network's.
        size: of which the depth is 6n+2 or 9n+2.
        options: `shortcut`, a key of shortcuts.SHORTCUTS; `branch`, basic or bottleneck; and
            those of `variants.vary`.

    Raises:
        Refused: the depth is not of that form.
    """
    small = options["branch"] == "basic"
    count = blocks_in_stage(name, size.depth, 6 if small else 9, 2)
    counts = counted(options) or (count,) * 3
    widths = [(16 if small else 64) * 2**stage for stage in range(3)]
    shortcut = SHORTCUTS[options.get("shortcut", "A")]
    design = Design(JOINS[options.get("join", join)], basic if small else bottleneck, shortcut)
    sizes = list(zip(widths, counts, strict=True))
    features = assemble(cifar_stem(size.channels), sizes, design)
    vary(features, options)
    size = size._replace(depth=(2 if small else 3) * sum(counts) + 2)
    return Network(name, features, Head(widths[-1], size.classes), size)


def wide(name: str, size: Size, options: Mapping[str, str]) -> Network:
    """A wide network for small images: pre-activation, few layers, many channels.

    WRN-d-k has 6n+4 layers, as the paper counts them: it counts the three projections and leaves
    out the linear layer.

    Args:
        name: the network's.
        size: of which the depth is 6n+4.
        options: `width`, the paper's k; and those of `variants.vary`, dropout among them.

    Raises:
        Refused: the depth is not of that form.
    """
    count = blocks_in_stage(name, size.depth, 6, 4)
    widths = [16 * 2**stage * int(options["width"]) for stage in range(3)]
    counts = counted(options) or (count,) * 3
    design = Design(JOINS["preact"], basic, SHORTCUTS["B"])
    sizes = list(zip(widths, counts, strict=True))
    features = assemble(cifar_stem(size.channels), sizes, design)
    vary(features, options)
    size = size._replace(depth=2 * sum(counts) + 4)
    return Network(name, features, Head(widths[-1], size.classes), size)


def cifar_stem(channels: int) -> nn.Sequential:
    """One 3x3 convolution to 16 channels."""
    return named(conv=convolution(channels, 16, 3), norm=nn.BatchNorm2d(16), relu=nn.ReLU())


def blocks_in_stage(name: str, depth: int, period: int, rest: int) -> int:
    """Solve depth = period n + rest for n, at least 1, or refuse with the nearest depths."""
    count, remainder = divmod(depth - rest, period)
    if remainder or count < 1:
        below = max(count, 1) * period + rest
        raise Refused(
            f"a depth of {depth} is impossible: it must be {period}n+{rest}",
            where=f"network {name}",
            fix=f"the nearest are {below} and {below + period}",
        )
    return count
