"""A residual network of ours for small images that learns in minutes on a processor.

    stem       2x2 convolution to 24 channels, made for whitened filters (initialize.whiten); ReLU
    stage s    3x3 convolution to 64, 128, 256 channels; 2x2 maximum; norm; ReLU;
               n residual blocks y = relu(F(x) + x) of two 3x3 convolutions (2016a, figure 5, left)
    head       average over all positions, linear

What it is built from is known to be quick: few layers, wide ones, because matrix units are idle
half of the time below 64 channels; a convolution in front of each maximum and its norm behind it,
on a quarter of the values (Page 2019, "How to train your ResNet"); patches of 2x2 pixels, whose 12
directions and their negatives are 24 filters (Jordan 2024, "94 % on CIFAR-10 in 3.29 seconds on a
single GPU", arXiv:2404.00498). Ours is what joins them: an identity around every pair of
convolutions behind a maximum, so that each stage is a stage of a residual network.
"""

from collections.abc import Mapping

from torch import nn

from residua.networks.network import Head, Network, Size, named
from residua.networks.residual import basic, convolution, residual
from residua.networks.resnet import blocks_in_stage

STEM = 24  # channels: 2x2 patches of 3 colors have 12 directions, each with its negative
WIDTHS = (64, 128, 256)
SMALLEST = 9  # pixels; the stem leaves 8, and three maxima one


def sprint(name: str, size: Size, options: Mapping[str, str]) -> Network:
    """The network with n residual blocks in each stage: 6n+5 layers.

    Args:
        name: the network's.
        size: of which the depth is 6n+5.
        options: `width`, by which the channels of every stage are multiplied.

    Raises:
        Refused: the depth is not of that form.
    """
    count = blocks_in_stage(name, size.depth, 6, 5)
    widths = [int(width * float(options["width"])) for width in WIDTHS]
    layers: dict[str, nn.Module] = {
        "stem": named(conv=nn.Conv2d(size.channels, STEM, 2), relu=nn.ReLU())
    }
    c = STEM
    for index, d in enumerate(widths, 1):
        layers[f"stage{index}"] = stage(c, d, count)
        c = d
    head = Head(c, size.classes)
    return Network(name, named(**layers), head, size, smallest=SMALLEST)


def stage(c: int, d: int, count: int) -> nn.Sequential:
    """Halve the image at d channels, then `count` residual blocks."""
    down = named(
        conv=convolution(c, d, 3),
        pool=nn.MaxPool2d(2),
        norm=nn.BatchNorm2d(d),
        relu=nn.ReLU(),
    )
    blocks = [residual(basic(d, d, 1), nn.Identity()) for _ in range(count)]
    return nn.Sequential(down, *blocks)
