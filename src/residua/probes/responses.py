"""How strongly each layer of a network responds to images (He et al. 2016a, section 4.2, figure 7).

The response of a layer is the output of its 3x3 convolution after normalization and before what
follows, a ReLU or an addition. If residual functions are closer to zero than others, so are their
responses; that is what the identity is said to make easy to learn.
"""

from collections.abc import Iterable
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from residua.errors import Refused

NORMS = (nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm2d, nn.LayerNorm)
KERNEL = (3, 3)


class Response(NamedTuple):
    """What one layer answers to images."""

    name: str  # the path of its convolution
    norm: str  # the path of the norm behind it; empty where there is none
    deviation: float  # standard deviation over all images, positions and channels


class Moments(NamedTuple):
    """How many values there are, their sum and the sum of their squares."""

    values: int
    sum: float
    squares: float

    def plus(self, other: "Moments") -> "Moments":
        sums = self.sum + other.sum, self.squares + other.squares
        return Moments(self.values + other.values, *sums)

    @property
    def deviation(self) -> float:
        return float(max(0.0, self.squares / self.values - (self.sum / self.values) ** 2) ** 0.5)


class Watched:
    """What the layers of a network have answered so far."""

    def __init__(self) -> None:
        self.total: dict[str, Moments] = {}
        self.norms: dict[str, str] = {}
        # What a convolution gave in this pass, until a norm takes it: its output, which a ReLU may
        # since have altered in place, and its moments before that.
        self.latest: dict[str, tuple[Tensor, Moments]] = {}

    def convolved(self, name: str, module: nn.Module, args: Any, output: Tensor) -> None:
        self.total.setdefault(name, Moments(0, 0.0, 0.0))  # in the order of the first calls
        self.settle(name)
        self.latest[name] = output, moments(output)

    def normalized(self, name: str, module: nn.Module, args: Any, output: Tensor) -> None:
        """A norm's output counts for the convolution whose output it was given."""
        for source, (values, _) in self.latest.items():
            if args and values is args[0]:
                self.norms[source] = name
                self.latest[source] = values, moments(output)

    def settle(self, name: str) -> None:
        """Count what a convolution gave."""
        if name in self.latest:
            _, new = self.latest.pop(name)
            self.total[name] = new.plus(self.total[name])


def moments(values: Tensor) -> Moments:
    known = values.double()
    return Moments(known.numel(), float(known.sum()), float(known.square().sum()))


@torch.no_grad()
def responses(network: nn.Module, batches: Iterable[Tensor]) -> list[Response]:
    """Measure every layer that has a 3x3 convolution, in evaluation mode, on a copy of a network.

    A norm belongs to a convolution if it is called with what that gave, whatever the code between;
    without one, as before an addition in pre-activation, the convolution's own output counts.

    Args:
        network: any module with convolutions.
        batches: images as the network takes them.

    Returns:
        The layers in the order in which images pass them.

    Raises:
        Refused: no 3x3 convolution was called.
    """
    copied = deepcopy(network).eval()
    watched = Watched()
    for name, module in copied.named_modules():
        if isinstance(module, nn.Conv2d) and tuple(module.kernel_size) == KERNEL:
            module.register_forward_hook(partial(watched.convolved, name))
        elif isinstance(module, NORMS):
            module.register_forward_hook(partial(watched.normalized, name))
    for images in batches:
        copied(images)
        for name in list(watched.latest):
            watched.settle(name)
    if not watched.total:
        raise Refused("the network has no 3x3 convolution", where=type(network).__name__)
    norms = watched.norms
    return [
        Response(name, norms.get(name, ""), sums.deviation) for name, sums in watched.total.items()
    ]
