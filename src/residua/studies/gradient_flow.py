"""Do gradients vanish or explode on their way to the input, and do shortcuts keep them?

The norm of each layer's gradient on one batch, before training and after each epoch (flow.py says
how, diagnosis.py what follows). Kinds of network differ in one thing each: activations that
saturate, no normalization, batch normalization, shortcuts of three kinds. What He et al. 2016a say
in section 4.1 is that batch-normalized plain networks have healthy gradients.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from torch import nn

from residua import networks, plots
from residua.errors import unknown
from residua.factors import TRAINING, Factors
from residua.families import FAMILIES
from residua.followed import batch_of, follow, norms, state
from residua.networks.network import Network
from residua.probes.diagnosis import CHANGE, OVERFLOW, times
from residua.probes.flow import carried, gradient_flow
from residua.question import Budget, Picture, Study, Subject, Verdict
from residua.recipes import Recipe
from residua.runs import DONE
from residua.seeds import FEWEST, greater, less
from residua.sweeps import Cell, Row
from residua.trials import affordable, built, image_seconds, recipe_of
from residua.verdicts import judge, plainly
from residua.words import percent

KINDS = {
    "sigmoid": "plain{}-cifar-norm=none",  # its ReLUs become sigmoids
    "no-norm": "plain{}-cifar-norm=none",
    **FAMILIES,
}
DEPTHS = (20, 32, 56, 110)
FOLLOWED = 10.0  # epochs
STEPS = 20  # of an epoch, for less than which a training is not worth following
FAR = 308.0  # orders of magnitude: a number that no float64 holds
DEARER = 2.0  # than the training of a plain network: gates, sigmoids, and what is measured


def scale(subject: Subject, given: Factors, budget: Budget) -> Factors:
    """All kinds and depths at initialization; ten epochs of each if there is time."""
    if strange := [family for family in given.families or () if family not in KINDS]:
        raise unknown("kind of network", strange[0], KINDS)
    alone = given.networks is not None and given.families is None and given.depths is None
    chosen = replace(
        given,
        families=() if alone else given.families or tuple(KINDS),
        depths=() if alone else given.depths or DEPTHS,
        seeds=given.seeds or FEWEST,
    )
    names = [name_of(cell) for cell in cells(replace(chosen, seeds=1))]
    # A depth that a family cannot have is refused here, before any work.
    depths = [networks.weightless(name, len(subject.classes)).depth for name in names]
    first = min(range(len(names)), key=depths.__getitem__)
    each = DEARER * image_seconds(subject, names[first], chosen) * sum(depths) / depths[first]
    asked = replace(chosen, seeds=1, epochs=given.epochs or FOLLOWED)
    scaled, _ = affordable(subject, asked, budget, each)
    if given.epochs is None and (scaled.images or 0) < STEPS * (scaled.batch or 1):
        return chosen  # no time to follow them
    return replace(scaled, seeds=chosen.seeds)


def cells(factors: Factors) -> list[Cell]:
    """Each network from each seed; the first seed's are followed through training."""
    depths, names = sorted(factors.depths or ()), factors.networks or ()
    asked = [(family, depth) for family in factors.families or () for depth in depths]
    asked += [(name, networks.parse(name)[1]) for name in names]
    return [
        Cell({"family": family, "depth": depth, "seed": seed}, cost=depth * (1 if seed else 1000))
        for family, depth in asked
        for seed in range(factors.seeds or 1)
    ]


def name_of(cell: Cell) -> str:
    """The name of a cell's network; one that was asked for by its name is its own family."""
    family, depth = cell.values["family"], cell.values["depth"]
    return KINDS[family].format(depth) if family in KINDS else str(family)


def network_of(subject: Subject, recipe: Recipe, family: str) -> Network:
    """The network of a recipe, with sigmoids in place of ReLUs where the family asks for them."""
    network = built(subject, recipe)
    if family == "sigmoid":
        saturate(network)
    return network.to(subject.execution.device)


def saturate(network: nn.Module) -> None:
    """Put sigmoids in place of the ReLUs."""
    for path, module in list(network.named_modules()):
        if isinstance(module, nn.ReLU):
            network.set_submodule(path, nn.Sigmoid())


def measure(subject: Subject, factors: Factors, cell: Cell, folder: Path) -> Mapping[str, Any]:
    """The norms of a network's gradients before training and, of the first seed, on its way."""
    seed, family = cell.values["seed"], cell.values["family"]
    recipe = recipe_of(subject, factors, name_of(cell), seed)
    network, batch = network_of(subject, recipe, family), batch_of(subject)
    flow = gradient_flow(network, batch.images, batch.labels)
    row = {**state(flow), "layers": flow.names, "remedy": flow.diagnosis.remedy}
    if any(hasattr(module, "shortcut") for module in network.modules()):
        whole, rest = carried(network, batch.images, batch.labels)
        row["carried"] = plainly(rest / whole if whole else 0.0)
    marks = [{"epoch": 0, **norms(flow)}]
    if seed or not factors.epochs:
        return {**row, "marks": marks}
    found, status = follow(subject, network, recipe, folder)
    row |= {"status": status}
    if found:
        keys = {"direction": "end_direction", "ratio": "end_ratio", "train_error": "train_error"}
        row |= {name: found[-1][key] for key, name in keys.items() if key in found[-1]}
    kept = ("epoch", "gradients", "activations")
    return {**row, "marks": marks + [{key: each[key] for key in kept} for each in found]}


# What follows.


def middle(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return median(known) if known else math.nan


def usual(rows: Sequence[Row], prefix: str = "") -> tuple[str, float]:
    """The most frequent direction of some rows, and the median of their ratios."""
    directions = Counter(row[f"{prefix}direction"] for row in rows)
    return directions.most_common(1)[0][0], middle([row[f"{prefix}ratio"] for row in rows])


def change(row: Row) -> float:
    """By how many orders of magnitude the gradient changes over the depth, either way."""
    if row["slope"] is None:
        return FAR if row["direction"] == OVERFLOW else 0.0
    return abs(row["slope"]) * (len(row["layers"]) - 2)


def deepest(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each family's deepest network that has any."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if "direction" not in row:  # it ran out of memory
            continue
        own = found.setdefault(row["family"], [])
        if not own or row["depth"] > own[0]["depth"]:
            own.clear()
        if not own or row["depth"] == own[0]["depth"]:
            own.append(row)
    return found


def conclude(factors: Factors, rows: Sequence[Row]) -> Verdict:
    """Gradients of plain networks leave the bounds, and those of residual ones stay within.

    Both must be shown, over seeds, of the deepest networks: the p-value is the larger one. It does
    not hold where those of plain networks are shown to stay within.
    """
    found = deepest(rows)
    facts = ", ".join(map(told, found.values()))
    numbers = {
        f"{row['family']} {row['depth']}": described(rows, row)
        for row in rows
        if not row["seed"] and "direction" in row
    }
    plain, residual = found.get("plain", []), found.get("residual", [])
    words = f"Gradient of the first layer by that of the last, before training: {facts}."
    if any("end_direction" in row for own in found.values() for row in own):
        words += f" {trained_words(found, int(factors.epochs or 0))}"
    words = f"{words} {remedies(found)}".strip()
    if not plain or not residual or plain[0]["depth"] != residual[0]["depth"]:
        few = "Not enough evidence: it takes plain and residual networks of one depth."
        return Verdict(None, f"{few} {words}", None, numbers, limits(factors, rows))
    out, within = [change(row) - CHANGE for row in plain], [CHANGE - change(r) for r in residual]
    depth = plain[0]["depth"]
    return judge(
        max(greater(out), greater(within)),
        less(out),
        min(len(plain), len(residual)),
        (
            f"At {depth} layers gradients go wrong without shortcuts, and are sound with them.",
            f"Gradients of plain networks of {depth} layers are healthy here.",
        ),
        facts=words,
        numbers=numbers,
        limits=limits(factors, rows),
    )


def told(rows: Sequence[Row]) -> str:
    """sigmoid-110 vanishing (0 times)."""
    direction, ratio = usual(rows)
    return f"{named(rows[0])} {direction} ({times(ratio)})"


def remedies(found: Mapping[str, Sequence[Row]]) -> str:
    """What would help whom, in sentences."""
    cures: dict[str, list[str]] = {}
    for rows in found.values():
        if rows[0]["remedy"]:
            cures.setdefault(rows[0]["remedy"], []).append(named(rows[0]))
    return " ".join(f"For {' and '.join(names)}: {cure}." for cure, names in cures.items())


def named(row: Row) -> str:
    family, depth = row["family"], row["depth"]
    return f"{family}-{depth}" if family in KINDS else str(family)


def described(rows: Sequence[Row], like: Row) -> dict[str, Any]:
    """The medians over the seeds of one network."""
    same = ("family", "depth")
    own = [r for r in rows if all(r[key] == like[key] for key in same) and "direction" in r]
    direction, ratio = usual(own)
    slope = middle([row["slope"] for row in own])
    return {"direction": direction, "ratio": plainly(ratio), "slope": plainly(slope)}


def trained_words(found: Mapping[str, Sequence[Row]], epochs: int) -> str:
    """What training made of it."""
    facts = [
        f"{named(row)} {row['end_direction']} ({times(row['end_ratio'] or 0.0)}), training error "
        f"{percent(row.get('train_error', math.nan), 1)}"
        for own in found.values()
        for row in own
        if "end_direction" in row
    ]
    return f"After {epochs} epochs: {'; '.join(facts)}."


def limits(factors: Factors, rows: Sequence[Row]) -> tuple[str, ...]:
    """What the rows cannot show."""
    found = []
    if not factors.epochs:
        found.append(
            "Only networks before training were measured: a few steps may turn what is seen "
            "there. A longer budget, or --epochs 10, follows them."
        )
    failed = sum(row["status"] != DONE for row in rows)
    if failed:
        found.append(f"{failed} trainings diverged or ran out of memory.")
    return tuple(found)


def draw(factors: Factors, rows: Sequence[Row], theme: str) -> Any:
    return plots.flow(rows, "gradients", theme)


def draw_activations(factors: Factors, rows: Sequence[Row], theme: str) -> Any:
    return plots.flow(rows, "activations", theme)


def draw_time(factors: Factors, rows: Sequence[Row], theme: str) -> Any:
    return plots.flow_in_time(rows, theme)


STUDY = Study(
    question="Do gradients vanish or explode on the way to the input, and do shortcuts keep them?",
    source="He et al. 2016a, sections 1 and 4.1; Glorot & Bengio 2010",
    takes=("families", "networks", "depths", *TRAINING),
    scale=scale,
    cells=cells,
    measure=measure,
    conclude=conclude,
    figures={
        "gradients": Picture(
            draw,
            "Norm of each layer's gradient before training, median over seeds. A line that falls "
            "to the left vanishes on its way to the input; one that rises explodes.",
        ),
        "activations": Picture(
            draw_activations,
            "Root mean square of each layer's output before training, median over seeds.",
        ),
        "training": Picture(
            draw_time,
            "The gradient of each layer by that of the last, before training and after each epoch "
            "(first seed).",
        ),
    },
    columns=(
        "family", "depth", "seed", "status", "direction", "ratio", "slope", "at_fault", "carried",
        "loss", "end_direction", "end_ratio", "train_error",
    ),
)  # fmt: skip
