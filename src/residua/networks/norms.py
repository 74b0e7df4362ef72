"""Other norms than batch normalization, and networks without any.

    group, layer    statistics of one image     Wu & He 2018                    arXiv:1803.08494
    none            biases in place of norms
    fixup           and learned scalars         Zhang, Dauphin & Ma 2019        arXiv:1901.09321
    skipinit        and a scale from zero       De & Smith 2020                 arXiv:2002.10444

ReZero (Bachlechner et al. 2020, arXiv:2003.04887) is the same as SkipInit.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from residua.networks.network import named
from residua.networks.residual import branches


def steady(network: nn.Module) -> bool:
    """Whether norms, or scales that stand for them, keep the signal's size at high rates."""
    kinds = nn.BatchNorm2d | nn.GroupNorm | Scale
    return any(isinstance(module, kinds) for module in network.modules())


def renormalize(features: nn.Module, norm: Callable[[int], nn.Module]) -> None:
    """Put `norm`, made for a number of channels, in place of each batch normalization."""
    for path, module in list(features.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            features.set_submodule(path, norm(module.num_features))


def group(features: nn.Module) -> None:
    """The paper's 32 groups (section 3), fewer where they would be of a single channel."""
    renormalize(features, lambda channels: nn.GroupNorm(math.gcd(32, channels // 2), channels))


def layer(features: nn.Module) -> None:
    """All channels and positions together (Wu & He 2018, figure 2)."""
    renormalize(features, lambda channels: nn.GroupNorm(1, channels))


def none(features: nn.Module) -> None:
    """Leave norms out, and give each convolution the bias that they had."""
    renormalize(features, lambda channels: nn.Identity())
    for module in features.modules():
        if isinstance(module, nn.Conv2d) and module.bias is None:
            module.bias = nn.Parameter(torch.empty(module.out_channels))


class Shift(nn.Module):
    """Add one learned number to every value."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


class Scale(nn.Module):
    """Multiply every value by one learned number that starts at `initial`."""

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.initial = initial
        self.weight = nn.Parameter(torch.tensor(initial))

    def reset_parameters(self) -> None:
        nn.init.constant_(self.weight, self.initial)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


def fixup(features: nn.Module) -> None:
    """Fixup's third rule (2019, section 3): scalars in place of norms.

    A shift stands before each convolution, linear layer and activation, a scale after each
    branch's last convolution. The first two rules are initialize.fixup.
    """
    renormalize(features, lambda channels: Shift())
    for path, branch in branches(features).items():
        layers: dict[str, nn.Module] = {}
        convolutions = [n for n, layer in branch.named_children() if isinstance(layer, nn.Conv2d)]
        for name, layer in branch.named_children():
            if name in convolutions:
                layers[name.replace("conv", "shift")] = Shift()
            layers[name] = layer
            if name == convolutions[-1]:
                layers["scale"] = Scale(1.0)
        features.set_submodule(path, named(**layers))
    features.add_module("shift", Shift())  # averaged later, it stands before the linear layer


def skipinit(features: nn.Module) -> None:
    """Start every block as its shortcut: a learned scale that ends each branch is zero at first.

    De & Smith 2020, section 3.
    """
    none(features)
    for branch in branches(features).values():
        branch.add_module("scale", Scale(0.0))


NORMS: dict[str, Callable[[nn.Module], None]] = {
    "batch": lambda features: None,  # as built
    "group": group,
    "layer": layer,
    "none": none,
    "fixup": fixup,
    "skipinit": skipinit,
}
