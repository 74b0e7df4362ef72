"""A classifier is `head(features(x))`: where to look, and what to conclude.

Keeping the two apart is what lets responses, lesions and dense evaluation work on every network
without a special case.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple, overload

from torch import Tensor, nn

from residua.errors import Refused


class Size(NamedTuple):
    """The numbers that a network is built for."""

    depth: int  # weighted layers, as papers count them
    classes: int
    channels: int  # of the images


def named(**modules: nn.Module) -> nn.Sequential:
    """A Sequential whose children, and so its parameters, have names."""
    return nn.Sequential(OrderedDict(modules))


class Features(nn.Sequential):
    """The stages of a network by name, in order; also the backbone of a detector or segmenter."""

    @overload
    def forward(self, x: Tensor, levels: None = None) -> Tensor: ...

    @overload
    def forward(self, x: Tensor, levels: Sequence[int]) -> list[Tensor]: ...

    def forward(self, x: Tensor, levels: Sequence[int] | None = None) -> Tensor | list[Tensor]:
        """Return the last feature map, or the last one of each level.

        Args:
            x: images (b, channels, h, w).
            levels: level l has feature maps (b, c, h / 2^l, w / 2^l); 2, 3, 4, 5 are the C2 to C5
                of feature pyramids (Lin et al. 2017, arXiv:1612.03144, section 3).

        Raises:
            Refused: the network has no such level.
        """
        if levels is None:
            for stage in self:
                x = stage(x)
            return x
        ends = self.levels()
        if strange := [level for level in levels if level not in ends]:
            raise Refused(
                f"these features have no level {strange[0]}",
                where=f"received levels={list(levels)}",
                fix=f"choose among {', '.join(map(str, ends))}",
            )
        wanted = {ends[level]: level for level in levels}
        maps: dict[int, Tensor] = {}
        for name, stage in self.named_children():
            if len(maps) == len(wanted):  # the stages above are not asked for
                break
            x = stage(x)
            if name in wanted:
                maps[wanted[name]] = x
        return [maps[level] for level in levels]

    def levels(self) -> dict[int, str]:
        """The last stage of each level, those whose stride is no power of two left out."""
        ends, stride = {}, 1
        for name, stage in self.named_children():
            stride *= stride_of(stage)
            if stride.bit_count() == 1:
                ends[stride.bit_length() - 1] = name
        return ends


class Head(nn.Module):
    """Average each channel over all positions, then classify (He et al. 2016a, table 1)."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:  # (b, c, h, w) -> (b, classes)
        return self.linear(self.flatten(self.pool(x)))


def fully_connected(width: int, side: int, classes: int) -> nn.Sequential:
    """The head of AlexNet and VGG: two hidden layers of 4096 units, half of them dropped.

    It is made for feature maps of `side` x `side` positions; others are averaged to that size.
    """
    return named(
        pool=nn.AdaptiveAvgPool2d(side),
        flatten=nn.Flatten(),
        linear1=nn.Linear(width * side**2, 4096),
        relu1=nn.ReLU(),
        dropout1=nn.Dropout(0.5),
        linear2=nn.Linear(4096, 4096),
        relu2=nn.ReLU(),
        dropout2=nn.Dropout(0.5),
        linear3=nn.Linear(4096, classes),
    )


class Network(nn.Module):
    """A named classifier.

    Args:
        name: what `networks.build` calls it.
        features: images (b, channels, h, w) to a feature map (b, width, h / stride, w / stride);
            its children are the stages, in order.
        head: the feature map to logits (b, classes).
        size: what it was built for.
        smallest: the least height and width of an image; by default the stride.
        auxiliary: heads that only training uses, each by the stage whose output it classifies.
    """

    def __init__(
        self,
        name: str,
        features: nn.Sequential,
        head: nn.Module,
        size: Size,
        *,
        smallest: int = 0,
        auxiliary: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.depth, self.classes, self.channels = size
        self.features = Features(OrderedDict(features.named_children()))
        self.head = head
        self.auxiliary = nn.ModuleDict(auxiliary or {})
        self.stride = stride_of(features)  # input pixels between two neighbors of the feature map
        self.smallest = smallest or self.stride

    def forward(self, x: Tensor) -> Tensor:
        """Map images (b, channels, h, w) to logits (b, classes).

        Raises:
            Refused: the images have other channels, or are too small.
        """
        self.check(x.shape)
        return self.head(self.features(x))

    def outputs(self, x: Tensor) -> list[Tensor]:
        """The logits (b, classes) of the head, then of each auxiliary head: what training needs."""
        if not self.auxiliary:
            return [self(x)]
        self.check(x.shape)
        auxiliary = []
        for name, stage in self.features.named_children():
            x = stage(x)
            if name in self.auxiliary:
                auxiliary.append(self.auxiliary[name](x))
        return [self.head(x), *auxiliary]

    def check(self, shape: Sequence[int]) -> None:
        """Raise Refused where images of `shape`, (b, channels, h, w), cannot pass."""
        if len(shape) != 4 or shape[1] != self.channels:
            raise Refused(
                f"{self.name} takes images of shape (batch, {self.channels}, height, width)",
                where=f"received shape {tuple(shape)}",
                fix=f"build it with channels={shape[1]}" if len(shape) == 4 else "add a batch axis",
            )
        if min(shape[2:]) < self.smallest:
            raise Refused(
                f"the images are too small for {self.name}",
                where=f"received {shape[2]}x{shape[3]} pixels",
                fix=f"enlarge them to at least {self.smallest}x{self.smallest} (--size), or choose "
                "a network for small images such as resnet20-cifar",
            )


def stride_of(module: nn.Module) -> int:
    """How many pixels of its input lie between two neighbors of a module's output."""
    parts = [stride_of(child) for child in module.children()]
    if isinstance(module, nn.Sequential):
        return math.prod(parts)
    if parts:  # side by side, as branch and shortcut are
        return max(parts)
    stride = getattr(module, "stride", 1)
    return max(stride) if isinstance(stride, tuple) else int(stride)
