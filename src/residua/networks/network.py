"""A classifier is `head(features(x))`: where to look, and what to conclude.

Keeping the two apart is what lets responses, lesions and dense evaluation work on every network
without a special case.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from residua.errors import Refused


class Size(NamedTuple):
    """The numbers that a network is built for."""

    depth: int  # weighted layers, as papers count them
    classes: int
    channels: int  # of the images


class Head(nn.Module):
    """Average each channel over all positions, then classify (He et al. 2016a, table 1)."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:  # (b, c, h, w) -> (b, classes)
        return self.linear(self.flatten(self.pool(x)))


class Network(nn.Module):
    """A named classifier.

    Args:
        name: what `networks.build` calls it.
        features: images (b, channels, h, w) to a feature map (b, width, h / stride, w / stride);
            its children are the stages, in order.
        head: the feature map to logits (b, classes).
        size: what it was built for.
        stride: how many input pixels lie between two neighbours of the feature map.
    """

    def __init__(
        self, name: str, features: nn.Sequential, head: nn.Module, size: Size, stride: int
    ) -> None:
        super().__init__()
        self.name, self.stride = name, stride
        self.depth, self.classes, self.channels = size
        self.features, self.head = features, head

    def forward(self, x: Tensor) -> Tensor:
        """Map images (b, channels, h, w) to logits (b, classes).

        Raises:
            Refused: the images have other channels, or are smaller than the total stride.
        """
        self.check(x.shape)
        return self.head(self.features(x))

    def check(self, shape: Sequence[int]) -> None:
        """Raise Refused where images of `shape`, (b, channels, h, w), cannot pass."""
        if len(shape) != 4 or shape[1] != self.channels:
            raise Refused(
                f"{self.name} takes images of shape (batch, {self.channels}, height, width)",
                where=f"received shape {tuple(shape)}",
                fix=f"build it with channels={shape[1]}" if len(shape) == 4 else "add a batch axis",
            )
        if min(shape[2:]) < self.stride:
            raise Refused(
                f"the images are too small for {self.name}, whose strides multiply to "
                f"{self.stride}",
                where=f"received {shape[2]}x{shape[3]} pixels",
                fix=f"enlarge them to at least {self.stride}x{self.stride}, or choose a network "
                "for small images such as resnet20-cifar",
            )
