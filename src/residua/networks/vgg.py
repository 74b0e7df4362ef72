"""VGG: depth from stacked 3x3 convolutions.

Simonyan & Zisserman 2014 (arXiv:1409.1556), table 1.
"""

from collections.abc import Iterator, Mapping

from torch import nn

from residua.networks.naming import no_such_depth
from residua.networks.network import Network, Size, fully_connected, named

CONVOLUTIONS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}  # in each stage: configurations A, B, D and E
WIDTHS = (64, 128, 256, 512, 512)


def vgg(name: str, size: Size, options: Mapping[str, str]) -> Network:
    """A network of table 1, for images of 224 pixels.

    Args:
        name: the network's.
        size: of which the depth is 11, 13, 16 or 19.
        options: `norm` none, as the paper, or batch: batch normalization after each convolution,
            which keeps its bias, as in most later code.

    Raises:
        Refused: the table has no such depth.
    """
    if size.depth not in CONVOLUTIONS:
        raise no_such_depth(name, "network in the paper's table 1", size.depth, CONVOLUTIONS)
    features, c = nn.Sequential(), size.channels
    for stage, (count, d) in enumerate(zip(CONVOLUTIONS[size.depth], WIDTHS, strict=True), 1):
        layers = dict(convolutions(c, d, count, options["norm"] == "batch"))
        features.add_module(f"stage{stage}", named(**layers, pool=nn.MaxPool2d(2)))
        c = d
    return Network(name, features, fully_connected(c, 7, size.classes), size)


def convolutions(c: int, d: int, count: int, norm: bool) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of one stage by name."""
    for index in range(1, count + 1):
        yield f"conv{index}", nn.Conv2d(c, d, 3, padding=1)
        if norm:
            yield f"norm{index}", nn.BatchNorm2d(d)
        yield f"relu{index}", nn.ReLU()
        c = d
