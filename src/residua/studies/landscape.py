"""Is the loss around trained weights sharper without shortcuts?

Li et al. 2018 drew the loss in planes through trained weights, along directions whose filters have
the norms of the network's own, so that networks of different scale compare: without shortcuts, deep
networks lie in narrow and rugged valleys. Here a network and its twin are trained from the same
first weights, or taken as they are where a run or its weights are named.
"""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from residua import checkpoints, durable, plots
from residua.errors import Refused
from residua.factors import TRAINING, Factors
from residua.once import architecture, ready, to_train, turn
from residua.probes import landscapes
from residua.question import Budget, Picture, Study, Subject, Verdict
from residua.runs import DONE, RunDirectory
from residua.seeds import FEWEST, Mean, greater, less, mean
from residua.sweeps import Cell, Row
from residua.trials import affordable, errors, image_seconds
from residua.verdicts import judge, plainly
from residua.words import percent

DEPTHS = (56, 32, 20)  # what is given up first where the budget is short
GRIDS = (
    (51, 1000), (41, 500), (31, 500), (25, 256), (21, 256), (21, 128), (15, 128), (11, 64),
)  # points across a plane, and images at each; 51 are the paper's  # fmt: skip
LEARNING = 0.45  # share of the budget that training may take
POINT, BENDS = 1 / 3, 100  # what a point and an eigenvalue cost beside a step of training
BAND = 5  # lines of a plane in a cell
SNAPSHOTS = 40  # of a training, at most
NAT = 1.0  # above the trained weights' loss, within which a point counts as near


def scale(subject: Subject, given: Factors, budget: Budget) -> Factors:
    """The deepest pair of which five seeds can be trained, then the finest grid for what is left.

    Raises:
        Refused: no such network or weights, or planes without a middle.
    """
    if given.points and given.points % 2 == 0:
        raise Refused(
            "a plane needs a middle, where the trained weights are",
            where=f"received --points {given.points}",
            fix=f"give an odd number, such as {given.points + 1}",
        )
    for depth in DEPTHS:
        pair = given.networks or (f"resnet{depth}-cifar", f"plain{depth}-cifar")
        chosen = replace(given, networks=pair, seeds=given.seeds or FEWEST)
        costs = {name: image_seconds(subject, architecture(subject, name), chosen) for name in pair}
        learning = sum(seconds for name, seconds in costs.items() if to_train(name))
        part = None if budget.seconds is None else LEARNING * budget.seconds
        filled, enough = affordable(subject, chosen, replace(budget, seconds=part), learning or 1)
        if enough or given.networks:
            break
    if not learning:
        filled = chosen
    work = learning * (filled.images or 0) * (filled.epochs or 0) * (filled.seeds or 1)
    if budget.seconds is None:
        return replace(filled, points=given.points or 51, sample=given.sample or len(subject.train))
    return finest(filled, given, costs, budget.work - work)


def finest(filled: Factors, given: Factors, costs: Mapping[str, float], left: float) -> Factors:
    """The finest grid over the most images for which `left` core-seconds are enough."""
    for points, sample in GRIDS:
        across, images = given.points or points, given.sample or sample
        steps = 0.0
        for name, seconds in costs.items():
            seeds = seeds_of(name, filled)
            steps += seconds * (POINT * (seeds + to_train(name)) * across**2 + BENDS * seeds)
        if steps * images <= left:
            break
    return replace(filled, points=across, sample=images)


def seeds_of(name: str, factors: Factors) -> int:
    """Weights that are given were trained once."""
    return (factors.seeds or 1) if to_train(name) else 1


def cells(factors: Factors) -> list[Cell]:
    """For each network and seed its sharpness, and bands of its planes."""
    found = []
    for name in factors.networks or ():
        for seed in range(seeds_of(name, factors)):
            start = {"network": name, "seed": seed}
            found.append(Cell({**start, "part": "sharpness", "line": 0}, cost=3))  # it trains
            long = (factors.epochs or 0) > 2  # a way has two snapshots at least
            parts = ("path", "plane") if seed == 0 and long and to_train(name) else ("plane",)
            found += [
                Cell({**start, "part": part, "line": line}, cost=2 if part == "path" else 1)
                for part in parts
                for line in range(0, factors.points or 1, BAND)
            ]
    return found


def measure(subject: Subject, factors: Factors, cell: Cell, folder: Path) -> Mapping[str, Any]:
    """The sharpness at a network's weights and its errors, or a band of one of its planes."""
    name, seed, part, line = cell.values.values()
    run = ready(subject, factors, name, seed, folder, 0 if seed else SNAPSHOTS)
    weights = checkpoints.read_weights(run.weights)
    network = weights.build()
    subject.execution.place(network)
    sample = landscapes.sample(
        subject.train, weights.preprocessing, factors.sample or 1, subject.execution.device
    )
    if part == "sharpness":
        plain = landscapes.sharpness(network, sample, filters=False)
        bends = landscapes.sharpness(network, sample)
        return {
            **errors(replace(subject, look=weights.preprocessing), network),
            "eigenvalue": plainly(plain.eigenvalue),
            "sharpness": plainly(bends.eigenvalue),
            "residual": plainly(bends.residual),
        }
    across, known = factors.points or 1, dict[str, Any]()
    if part == "plane":
        axes = landscapes.directions(network, seed)
        xs = ys = np.linspace(-1, 1, across).tolist()
    else:
        axes, known = way(run, network, subject)
        xs, ys = (landscapes.span(values, across) for values in zip(*known["way"], strict=True))
    band = ys[line : line + BAND]
    found = landscapes.surface(network, axes, [(x, y) for y in band for x in xs], sample)
    rows = [found[start : start + across] for start in range(0, len(found), across)]
    return {
        "x": xs,
        "y": band,
        "losses": [[plainly(each.loss) for each in row] for row in rows],
        "errors": [[each.error for each in row] for row in rows],
        **known,
    }


def way(
    run: RunDirectory, network: nn.Module, subject: Subject
) -> tuple[list[dict[str, Tensor]], dict[str, Any]]:
    """The axes of the plane that holds most of a training's way, and the way in it.

    The first cell that asks finds them, and removes the snapshots.
    """
    files = [run.path / f"axis-{number}.safetensors" for number in (0, 1)]
    known, snapshots = run.path / "way.json", run.path / "snapshots"
    with turn(run.path):
        if not known.exists():
            passed = [checkpoints.read_weights(each) for each in sorted(snapshots.iterdir())]
            end = landscapes.weights(checkpoints.read_weights(run.weights).build())
            found = landscapes.path([landscapes.weights(each.build()) for each in passed], end)
            for file, axis in zip(files, found.axes, strict=True):
                durable.write(file, checkpoints.encode(axis))
            text = json.dumps({"way": found.points, "shares": found.shares})
            durable.write(known, text.encode())
        shutil.rmtree(snapshots, ignore_errors=True)
    axes = [checkpoints.decode(file.read_bytes(), file) for file in files]
    device = subject.execution.device
    placed = [{name: value.to(device) for name, value in axis.items()} for axis in axes]
    return placed, json.loads(known.read_text("utf-8"))


def conclude(factors: Factors, rows: Sequence[Row]) -> Verdict:
    """Around the second network the loss is sharper than around the first.

    Both must be shown: that it bends more at the trained weights, and that less of the plane around
    them is near in loss. It does not hold where the opposite of both is shown.
    """
    names = list(factors.networks or ())[:2]
    if len(names) < 2:
        return Verdict(None, "One network has nothing to be compared with.", limits=limits(factors))
    pairs = [[facts(rows, name, s) for name in names] for s in range(factors.seeds or 1)]
    known = [(one, other) for one, other in pairs if one is not None and other is not None]
    seeds, limit = len(known), limits(factors, rows)
    if not known:
        words = "Not enough evidence: no seed has both networks measured."
        return Verdict(None, words, limits=limit)
    bends = [math.log10(other.bend / one.bend) for one, other in known]
    tight = [one.near - other.near for one, other in known]
    p, against = max(greater(bends), greater(tight)), max(less(bends), less(tight))
    ratio = Mean(*(10**x if x < 300 else math.inf for x in mean(bends)))
    first, second = (mean(each.near for each in own) for own in zip(*known, strict=True))
    numbers = {
        "ratio_of_largest_eigenvalues": ratio._asdict(),
        f"near_{names[0]}": first._asdict(),
        f"near_{names[1]}": second._asdict(),
        "seeds": seeds,
    }
    span = f" ({times(ratio.low)} to {times(ratio.high)})" if seeds > 1 else ""
    said = (
        f"At its weights {names[1]} bends {times(ratio.mean)}{span} times as sharply as {names[0]}"
        f", and {percent(second.mean, 0)} of the plane around it is within {NAT:g} of its loss, "
        f"beside {percent(first.mean, 0)} ({seeds} seeds, p = {min(p, against):.2g})."
    )
    return judge(
        p,
        against,
        seeds,
        (
            f"Around {names[1]} the loss is sharper.",
            f"Around {names[1]} the loss is not sharper, but flatter.",
        ),
        facts=said,
        numbers=numbers,
        limits=limit,
    )


def times(ratio: float) -> str:
    """A ratio of two digits: 8,600."""
    return f"{float(f'{ratio:.2g}'):,.0f}" if ratio >= 10 else f"{ratio:.2g}"


class Facts(NamedTuple):
    """What is measured around one network."""

    bend: float  # the largest eigenvalue, in the filters' own norms
    near: float  # share of the plane whose loss is within `NAT` of that of the trained weights


def facts(rows: Sequence[Row], name: str, seed: int) -> Facts | None:
    """What is measured around a network, None where something of it is missing."""
    own = [row for row in rows if row["network"] == name and row["seed"] == seed]
    bends = [abs(row["sharpness"]) for row in own if row.get("sharpness")]
    plane = plane_of(rows, name, seed, "plane")
    if not bends or plane is None:
        return None
    losses = np.asarray(plane.losses)
    middle = losses[losses.shape[0] // 2, losses.shape[1] // 2]
    return Facts(bends[0], float((losses <= middle + NAT).mean()))


def plane_of(rows: Sequence[Row], name: str, seed: int, part: str) -> plots.Plane | None:
    """A plane put together from its bands, None where one of them is missing."""
    start = {"network": name, "seed": seed, "part": part}
    own = [row for row in rows if start.items() <= row.items()]
    if not own or any("losses" not in row for row in own):
        return None
    losses = [
        [math.inf if value is None else value for value in line]
        for row in own
        for line in row["losses"]
    ]
    y = [value for row in own for value in row["y"]]
    way, shares = own[0].get("way", ()), own[0].get("shares", ())
    return plots.Plane(name, own[0]["x"], y, losses, way, shares)


def limits(factors: Factors, rows: Sequence[Row] = ()) -> tuple[str, ...]:
    """What sections show and do not, and what this budget cannot show."""
    found = [
        "A plane is two directions out of as many as there are weights: it shows what is usual "
        "around the weights, and misses narrow valleys and ridges that lie askew.",
        "Batch norm keeps the statistics of the trained weights, as in evaluation: far away, "
        "training would see other losses.",
        f"A loss is that of {factors.sample or 0:,} training images, without augmentation.",
    ]
    for name in factors.networks or ():
        own = [
            row["train_error"] for row in rows if row["network"] == name and "train_error" in row
        ]
        if own and min(own) > 0.05:
            found.append(
                f"{name} has not learned its training images (error {percent(min(own))} at best): "
                "what surrounds it is no minimum."
            )
        if not to_train(name):
            found.append(f"{name} is one training: seeds of it would be needed for a test.")
    failed = len({(row["network"], row["seed"]) for row in rows if row["status"] != DONE})
    if failed:
        found.append(f"{failed} trainings diverged or ran out of memory, and take no part.")
    return tuple(found)


def draw_planes(factors: Factors, rows: Sequence[Row], theme: str) -> Any:
    """The first seed's random plane of each network."""
    return plots.planes(planes(factors, rows, "plane"), theme)


def draw_ways(factors: Factors, rows: Sequence[Row], theme: str) -> Any:
    return plots.planes(planes(factors, rows, "path"), theme)


def planes(factors: Factors, rows: Sequence[Row], part: str) -> list[plots.Plane]:
    found = [plane_of(rows, name, 0, part) for name in factors.networks or ()]
    return [plane for plane in found if plane is not None]


def draw_lines(factors: Factors, rows: Sequence[Row], theme: str) -> Any:
    """The middle line of every plane, and the sharpness of every network."""
    lines = []
    for name in factors.networks or ():
        for seed in range(seeds_of(name, factors)):
            plane, known = plane_of(rows, name, seed, "plane"), facts(rows, name, seed)
            if plane is not None and known is not None:
                middle = plane.losses[len(plane.losses) // 2]
                lines.append(
                    {"network": name, "x": plane.x, "losses": middle, "sharpness": known.bend}
                )
    return plots.along(lines, theme)


STUDY = Study(
    question="Is the loss around trained weights sharper without shortcuts?",
    source="Li et al. 2018, sections 4 to 7, figures 1, 5 and 9",
    takes=("networks", "points", "sample", *TRAINING),
    scale=scale,
    cells=cells,
    measure=measure,
    conclude=conclude,
    figures={
        "landscape": Picture(
            draw_planes,
            "Loss in a plane of two random directions through the trained weights (cross), on one "
            "scale that ends at 10,000. A step of 1 is as long as the filters themselves.",
        ),
        "lines": Picture(
            draw_lines,
            "Loss along the first direction, a line for each seed, cut at 0.001 and 10,000; and "
            "the largest eigenvalue of the Hessian in units of the filters' norms.",
        ),
        "way": Picture(
            draw_ways,
            "The training's way from its first weights to its last (cross) in the plane that holds "
            "most of it, a dot for each snapshot, and the loss there, on one scale. Percentages "
            "are shares of the squared way.",
        ),
    },
    columns=(
        "network", "seed", "part", "line", "status", "eigenvalue", "sharpness", "residual",
        "train_error", "train_wrong", "train_images", "test_error", "test_wrong", "test_images",
    ),
)  # fmt: skip
