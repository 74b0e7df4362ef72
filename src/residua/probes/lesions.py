"""Trained networks with blocks removed, reordered, or followed along a single path.

    removed     y = f(h(x))    a residual block keeps its shortcut, a gated one only carries
                y = x          a plain block that keeps the shape passes its input on
    reordered   blocks of one stage and one shape change places
    followed    y = f(F(x) + h(x)), and the gradient goes back through F or h alone

Veit et al. 2016 (arXiv:1605.06431), sections 4.1 to 4.3. Unrolled, a residual network of n blocks
is the sum of 2^n paths, of which each block's branch lies on half.

Every function returns a new network: the one that is given stays as it is.
"""

import copy
import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import torch
from scipy.stats import kendalltau
from torch import Tensor, nn
from torch.nn import functional as F

from residua.errors import Refused
from residua.networks.network import Network, named, stride_of
from residua.networks.residual import Gated, Residual
from residua.words import listed


class Block(NamedTuple):
    """A block of a network, as far as it matters to what can be done to it."""

    name: str  # stage2.0
    kind: str  # residual, gated or plain
    keeps_shape: bool
    identity: bool  # what remains of it without its branch is exactly the identity

    @property
    def stage(self) -> str:
        return self.name.split(".")[0]

    @property
    def droppable(self) -> bool:
        """A plain block that changes the shape leaves nothing that could take its place."""
        return self.kind != "plain" or self.keeps_shape


def blocks_of(network: Network) -> tuple[Block, ...]:
    """The blocks of a network in order.

    Raises:
        Refused: it has none, as AlexNet, VGG and GoogLeNet.
    """
    found = [
        block_of(path, module)
        for path, module in network.features.named_modules()
        if re.fullmatch(r"stage\d+\.\d+", path) and hasattr(module, "branch")
    ]
    if not found:
        raise Refused(
            f"{network.name} has no blocks that could be dropped",
            fix="choose a residual, highway or plain network, see residua list networks",
        )
    return tuple(found)


def block_of(name: str, module: nn.Module) -> Block:
    shape = keeps_shape(module)
    if isinstance(module, Residual):
        bare = isinstance(module.shortcut, nn.Identity) and isinstance(module.before, nn.Identity)
        return Block(name, "residual", shape, bare)
    if isinstance(module, Gated):
        return Block(name, "gated", shape, isinstance(module.shortcut, nn.Identity))
    return Block(name, "plain", shape, False)


def keeps_shape(module: nn.Module) -> bool:
    """Whether a block's result is as wide and as large as its input."""
    weighted = [
        layer
        for layer in module.get_submodule("branch").modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    first, last = weighted[0].weight, weighted[-1].weight
    return first.shape[1] * groups(weighted[0]) == last.shape[0] and stride_of(module) == 1


def groups(layer: nn.Conv2d | nn.Linear) -> int:
    return layer.groups if isinstance(layer, nn.Conv2d) else 1


def known(network: Network, names: Collection[str]) -> dict[str, Block]:
    """The blocks of a network by name, if `names` are among them.

    Raises:
        Refused: one is not.
    """
    have = {block.name: block for block in blocks_of(network)}
    if strange := [name for name in names if name not in have]:
        raise Refused(
            f'{network.name} has no block "{strange[0]}"', fix=f"it has {listed(tuple(have), 60)}"
        )
    return have


# Removed.


def without(network: Network, names: Collection[str]) -> Network:
    """A copy of a network in which some blocks pass on what their shortcuts give.

    Raises:
        Refused: there is no such block, or it is a plain one that changes the shape.
    """
    have = known(network, names)
    if stuck := [name for name in names if not have[name].droppable]:
        raise Refused(
            f"{stuck[0]} of {network.name} cannot be dropped: it changes the shape, and a plain "
            "block has no shortcut that would do so in its place",
            fix="leave it out",
        )
    found = copy.deepcopy(network)
    for name in names:
        found.features.set_submodule(name, silenced(found.features.get_submodule(name)))
    return found


def silenced(block: nn.Module) -> nn.Module:
    """What remains of a block without its branch."""
    if isinstance(block, Residual):
        return named(before=block.before, shortcut=block.shortcut, after=block.after)
    if isinstance(block, Gated):
        return named(shortcut=block.shortcut, after=block.after)
    return nn.Identity()


# Reordered.


def reordered(network: Network, order: Sequence[str]) -> Network:
    """A copy of a network whose blocks stand in another order.

    Args:
        order: every block's name, each in the place that it moves to.

    Raises:
        Refused: they are not all blocks, each once, or one would move to another shape.
    """
    have = known(network, order)
    places = list(have)
    if sorted(order) != sorted(places):
        raise Refused("an order names every block once", f"received {listed(order)}")
    found = copy.deepcopy(network)
    modules = {name: found.features.get_submodule(name) for name in places}
    for place, name in zip(places, order, strict=True):
        if place != name and not alike(have[place], have[name]):
            raise Refused(f"{name} cannot stand in the place of {place}: their shapes differ")
        found.features.set_submodule(place, modules[name])
    return found


def alike(one: Block, other: Block) -> bool:
    """Whether two blocks can change places."""
    return one.stage == other.stage and one.keeps_shape and other.keeps_shape


def exchangeable(blocks: Sequence[Block]) -> list[tuple[str, str]]:
    """Every pair of blocks that can change places."""
    return [
        (one.name, other.name)
        for index, one in enumerate(blocks)
        for other in blocks[index + 1 :]
        if alike(one, other)
    ]


def swapped(network: Network, swaps: int, generator: torch.Generator) -> list[str]:
    """An order in which so many random pairs of blocks have changed places, one after another."""
    blocks = blocks_of(network)
    pairs, order = exchangeable(blocks), [block.name for block in blocks]
    places = {name: place for place, name in enumerate(order)}
    for number in torch.randint(len(pairs), (swaps,), generator=generator).tolist():
        one, other = (places[name] for name in pairs[number])
        order[one], order[other] = order[other], order[one]
    return order


def rank_correlation(network: Network, order: Sequence[str]) -> float:
    """Kendall's tau of an order with the network's own: 1 is its own (2016, figure 5b)."""
    places = {block.name: place for place, block in enumerate(blocks_of(network))}
    return float(kendalltau(range(len(order)), [places[name] for name in order]).statistic)


# Followed.


class Followed(nn.Module):
    """A block whose result is as ever, and whose gradient flows through one side of its sum.

    The gate of y = T F(x) + (1 - T) x counts to the branch: the two sides then add up to the
    gradient of the whole block.
    """

    def __init__(self, block: Residual | Gated, branch: bool) -> None:
        super().__init__()
        self.block, self.branch = block, branch

    def forward(self, x: Tensor) -> Tensor:
        branch, shortcut = self.sides(x)
        kept, cut = (branch, shortcut) if self.branch else (shortcut, branch)
        after: Tensor = self.block.after(kept + cut.detach())
        return after

    def sides(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Branch and shortcut as they enter the sum, the side that is cut without a graph."""
        block = self.block
        if isinstance(block, Residual):
            x = block.before(x)
            with torch.set_grad_enabled(self.branch):
                branch = block.branch(x)
            return branch, block.shortcut(x)
        gate, carried = block.gate(x), block.shortcut(x)
        if self.branch:  # (T F + (1 - T) x) less the part that the shortcut has
            return gate * block.branch(x) + (1 - gate) * carried.detach(), 0 * carried
        return gate.detach() * block.branch(x).detach(), (1 - gate.detach()) * carried


def followed(network: Network, path: Collection[str]) -> Network:
    """A copy of a network whose gradient flows along one path alone.

    Args:
        path: blocks whose branch it takes; of all others it takes the shortcut.

    Raises:
        Refused: there is no such block, or a plain one, which has no shortcut.
    """
    have = known(network, path)
    if any(block.kind == "plain" for block in have.values()):
        raise Refused(f"{network.name} has plain blocks: a single path leads through all of them")
    found = copy.deepcopy(network).requires_grad_(False)
    for name in have:
        block = found.features.get_submodule(name)
        found.features.set_submodule(name, Followed(block, name in path))  # type: ignore[arg-type]
    return found


def input_gradients(network: Network, images: Tensor, labels: Tensor) -> Tensor:
    """Gradients (n, c, h, w) of each image's cross-entropy with respect to its pixels."""
    images = images.detach().clone().requires_grad_()
    loss = F.cross_entropy(network(images), labels, reduction="sum")
    (gradients,) = torch.autograd.grad(loss, images)
    return gradients


# What others may do with a network that has blocks to spare.


def removable(network: Network) -> list[str]:
    """The blocks without which a network is an ordinary one of fewer layers."""
    return [block.name for block in blocks_of(network) if block.identity]


def in_stages(names: Collection[str]) -> Mapping[str, int]:
    """How many of some blocks each stage has."""
    counts: dict[str, int] = {}
    for name in names:
        stage = name.split(".")[0]
        counts[stage] = counts.get(stage, 0) + 1
    return counts
