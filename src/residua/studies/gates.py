"""Must the gates of a highway network begin nearly closed, and what do they come to carry?

A gate says how much of its input a block transforms: y = T(x) F(x) + (1 - T(x)) x (Srivastava et
al. 2015, equation 3). Its bias decides where T starts: sigmoid(0) is a half, sigmoid(-6) 0.2 %. He
et al. 2016b, table 1, sweep that bias in ResNet-110: it fails down to -5, and never comes to the
residual network's error. The trained gates are then looked at, block by block and class by class
(Srivastava et al. 2015, figure 2).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from residua import plots
from residua.batches import evaluation
from residua.datasets.dataset import Split
from residua.factors import TRAINING, Factors
from residua.networks.network import Network
from residua.networks.residual import Gated
from residua.question import Budget, Picture, Study, Subject, Verdict
from residua.seeds import greater, less, mean, paired
from residua.sweeps import Cell, Row
from residua.trials import WATCHED, built, finished, fullest, outcome, recipe_of
from residua.verdicts import by_seed, failures, judge, plainly, unfitted
from residua.words import percent

HIGHWAY, RESIDUAL = "resnet{}-cifar-join=gate-bias={:g}", "resnet{}-cifar"
BEST = -6.0  # start of gates, the best of 2016b, table 1
BATCH = 256  # images whose gates are looked at together
# What is given up first where the budget is short: depth, then biases between.
CHOICES = (
    ((56,), (0.0, -2.0, -4.0, -5.0, -6.0, -7.0)),
    ((32,), (0.0, -2.0, -4.0, -6.0)),
    ((20,), (0.0, -2.0, -4.0, -6.0)),
    ((20,), (0.0, -6.0)),
)
FULL = ((110,), (0.0, -1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0))


def scale(subject: Subject, given: Factors, budget: Budget) -> Factors:
    """The most biases, in the deepest network, of which five seeds can be afforded."""
    choices = [
        replace(given, depths=given.depths or depths, biases=given.biases or biases)
        for depths, biases in (CHOICES if budget.seconds is not None else (FULL,))
    ]
    return fullest(subject, budget, choices, names)


def names(factors: Factors) -> list[str]:
    """The networks of a seed, as costly: what a gate starts from costs nothing."""
    gated = len(factors.biases or ())
    return [
        name
        for depth in factors.depths or ()
        for name in [*gated * [HIGHWAY.format(depth, BEST)], RESIDUAL.format(depth)]
    ]


def cells(factors: Factors) -> list[Cell]:
    """A training for each depth, bias and seed, and one of the residual network."""
    return [
        Cell({"depth": depth, "bias": bias, "seed": seed}, cost=depth)
        for depth in sorted(factors.depths or ())
        for bias in (*sorted(factors.biases or (), reverse=True), None)  # None: residual
        for seed in range(factors.seeds or 1)
    ]


def measure(subject: Subject, factors: Factors, cell: Cell, folder: Path) -> Mapping[str, Any]:
    """Train one network; its errors, and what its gates let through."""
    depth, bias = cell.values["depth"], cell.values["bias"]
    name = RESIDUAL.format(depth) if bias is None else HIGHWAY.format(depth, bias)
    recipe = recipe_of(subject, factors, name, cell.values["seed"])
    row = outcome(subject, built(subject, recipe), recipe, folder)
    if bias is None:
        return row
    found = gates(subject, finished(folder), subject.test.evenly(WATCHED))
    kept = [[plainly(value) for value in values] for values in found.tolist()]
    return {**row, "gate": float(found.mean()), "gates": kept, "classes": list(subject.classes)}


@torch.inference_mode()
def gates(subject: Subject, network: Network, split: Split) -> Tensor:
    """The mean of each gate over the images of each class (blocks, classes)."""
    blocks = [module for module in network.modules() if isinstance(module, Gated)]
    sums = torch.zeros(len(blocks), len(subject.classes), dtype=torch.float64)
    counts = torch.bincount(split.labels, minlength=len(subject.classes))
    device = subject.execution.device
    subject.execution.place(network).eval()
    with recorded(blocks) as seen:
        for batch in evaluation(split, subject.look, BATCH, device):
            seen.clear()
            network(batch.images)
            for block, values in enumerate(seen):
                sums[block].index_add_(0, batch.labels.cpu(), values.double().cpu())
    return sums / counts.clamp(min=1)


@contextmanager
def recorded(blocks: Sequence[Gated]) -> Iterator[list[Tensor]]:
    """A list to which each gate, when it is asked, adds its mean for each image (b)."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, result: Tensor) -> None:
        seen.append(result.flatten(1).mean(1))

    handles = [block.gate.register_forward_hook(keep) for block in blocks]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def conclude(factors: Factors, rows: Sequence[Row]) -> Verdict:
    """The deepest network fits its images better if gates begin closed than if they begin open.

    Compared are the bias nearest to the paper's best and the largest one, chosen beforehand.
    """
    biases = sorted(factors.biases or ())
    if len(biases) < 2 or not factors.depths:
        return Verdict(None, "Not enough evidence: it takes two biases.")
    depth, opened = max(factors.depths), biases[-1]
    closed = min(biases, key=lambda bias: abs(bias - BEST))
    if closed == opened:
        closed = biases[0]
    found = {bias: by_seed(rows, depth=depth, bias=bias) for bias in biases}
    gaps = paired(found[opened], found[closed]).values()
    if not gaps:
        return Verdict(None, "Not enough evidence: no seed has both biases.")
    p, against = greater(gaps), less(gaps)
    means = {f"{bias:g}": mean(own.values()) for bias, own in found.items() if own}
    numbers: dict[str, Any] = {f"bias {bias}": value._asdict() for bias, value in means.items()}
    numbers |= {"open - closed": mean(gaps)._asdict(), "seeds": len(gaps)}
    beside = ""
    if known := by_seed(rows, depth=depth, bias=None):
        residual = mean(known.values())
        numbers["residual"] = residual._asdict()
        beside = f", the residual network's {percent(residual.mean)}"
    facts = (
        f"At {depth} layers the training error is {percent(means[f'{opened:g}'].mean)} with gates "
        f"from {opened:g} and {percent(means[f'{closed:g}'].mean)} from {closed:g}{beside} "
        f"({len(gaps)} seeds, p = {min(p, against):.2g}). {carried(rows, depth, closed)}"
    )
    return judge(
        p,
        against,
        len(gaps),
        (
            "Highway networks fit better if their gates begin closed.",
            "Highway networks fit better if their gates begin open.",
        ),
        facts=facts,
        numbers=numbers,
        limits=limits(factors, rows),
    )


def carried(rows: Sequence[Row], depth: int, bias: float) -> str:
    """What the gates that began at a bias let through in the end."""
    found = [row["gates"] for row in rows if row["depth"] == depth and row["bias"] == bias
             and row.get("gates")]  # fmt: skip
    if not found:
        return ""
    blocks = torch.tensor(found).mean(dim=(0, 2)).tolist()
    return (
        f"Trained from {bias:g}, they transform {percent(sum(blocks) / len(blocks), 1)} of their "
        f"input on average, {percent(min(blocks), 1)} to {percent(max(blocks), 1)} by block."
    )


def limits(factors: Factors, rows: Sequence[Row]) -> tuple[str, ...]:
    """What the rows cannot show."""
    found = []
    if max(factors.depths or (0,)) < 110:
        found.append("The paper's networks have 110 layers: open gates fail there first.")
    return (*found, *unfitted(rows, factors.epochs), *failures(rows))


def draw_bias(factors: Factors, rows: Sequence[Row], theme: str) -> Any:
    return plots.gate_bias(deepest(rows), theme)


def draw_blocks(factors: Factors, rows: Sequence[Row], theme: str) -> Any:
    return plots.gates_by_block(deepest(rows), theme)


def draw_classes(factors: Factors, rows: Sequence[Row], theme: str) -> Any:
    own = [row for row in deepest(rows) if row.get("gates")]
    closed = min((row["bias"] for row in own), key=lambda bias: abs(bias - BEST), default=None)
    found = [row for row in own if row["bias"] == closed]
    names = found[0]["classes"] if found else ()
    return plots.gates_by_class([row["gates"] for row in found], names, theme)


def deepest(rows: Sequence[Row]) -> list[Row]:
    depth = max(row["depth"] for row in rows)
    return [row for row in rows if row["depth"] == depth]


STUDY = Study(
    question="Must the gates of a deep highway network begin nearly closed?",
    source="Srivastava et al. 2015, figure 2; He et al. 2016b, table 1",
    takes=("biases", "depths", *TRAINING),
    scale=scale,
    cells=cells,
    measure=measure,
    conclude=conclude,
    figures={
        "bias": Picture(
            draw_bias,
            "Error at the end against the bias that gates start from: a dot for each seed, lines "
            "through means. Dashed: the residual network.",
        ),
        "blocks": Picture(
            draw_blocks,
            "How much of its input each block transforms, T, on average over test images and "
            "seeds; a line for each bias that gates start from.",
        ),
        "classes": Picture(
            draw_classes,
            "T of each block for each class beside the mean of all classes, where gates start "
            "from the bias nearest to -6.",
        ),
    },
    columns=(
        "depth", "bias", "seed", "status", "parameters", "gate",
        "train_error", "train_wrong", "train_images", "test_error", "test_wrong", "test_images",
    ),
)  # fmt: skip
