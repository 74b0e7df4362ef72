"""Trained networks made shallower: the blocks that matter least go, one after another.

    removals    which blocks, in order, judged on images that were held out
    pruned      the network of fewer blocks, which computes what the lesioned one does
    speedup     how much sooner it answers, measured side by side

A residual network loses little with a block (Veit et al. 2016, section 4.1), and what it loses,
training on wins back. A block can go whose shortcut is the identity: what is left of it is nothing.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any, NamedTuple

from scipy.stats import binom

from residua.checkpoints import Weights
from residua.costs import turns
from residua.datasets.dataset import Split
from residua.errors import Refused
from residua.evaluate import Evaluation
from residua.execution import Execution
from residua.images import Preprocessing
from residua.networks import NETWORKS, parse
from residua.networks.graph import graph
from residua.networks.naming import split as parted
from residua.networks.naming import written
from residua.networks.network import Network
from residua.predictor import Predictor
from residua.probes.lesions import blocks_of, removable, without
from residua.training import measure

JUDGED = 1_000  # images at most: the order of blocks needs no more
ROUNDS = 41  # turns that two networks take to be timed


class Removal(NamedTuple):
    """A block that went, and how the network did on the held-out images without it."""

    block: str
    loss: float
    wrong: int
    images: int


def prunable(network: Network) -> list[str]:
    """The blocks of which any may go, while one is left in each stage.

    Raises:
        Refused: there is none, or the family's names cannot say how many blocks are left.
    """
    family, _, _ = parse(network.name)
    found = removable(network)  # refuses a network without blocks
    if not found:
        raise Refused(
            f"no block of {network.name} can go: none has the identity for its shortcut",
            fix="prune a residual network with shortcuts A, B or D",
        )
    if "blocks" not in family.options:
        raise Refused(
            f"{network.name} cannot be pruned: its family has no other numbers of blocks",
            fix="choose a resnet, preact, resnext or wide network",
        )
    return found


def most(network: Network) -> int:
    """How many blocks can go."""
    found, every = prunable(network), blocks_of(network)
    stages = {block.stage for block in every}
    kept = {block.stage for block in every if block.name not in found}
    return len(found) - len(stages - kept)


def removals(
    network: Network, held_out: Split, look: Preprocessing, run_on: Execution
) -> Iterator[Removal]:
    """Yield the block that matters least, then the one that matters least without it, and so on.

    What a block costs seldom falls when others go. So the blocks wait in the order of their last
    known loss, and the first of them goes if its loss is still the least when it is measured anew
    (lazy greedy, Minoux 1978): a few measurements for each block that goes, in place of all.

    Args:
        network: as trained; it is not changed.
        held_out: images that tell what a block costs, never test images.
        look: how the network sees them.
        run_on: where.
    """
    found = prunable(network)
    judged = held_out.evenly(JUDGED)
    gone: list[str] = []
    known = dict.fromkeys(found, (0.0, 0))
    measured_at = dict.fromkeys(found, -1)
    while left := [name for name in known if not is_last(network, name, gone)]:
        name = min(left, key=lambda each: known[each][0])
        if measured_at[name] < len(gone):
            known[name] = measure(without(network, [*gone, name]), judged, look, run_on)
            measured_at[name] = len(gone)
            continue
        loss, wrong = known.pop(name)
        gone.append(name)
        yield Removal(name, loss, wrong, len(judged))


def is_last(network: Network, name: str, gone: Collection[str]) -> bool:
    """Whether a block is the only one that is left in its stage."""
    stage = name.split(".")[0]
    left = [b.name for b in blocks_of(network) if b.stage == stage and b.name not in gone]
    return left == [name]


def pruned(weights: Weights, gone: Collection[str]) -> Weights:
    """The same without some of its prunable blocks, as a network with a name of its own.

    Raises:
        Refused: a block cannot go.
    """
    network = weights.build()
    found = prunable(network)
    if strange := [name for name in gone if name not in found]:
        raise Refused(f"{strange[0]} of {network.name} cannot go: its shortcut is no identity")
    left = [block.name for block in blocks_of(network) if block.name not in gone]
    numbers: dict[str, str] = {}  # old place -> new place
    counts: dict[str, int] = {}
    for name in left:
        stage = name.split(".")[0]
        numbers[name] = f"{stage}.{counts.setdefault(stage, 0)}"
        counts[stage] += 1
    if len(counts) < len({block.stage for block in blocks_of(network)}):
        raise Refused(f"the last block of a stage of {network.name} cannot go")
    tensors = {
        moved: tensor
        for name, tensor in weights.tensors.items()
        if (moved := new_name(name, numbers))
    }
    name = renamed(weights.network, list(counts.values()))
    return replace(weights, tensors=tensors, network=name, metrics={}, sha256="")


def new_name(tensor: str, numbers: Mapping[str, str]) -> str:
    """Where a tensor is in the pruned network; "" where it is gone."""
    match = re.match(r"features\.(stage\d+\.\d+)\.", tensor)
    if match is None:
        return tensor
    block = numbers.get(match[1], "")
    return f"features.{block}.{tensor[match.end() :]}" if block else ""


def renamed(name: str, counts: Sequence[int]) -> str:
    """The name of a network with other numbers of blocks in its stages."""
    family, depth, options = parse(name)
    parts = parted(name, NETWORKS)
    template = parts.template if parts else name
    options["blocks"] = ".".join(map(str, counts))
    return written(template.format(depth=depth), options, family.options)


class Speedup(NamedTuple):
    """How many times as fast one network answers as another: the median, and its 95 % interval."""

    ratio: float
    low: float
    high: float
    images_per_second: tuple[float, float]  # before, after


def speedup(before: Weights, after: Weights, run_on: Execution, rounds: int = ROUNDS) -> Speedup:
    """Time two networks in turns; the interval is that of ranks, whatever the times' distribution.

    Args:
        before: the slower one.
        after: the other.
        run_on: where.
        rounds: turns, 6 or more.
    """
    times = turns([Predictor(weights, run_on) for weights in (before, after)], rounds)
    ratios = sorted(slow / fast for slow, fast in zip(*times, strict=True))
    rank = int(binom.ppf(0.025, len(ratios), 0.5))  # Conover 1999, section 3.2
    low, high = ratios[rank - 1], ratios[len(ratios) - rank]
    first, second = (1 / median(each) for each in times)
    return Speedup(median(ratios), low, high, (first, second))


def described(weights: Weights, tested: Evaluation, speed: float) -> dict[str, Any]:
    """What a network gets wrong and what it costs."""
    network, size = weights.build(), weights.preprocessing.size
    drawn = graph(network, (network.channels, size, size))
    return {
        "network": weights.network,
        "layers": network.depth,
        "split": tested.split,
        "wrong": tested.wrong,
        "total": tested.total,
        "error": tested.error,
        "interval": list(tested.interval),
        "parameters": drawn.parameters,
        "multiply_adds": drawn.multiply_adds,
        "images_per_second": round(speed, 1),
    }
