"""At the same cost, is it better to be deep or to be wide?

Zagoruyko & Komodakis 2016 (tables 3 and 4) found wide residual networks of few layers to be as good
as thin ones of very many. Here networks of every depth and width of a grid are trained. Twice the
channels cost as much as three to four times the blocks, so that a grid holds pairs of equal cost,
one deep and thin and one shallow and wide: those decide.

The family is that paper's, wide{depth}-cifar, because every block of it is alike and nothing but
depth and width varies.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from residua import plots
from residua.errors import Refused
from residua.factors import TRAINING, Factors
from residua.question import Budget, Picture, Study, Subject, Verdict
from residua.seeds import Mean, greater, less, mean
from residua.sweeps import Cell, Row
from residua.trials import built, fullest, multiply_adds, outcome, recipe_of
from residua.verdicts import error, failures, judge, unaugmented, unfitted

NETWORK = "wide{}-cifar-width={:g}"
WIDTHS = "1, 2, 4, 8, 10, 12"
ALIKE = 1.25  # networks whose multiply-adds differ by no more than this factor cost the same
# 1, 2, 3 and 7 blocks in a stage: 22 layers cost as much as 10 of twice the width, and 46
# as much as 16.
CHOICES = (
    ((10, 16, 22, 46), (1.0, 2.0, 4.0)),
    ((10, 16, 22, 46), (1.0, 2.0)),
    ((10, 16, 22), (1.0, 2.0)),
    ((10, 22), (1.0, 2.0)),
)
FULL = (((16, 22, 28, 40), (1.0, 2.0, 4.0, 8.0)),)  # of the paper's tables 4 and 5


def scale(subject: Subject, given: Factors, budget: Budget) -> Factors:
    """The largest grid of which five seeds can be afforded."""
    choices = [
        replace(given, depths=given.depths or depths, widths=given.widths or widths)
        for depths, widths in (CHOICES if budget.seconds is not None else FULL)
    ]
    return fullest(subject, budget, choices, names)


def names(factors: Factors) -> list[str]:
    """The networks of a study."""
    return [NETWORK.format(*at) for at in grid(factors)]


def grid(factors: Factors) -> list[tuple[int, float]]:
    """Every depth with every width.

    Raises:
        Refused: there is no such width.
    """
    depths, widths = sorted(set(factors.depths or ())), sorted(set(factors.widths or ()))
    if strange := [each for each in widths if f"{each:g}" not in WIDTHS.split(", ")]:
        raise Refused(
            "these networks have no such width",
            where=f"received --widths {','.join(f'{width:g}' for width in strange)}",
            fix=f"choose among {WIDTHS}",
        )
    return [(depth, width) for depth in depths for width in widths]


def cells(factors: Factors) -> list[Cell]:
    """A training for each depth, width and seed."""
    return [
        Cell({"depth": depth, "width": width, "seed": seed}, cost=(depth - 4) * width**2)
        for depth, width in grid(factors)
        for seed in range(factors.seeds or 1)
    ]


def measure(subject: Subject, factors: Factors, cell: Cell, folder: Path) -> Mapping[str, Any]:
    """Train one network; its errors on all training and test images, and what it computes."""
    name = NETWORK.format(cell.values["depth"], cell.values["width"])
    recipe = recipe_of(subject, factors, name, cell.values["seed"])
    found = outcome(subject, built(subject, recipe), recipe, folder)
    return {"network": name, "multiply_adds": multiply_adds(subject, name), **found}


class Pair(NamedTuple):
    """Two networks of equal cost, each a depth and a width."""

    deep: tuple[int, float]
    wide: tuple[int, float]


def pairs(rows: Sequence[Row]) -> list[Pair]:
    """The pairs of a grid that cost the same, within the factor `ALIKE`."""
    costs = {place(row): row["multiply_adds"] for row in rows if row.get("multiply_adds")}
    found = []
    for (one, first), (other, second) in combinations(sorted(costs.items()), 2):
        if one[0] != other[0] and max(first, second) <= ALIKE * min(first, second):
            found.append(Pair(deep=other, wide=one))
    return found


def place(row: Row) -> tuple[int, float]:
    """Where in the grid a row stands."""
    return int(row["depth"]), float(row["width"])


def conclude(factors: Factors, rows: Sequence[Row]) -> Verdict:
    """Deeper is better at equal cost; it does not hold where wider is shown to be.

    The evidence of a seed is the test error of the deeper network minus that of the wider, averaged
    over all pairs.
    """
    found = pairs(rows)
    if not found:
        return Verdict(
            None,
            "Not enough evidence: no two networks of the grid cost the same. Depths 10 and 22 with "
            "widths 1 and 2 have two that do.",
        )
    errors = {(place(row), row["seed"]): error(row, "test") for row in rows}
    seeds = [
        seed
        for seed in sorted({row["seed"] for row in rows})
        if all((each, seed) in errors for pair in found for each in pair)
    ]
    gaps = [fmean(errors[p.deep, s] - errors[p.wide, s] for p in found) for s in seeds]
    if not gaps:
        return Verdict(None, "Not enough evidence: no seed has both networks of a pair.")
    deep, wide, gap = less(gaps), greater(gaps), mean(gaps)
    each = [
        {"deep": label(pair.deep), "wide": label(pair.wide)}
        | mean(errors[pair.deep, s] - errors[pair.wide, s] for s in seeds)._asdict()
        for pair in found
    ]
    numbers = {"deep_minus_wide": gap._asdict(), "pairs": each, "seeds": len(seeds)}
    words = f"({pairs_in_words(found)}; {len(seeds)} seeds, p = {min(deep, wide):.2g})."
    facts = f"The deeper network of two has a test error {points(gap)} the wider's {words}"
    return judge(
        deep,
        wide,
        len(seeds),
        (
            "At equal cost deeper is better here.",
            "At equal cost wider is better here.",
        ),
        facts=facts,
        numbers=numbers,
        limits=limits(factors, rows),
    )


def label(at: tuple[int, float]) -> str:
    """A network in a few characters, as the paper writes them: 28-2."""
    return f"{at[0]}-{at[1]:g}"


def pairs_in_words(found: Sequence[Pair]) -> str:
    """Which networks were set against each other."""
    return ", ".join(f"{label(pair.deep)} against {label(pair.wide)}" for pair in found[:6])


def points(gap: Mean) -> str:
    """A difference of errors in percentage points, with its interval."""
    side = "above" if gap.mean > 0 else "below"
    low, high = sorted((abs(100 * gap.low), abs(100 * gap.high)))
    if not math.isfinite(high):
        return f"{abs(100 * gap.mean):.1f} points {side}"
    ends = f"{100 * gap.low:+.1f} to {100 * gap.high:+.1f}"
    return f"{abs(100 * gap.mean):.1f} points ({ends}) {side}"


def limits(factors: Factors, rows: Sequence[Row]) -> tuple[str, ...]:
    """What the rows cannot show."""
    found = (
        "Cost is multiply-adds: where memory or waiting bounds the speed, a wide network is faster "
        "than a deep one of the same count.",
        f"All networks have the same {factors.epochs or 0:g} epochs and learning rate; each might "
        "do better with its own.",
    )
    return (
        *found,
        *unaugmented(factors),
        *unfitted(rows, factors.epochs),
        *failures(rows),
    )


def networks_of(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """A row for each network of the grid: its mean error over seeds, and its cost."""
    found = []
    for at in sorted({place(row) for row in rows}):
        own = [row for row in rows if place(row) == at]
        value = mean([error(row, "test") for row in own])
        known = next((row for row in own if row.get("multiply_adds")), {})
        found.append(
            {
                "name": label(at),
                "depth": at[0],
                "width": at[1],
                "error": value.mean,
                "interval": (max(value.low, 0.0), value.high) if len(own) > 1 else None,
                "multiply_adds": known.get("multiply_adds"),
                "parameters": known.get("parameters"),
            }
        )
    return found


def draw(factors: Factors, rows: Sequence[Row], theme: str) -> Any:
    return plots.grid(networks_of(rows), theme)


def draw_cost(factors: Factors, rows: Sequence[Row], theme: str) -> Any:
    return plots.cost(networks_of(rows), theme)


STUDY = Study(
    question="At the same cost, is a deeper network better than a wider one?",
    source="Zagoruyko & Komodakis 2016, section 3, tables 3 to 5",
    takes=("depths", "widths", *TRAINING),
    scale=scale,
    cells=cells,
    measure=measure,
    conclude=conclude,
    figures={
        "grid": Picture(
            draw,
            "Mean test error over seeds, in percent, and below it the multiply-adds for one image. "
            "Frames mark the Pareto front: no other network has less error for no more cost.",
        ),
        "cost": Picture(
            draw_cost,
            "The same against cost, with 95 % intervals over seeds; a name is depth and width.",
        ),
    },
    columns=(
        "depth", "width", "seed", "status", "network", "parameters", "multiply_adds",
        "train_error", "train_wrong", "train_images", "test_error", "test_wrong", "test_images",
    ),
)  # fmt: skip
