"""Highway networks: a gate decides, for each unit, how much to transform and how much to carry.

    y = T(x) H(x) + (1 - T(x)) x        T(x) = sigmoid(W x + b)

Srivastava et al. 2015 (arXiv:1507.06228), equation 3: H is a layer and its ReLU, T a layer of the
same kind, and b starts below zero, so that an untrained network carries its input. Where the number
of units changes, a plain layer changes it (section 2.2).
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from torch import nn

from residua.errors import Refused
from residua.networks.naming import no_such_depth
from residua.networks.network import Head, Network, Size, named
from residua.networks.residual import Gated
from residua.networks.shortcuts import Gate

Layer = Callable[[], nn.Conv2d | nn.Linear]  # a new one, its input as wide as its result


def plain(layer: nn.Conv2d | nn.Linear) -> nn.Sequential:
    """H(x): a layer and its ReLU."""
    kind = "conv" if isinstance(layer, nn.Conv2d) else "linear"
    return named(**{kind: layer, "relu": nn.ReLU()})


def highway(layer: Layer, bias: float) -> Gated:
    """y = T(x) H(x) + (1 - T(x)) x; the gate's bias starts at `bias`."""
    return Gated(plain(layer()), nn.Identity(), Gate(layer(), bias), nn.Identity())


# Fully connected.


def fully_connected(join: str, name: str, size: Size, options: Mapping[str, str]) -> Network:
    """The networks of section 3.1: how deep can a stack of like layers be?

    As many hidden layers as the network is deep, the first of them plain; the softmax layer is not
    counted. The paper's images are 28x28; others are averaged to that size.

    Args:
        join: "highway" or "plain".
        name: the network's.
        size: of which the depth is 10, 20, 50 or 100 in the paper.
        options: `width`, units of a layer: 50 with gates and 71 without make layers of 5,100 and
            5,112 parameters; `bias`, where gates start: the paper searched -1 to -10, and -2 is
            that of its best network of 50 layers on these images (section 4).

    Raises:
        Refused: there would be no layer to gate, or the width is not a whole number.
    """
    if size.depth < 2:
        raise Refused(
            "a network of this family has at least 2 hidden layers, the first of them plain",
            where=f"network {name}",
            fix="choose a depth such as 10, 20, 50 or 100",
        )
    if not options["width"].isdigit():
        raise Refused("a width is a whole number", where=f"network {name}")
    width = int(options["width"])
    stem = named(
        pool=nn.AdaptiveAvgPool2d(28),
        flatten=nn.Flatten(),
        linear=nn.Linear(size.channels * 28 * 28, width),
        relu=nn.ReLU(),
    )
    blocks = nn.Sequential()
    for _ in range(size.depth - 1):
        if join == "plain":
            blocks.append(named(branch=plain(nn.Linear(width, width))))
        else:
            blocks.append(highway(partial(nn.Linear, width, width), float(options["bias"])))
    last = named(unflatten=nn.Unflatten(1, (width, 1, 1)))  # a feature map of one position
    features = named(stem=stem, stage1=blocks, last=last)
    return Network(name, features, Head(width, size.classes), size, smallest=1)


# Convolutional, for small images.


class Layout(NamedTuple):
    """Three stages of convolutions; the first of each is plain and changes the width."""

    counts: tuple[int, int, int]  # convolutions
    widths: tuple[int, int, int]
    sizes: tuple[int, ...]  # of the convolutions, in turn
    last: int  # channels of the 1x1 convolution before the classifier


CIFAR = {
    11: Layout((3, 3, 3), (16, 32, 64), (3,), 250),
    19: Layout((5, 6, 6), (32, 80, 128), (3,), 100),
    32: Layout((10, 10, 10), (32, 64, 96), (3, 1), 100),
}


def convolutional(name: str, size: Size, options: Mapping[str, str]) -> Network:
    """Reconstructions of Highway A, B and C, for images of 32 pixels (section 3.3).

    The paper prints depths and about 236 thousand, 2.3 and 1.25 million parameters, but no list of
    layers. The one of 19 layers, 2,256,838 parameters, is what its authors published later
    (github.com/flukeskywalker/highway-networks): FitNet 4 (Romero et al. 2015, arXiv:1412.6550)
    with one width in each stage, and a 1x1 convolution and a global average in place of its fully
    connected layer. The others follow that pattern. 11 layers, 236,328 parameters, are after
    FitNet 1, its third stage 64 wide throughout, and the 1x1 convolution as wide as the printed
    count asks; 32 layers, 1,264,502 parameters, alternate 3x3 and 1x1 convolutions, their widths
    chosen by the count.

    Args:
        name: the network's.
        size: of which the depth is 11, 19 or 32.
        options: `bias`, where gates start, -2 in the published definition; `dropout`, the share of
            values dropped from the images, before the later stages and before the classifier, 0.2
            in that definition.

    Raises:
        Refused: the paper has no such depth.
    """
    if size.depth not in CIFAR:
        what = "convolutional network in the paper"
        raise no_such_depth(name, what, size.depth, CIFAR)
    layout, dropout = CIFAR[size.depth], float(options.get("dropout", 0.2))
    head = named(
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        dropout=nn.Dropout(dropout),
        linear=nn.Linear(layout.last, size.classes),
    )
    features = convolutions(size.channels, layout, float(options["bias"]), dropout)
    return Network(name, features, head, size)


def convolutions(c: int, layout: Layout, bias: float, dropout: float) -> nn.Sequential:
    """The stages of a layout; the plain layer of the first is the stem."""
    features = nn.Sequential()
    for stage, (count, d) in enumerate(zip(layout.counts, layout.widths, strict=True), 1):
        first, *sizes = (layout.sizes * count)[:count]
        change = named(dropout=nn.Dropout(dropout), branch=plain(convolution(c, d, first)))
        carry = [highway(partial(convolution, d, d, size), bias) for size in sizes]
        if stage == 1:
            features.add_module("stem", change)
            features.add_module("stage1", nn.Sequential(*carry))
        else:
            pooled = named(pool=nn.MaxPool2d(2), **dict(change.named_children()))
            features.add_module(f"stage{stage}", nn.Sequential(pooled, *carry))
        c = d
    features.add_module("last", plain(convolution(c, layout.last, 1)))
    return features


def convolution(c: int, d: int, size: int) -> nn.Conv2d:
    """With a bias, because no normalization follows."""
    return nn.Conv2d(c, d, size, padding=size // 2)
