"""A deeper network that computes the same function, from layers that do nothing.

The construction of He et al. 2016a, section 1: "the added layers are identity mapping, and the
other layers are copied from the learned shallower model". New layers stand at the end of each
stage, so that names and weights of the old ones stay as they are.

    plain      y = relu(F(x))         F(x) = x: convolutions whose kernel is a single one, as
                                      DiracNets start (Zagoruyko & Komodakis 2017), and norms that
                                      divide by what they multiply with. x >= 0 after a ReLU
    residual   y = relu(F(x) + x)     F(x) = 0: the last scale of F, or its last convolution, is
                                      zero (Goyal et al. 2017, section 5.1)
    gated      y = T F(x) + (1-T) x   F(x) = x and T = 1/2, whose sum rounds nothing

In evaluation mode this holds to the last bit wherever convolutions add products in float32 (not in
the fast algorithms of a GPU). In training mode it holds for residual networks with identity
shortcuts and for networks without norms. A plain network's batch norm divides by each batch's own
deviation: there the scale and bias of a new norm are what its input has on average, and so the
function nearly stays. Without that, a first step would begin far from where the old network ended.
"""

import math
from collections.abc import Collection
from typing import NamedTuple

import torch
from torch import Tensor, nn

from residua.errors import Refused
from residua.networks import NETWORKS, build, parse, weightless
from residua.networks.naming import split, written
from residua.networks.network import Network
from residua.networks.norms import Scale, Shift
from residua.networks.residual import Gated, Residual
from residua.networks.shortcuts import Carry, Gate, Scaled

FINENESS = 16  # deviations are rounded to a 16th: then 1 / d times d is exactly 1
LEAST = 2.0**-7  # deviation, well above what batch norm adds to a variance


class Signal(NamedTuple):
    """Mean and deviation of each channel of a norm's input, as far as weights tell them."""

    mean: Tensor
    deviation: Tensor


@torch.no_grad()
def deepened(network: Network, depth: int) -> Network:
    """A network of the same family, `depth` layers deep, that computes the same function.

    It is in the same mode, on the same device; the given one stays as it is.

    Raises:
        Refused: the family has no such depth, its layers there are others, or none of them can
            do nothing; the message has the rule and the nearest depths.
    """
    name = deeper_name(network, depth)
    old = network.state_dict()
    deep = build(name, network.classes, network.channels)
    own = deep.state_dict()
    if not is_part(old, own):
        raise no_part(network, name)
    deep.to(next(network.parameters()))
    deep.load_state_dict(own | old)
    new = {path.rpartition(".")[0] for path in own.keys() - old.keys()}
    Filling(name, new).fill(deep)
    return deep.train(network.training)


def deeper_name(network: Network, depth: int) -> str:
    """The name of a network with another depth.

    Raises:
        Refused: it is not deeper, or the family has a single depth.
    """
    parts = split(network.name, NETWORKS)
    if parts is None or "{depth}" not in parts.template:
        fix = "choose a network whose name has a depth, such as resnet20-cifar"
        raise Refused(f"the family of {network.name} has one depth", f"depth {depth}", fix)
    if depth <= network.depth:
        raise Refused(
            f"{depth} layers are not more than the {network.depth} that there are",
            where=f"network {network.name}",
            fix=nearest(network),
        )
    return renamed(network.name, depth)


def renamed(name: str, depth: int) -> str:
    """A network's name with another depth, and as many blocks as that says."""
    parts = split(name, NETWORKS)
    family, _, options = parse(name)
    if "blocks" in options:  # those of a pruned network, say
        options["blocks"] = family.options["blocks"].default
    template = parts.template if parts else name
    return written(template.format(depth=depth), options, family.options)


def is_part(old: dict[str, Tensor], new: dict[str, Tensor]) -> bool:
    """Whether a network has all layers of another, under their names."""
    return all(path in new and new[path].shape == value.shape for path, value in old.items())


def no_part(network: Network, name: str) -> Refused:
    """What to raise where the layers of the deeper network are others."""
    return Refused(
        f"{name} is not {network.name} with more layers: its layers have other shapes",
        where=f"network {network.name}, depth {network.depth}",
        fix=nearest(network),
    )


def nearest(network: Network) -> str:
    """The depths of the papers that a network can be deepened to, in words."""
    found: list[str] = []
    old = network.state_dict()
    for depth in parse(network.name)[0].depths:
        if depth <= network.depth or len(found) == 2:
            continue
        try:
            deep = weightless(renamed(network.name, depth), network.classes, network.channels)
        except Refused:  # an option that this depth cannot have
            continue
        if is_part(old, deep.state_dict()):
            found.append(str(depth))
    if not found:
        return "no deeper network of its family has these layers"
    return f"choose a depth such as {' or '.join(found)}"


class Filling(NamedTuple):
    """The work on the new modules of one network, which are known by their paths."""

    name: str
    new: Collection[str]

    def fill(self, module: nn.Module, path: str = "", signal: Signal | None = None) -> Signal:
        """Let every new layer do nothing, in order; return what reaches the next norm.

        Raises:
            Refused: a layer cannot.
        """
        known = signal or Signal(torch.zeros(()), torch.ones(()))
        inside = [each for each in self.new if each == path or each.startswith(f"{path}.")]
        if not inside and path:
            return rectified(module) or known
        if isinstance(module, Residual) and len(inside) == weighted(module):
            self.join(module, path, known)
        elif isinstance(module, Gated):
            half_open(module.gate)
            self.fill(module.branch, f"{path}.branch", known)
        elif path in self.new:
            self.leave(module, known)
        else:
            for name, child in module.named_children():
                known = self.fill(child, f"{path}.{name}" if path else name, known)
        return known

    def join(self, block: Residual, path: str, signal: Signal) -> None:
        """Let a residual block give its input back: what the shortcut lacks, the branch has."""
        shortcut = block.shortcut
        if not isinstance(block.before, nn.Identity):
            raise self.cannot("a block that activates before its shortcut")
        self.fill(block.after, f"{path}.after", signal)
        if isinstance(shortcut, Scaled | Carry):
            if isinstance(block.after, nn.Identity):
                raise self.cannot("a branch whose input may be negative")
            if isinstance(shortcut, Carry):
                half_open(shortcut.gate)
            self.fill(block.branch, f"{path}.branch", signal)
            if not any(isinstance(layer, Scaled) for layer in block.branch.children()):
                halve(block.branch)
            return
        if not isinstance(shortcut, nn.Identity | nn.Dropout):
            self.fill(shortcut, f"{path}.shortcut", signal)
        silence(block.branch)

    def leave(self, layer: nn.Module, signal: Signal) -> None:
        """Let one layer give its input back, which is positive.

        Raises:
            Refused: it cannot.
        """
        if isinstance(layer, nn.Conv2d | nn.Linear):
            if layer.weight.shape[0] != layer.weight.shape[1]:
                raise self.cannot("a layer that changes the number of channels")
            unit(layer)
        elif isinstance(layer, nn.BatchNorm2d):
            unchanged(layer, signal)
        elif isinstance(layer, Scale):
            nn.init.ones_(layer.weight)
        elif not isinstance(layer, Shift):  # which starts at zero
            raise self.cannot("a norm of each image's own statistics")

    def cannot(self, what: str) -> Refused:
        return Refused(
            f"{what} cannot be made to do nothing",
            where=f"network {self.name}",
            fix="deepen a network of basic blocks with batch norm, or with identity shortcuts",
        )


def weighted(module: nn.Module) -> int:
    """How many modules in a module have weights of their own."""
    return len({path.rpartition(".")[0] for path in module.state_dict()})


def unit(layer: nn.Conv2d | nn.Linear) -> None:
    """Let a layer multiply each channel by one."""
    if isinstance(layer, nn.Conv2d):
        nn.init.dirac_(layer.weight, layer.groups)
    else:
        nn.init.eye_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def unchanged(norm: nn.BatchNorm2d, signal: Signal) -> None:
    """Let a norm take away the mean and deviation of its input, and put them back."""
    assert norm.running_mean is not None and norm.running_var is not None
    mantissa, exponent = torch.frexp(signal.deviation.clamp(min=LEAST))
    deviation = torch.ldexp((2 * FINENESS * mantissa).round(), exponent) / (2 * FINENESS)
    norm.weight.copy_(deviation.expand_as(norm.weight))
    norm.bias.copy_(signal.mean.expand_as(norm.bias))
    norm.running_mean.copy_(norm.bias)
    norm.running_var.copy_(norm.weight**2 - norm.eps)


def rectified(module: nn.Module) -> Signal | None:
    """Mean and deviation behind the ReLU after a module's last norm, None without a norm.

    The norm gives each channel its bias as the mean and its scale as the deviation; the rest of
    the distribution is taken to be Gaussian.
    """
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    if not norms:
        return None
    mean, deviation = norms[-1].bias, norms[-1].weight.abs().clamp(min=LEAST)
    at = mean / deviation
    above = 0.5 * (1 + torch.erf(at / math.sqrt(2)))
    density = torch.exp(-(at**2) / 2) / math.sqrt(2 * math.pi)
    first = mean * above + deviation * density
    second = (mean**2 + deviation**2) * above + mean * deviation * density
    return Signal(first, (second - first**2).clamp(min=0).sqrt())


def silence(branch: nn.Module) -> None:
    """Let a branch give zero, in training, too; its other layers keep their first weights."""
    layers = [layer for layer in branch.children() if hasattr(layer, "weight")]
    if not any(not layer.get_parameter("weight").any() for layer in layers):
        nn.init.zeros_(layers[-1].get_parameter("weight"))


def halve(branch: nn.Module) -> None:
    """Halve what a branch gives."""
    last = [layer for layer in branch.children() if hasattr(layer, "weight")][-1]
    for parameter in last.parameters():
        parameter.mul_(0.5)


def half_open(gate: Gate) -> None:
    """Let a gate be one half, whatever it sees."""
    for parameter in gate.parameters():
        nn.init.zeros_(parameter)


@torch.no_grad()
def difference(one: Network, other: Network, images: Tensor) -> float:
    """The largest difference of two networks' logits in evaluation mode.

    Args:
        images: as the networks take them (b, c, h, w), on their device.
    """
    logits = []
    for network in (one, other):
        was = network.training
        network.eval()
        logits.append(network(images))
        network.train(was)
    return float((logits[0] - logits[1]).abs().max())
