"""Where training starts: random weights whose scale neither grows nor fades with depth.

Each parameter draws from a random stream of its own, keyed by the seed and its name. Two networks
that share a name share that draw, so a plain network and its residual twin start from the same
weights, and a comparison between them varies the shortcuts alone.
"""

import hashlib
import math

import torch
from torch import Tensor, nn

from residua.networks.residual import Residual


def he(network: nn.Module, seed: int) -> None:
    """Draw all weights in place, as He et al. 2015b (arXiv:1502.01852), equation 14.

    Convolutions get a deviation of sqrt(2 / fan_out), because a ReLU after them halves the signal;
    the last linear layer, which no ReLU follows, sqrt(1 / fan_in). Norms start as the identity.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * math.prod(module.kernel_size) // module.groups
            normal(module.weight, math.sqrt(2 / fan_out), seed, name)
        elif isinstance(module, nn.Linear):
            normal(module.weight, math.sqrt(1 / module.in_features), seed, name)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        bias = getattr(module, "bias", None)
        if isinstance(bias, Tensor):
            nn.init.zeros_(bias)


def zero_last_scale(network: nn.Module) -> None:
    """Start every residual block as its shortcut: the branch's last norm scales by zero.

    From Goyal et al. 2017 (arXiv:1706.02677), section 5.1. Pre-activation branches end in a
    convolution, which is zeroed instead.
    """
    for block in network.modules():
        if isinstance(block, Residual):
            last = list(block.branch.children())[-1]
            nn.init.zeros_(last.get_parameter("weight"))


def normal(weight: Tensor, deviation: float, seed: int, name: str) -> None:
    """Fill `weight` from the stream of `seed` and `name`, on any device."""
    if weight.is_meta:
        return
    key = hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8]
    generator = torch.Generator().manual_seed(int.from_bytes(key, "big") >> 1)
    with torch.no_grad():
        weight.copy_(torch.randn(weight.shape, generator=generator) * deviation)
