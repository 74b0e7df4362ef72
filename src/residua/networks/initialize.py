"""Where training starts: random weights whose scale neither grows nor fades with depth.

Each parameter draws from a random stream of its own, keyed by the seed and its name. Two networks
that share a name share that draw, so a plain network and its residual twin start from the same
weights, and a comparison between them varies the shortcuts alone.
"""

import hashlib
import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from residua.networks.residual import Residual, branches


def he(network: nn.Module, seed: int) -> None:
    """Draw all weights in place, as He et al. 2015b (arXiv:1502.01852), section 2.2.

    A convolution's deviation is sqrt(2 / fan), because a ReLU after it halves the signal. With
    norms the fan is that of the outputs, which keeps the gradient's size (equation 14); without
    them it is that of the inputs, which keeps the signal's (equation 10): else layers that narrow,
    such as GoogLeNet's 1x1, would amplify it. Linear layers have sqrt(2 / fan_in), or
    sqrt(1 / fan_in) where no ReLU follows. Norms start as the identity, biases at zero, and gates
    and scales where they say.
    """
    normed = any(isinstance(module, nn.BatchNorm2d | nn.GroupNorm) for module in network.modules())
    rectified = {
        layer
        for sequence in network.modules()
        if isinstance(sequence, nn.Sequential)
        for layer, after in pairwise(sequence)
        if isinstance(after, nn.ReLU)
    }
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            channels = module.out_channels if normed else module.in_channels
            fan = channels * math.prod(module.kernel_size) // module.groups
            normal(module.weight, math.sqrt(2 / fan), seed, name)
        elif isinstance(module, nn.Linear):
            gain = 2 if module in rectified else 1
            normal(module.weight, math.sqrt(gain / module.in_features), seed, name)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    for module in network.modules():  # last, because a gate decides about the layer that it holds
        reset = getattr(module, "reset_parameters", None)
        if reset is not None and not isinstance(module, nn.Conv2d | nn.Linear):
            reset()


def zero_last_scale(network: nn.Module) -> None:
    """Start every residual block as its shortcut: the branch's last norm scales by zero.

    From Goyal et al. 2017 (arXiv:1706.02677), section 5.1. A branch that ends in a convolution, as
    in pre-activation or without norms, has that zeroed instead.
    """
    for block in network.modules():
        if isinstance(block, Residual):
            heavy = nn.BatchNorm2d | nn.GroupNorm | nn.Conv2d
            last = [layer for layer in block.branch.children() if isinstance(layer, heavy)][-1]
            nn.init.zeros_(last.get_parameter("weight"))


PATCHES = 200_000  # that `whiten` lays out in memory at once
FLOOR = 5e-4  # added to each direction's variance, so that noise is not blown up


@torch.no_grad()
def whiten(network: nn.Module, images: Tensor, *, frozen: bool = False) -> None:
    """Let the first convolution see uncorrelated directions of the images' patches.

    With C = V E V^T the covariance of patches, its filters become the rows of E^(-1/2) V^T, those
    of most variance first, each with its negative, since the ReLU behind would lose half of it. A
    layer with more filters than directions keeps the others as they were; its bias starts at zero.
    From PCA whitening; as a first layer in Page 2019, "How to train your ResNet", part 8.

    Args:
        network: changed in place.
        images: training images as the network takes them (n, c, h, w), some hundreds or more.
        frozen: whether these filters shall not learn.
    """
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    height, width = first.kernel_size
    products, count = torch.zeros(first.weight[0].numel(), first.weight[0].numel()), 0
    for some in images.float().split(max(1, PATCHES // math.prod(images.shape[2:]))):
        patches = functional.unfold(some, (height, width)).transpose(1, 2).flatten(0, 1)
        products += patches.T @ patches
        count += len(patches)
    variances, directions = torch.linalg.eigh(products / count)
    filters = (directions / (variances + FLOOR).sqrt()).T.flip(0)[: first.out_channels // 2]
    filters = filters.view(-1, *first.weight.shape[1:]).to(first.weight)
    first.weight[: len(filters)] = filters
    first.weight[len(filters) : 2 * len(filters)] = -filters
    first.weight.requires_grad_(not frozen)


def fixup(network: nn.Module) -> None:
    """Scale weights drawn by `he` so that depth changes no update (Zhang et al. 2019, section 3).

    In each of L branches, the last of m convolutions starts at zero and the others are scaled by
    L^(-1 / (2m - 2)); the classifier starts at zero.
    """
    found = branches(network)
    for branch in found.values():
        *others, last = (layer for layer in branch if isinstance(layer, nn.Conv2d))
        nn.init.zeros_(last.weight)
        for layer in others:
            with torch.no_grad():
                layer.weight *= len(found) ** (-1 / (2 * len(others)))
    *_, classifier = (layer for layer in network.modules() if isinstance(layer, nn.Linear))
    nn.init.zeros_(classifier.weight)


def normal(weight: Tensor, deviation: float, seed: int, name: str) -> None:
    """Fill `weight` from the stream of `seed` and `name`, on any device."""
    if weight.is_meta:
        return
    key = hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8]
    generator = torch.Generator().manual_seed(int.from_bytes(key, "big") >> 1)
    with torch.no_grad():
        weight.copy_(torch.randn(weight.shape, generator=generator) * deviation)
