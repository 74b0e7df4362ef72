"""Do deeper plain networks fit even their training images worse, and residual networks not?

The degradation problem (He et al. 2016a, figures 1, 4, 6): a plain network of 56 layers has a
higher training error than one of 20, though the layers that are more could do nothing. Networks of
each kind are trained from the same first weights on the same images in the same order, so that of
two that share depth and seed only the shortcuts differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from residua import plots
from residua.factors import TRAINING, Factors
from residua.families import names, network_name
from residua.question import Budget, Picture, Study, Subject, Verdict
from residua.seeds import greater, less, mean, paired
from residua.sweeps import Cell, Row
from residua.trials import built, fullest, outcome, recipe_of
from residua.verdicts import by_seed, failures, judge, points, unfitted

# What is given up first where the budget is short: depths, then highway networks.
CHOICES = (
    (("plain", "residual", "highway"), (20, 56, 110)),
    (("plain", "residual", "highway"), (20, 56)),
    (("plain", "residual"), (20, 56)),
    (("plain", "residual"), (8, 44)),
    (("plain", "residual"), (8, 32)),
)
FULL = (("plain", "residual"), (20, 32, 44, 56, 110))


def scale(subject: Subject, given: Factors, budget: Budget) -> Factors:
    """The most families and depths of which five seeds can be afforded."""
    choices = [
        replace(given, families=given.families or families, depths=given.depths or depths)
        for families, depths in (CHOICES if budget.seconds is not None else (FULL,))
    ]
    return fullest(subject, budget, choices, names)


def cells(factors: Factors) -> list[Cell]:
    """A training for each family, depth and seed."""
    return [
        Cell({"family": family, "depth": depth, "seed": seed}, cost=depth)
        for depth in sorted(factors.depths or ())
        for family in factors.families or ()
        for seed in range(factors.seeds or 1)
    ]


def measure(subject: Subject, factors: Factors, cell: Cell, folder: Path) -> Mapping[str, Any]:
    """Train one network; its errors on all training and test images."""
    name = network_name(cell.values["family"], cell.values["depth"])
    recipe = recipe_of(subject, factors, name, cell.values["seed"])
    return outcome(subject, built(subject, recipe), recipe, folder)


def rises(rows: Sequence[Row], family: str, role: str = "train") -> dict[int, float]:
    """Error of the deepest network of a family minus that of the shallowest, by seed."""
    depths = {row["depth"] for row in rows if row["family"] == family}
    if len(depths) < 2:
        return {}
    deep, shallow = (
        by_seed(rows, role, family=family, depth=depth) for depth in (max(depths), min(depths))
    )
    return paired(deep, shallow)


def conclude(factors: Factors, rows: Sequence[Row]) -> Verdict:
    """Plain networks degrade with depth, and residual ones do so less.

    Both must be shown: the p-value is the larger one of the two tests. It does not hold where the
    opposite of one of them is shown.
    """
    plain, residual = rises(rows, "plain"), rises(rows, "residual")
    seeds = sorted(plain.keys() & residual.keys())
    shallow, deep = min(factors.depths or (0,)), max(factors.depths or (0,))
    if shallow == deep or not seeds:
        return Verdict(
            None, "Not enough evidence: it takes plain and residual networks of two depths."
        )
    own, apart = [plain[seed] for seed in seeds], list(paired(plain, residual).values())
    p, against = max(greater(own), greater(apart)), min(less(own), less(apart))
    rise, other = mean(own), mean(residual[seed] for seed in seeds)
    numbers = {
        "plain": rise._asdict(),
        "residual": other._asdict(),
        "difference": mean(apart)._asdict(),
        "seeds": len(seeds),
    }
    facts = (
        f"From {shallow} to {deep} layers the training error of plain networks changes by "
        f"{points(rise)}, that of residual networks by {points(other)} ({len(seeds)} seeds, "
        f"p = {p:.2g})."
    )
    return judge(
        p,
        against,
        len(seeds),
        (
            "Depth hurts plain networks here, and shortcuts mend it.",
            "Depth does not hurt plain networks more than residual ones here.",
        ),
        facts=facts,
        numbers=numbers,
        limits=limits(factors, rows),
    )


def limits(factors: Factors, rows: Sequence[Row]) -> tuple[str, ...]:
    """What the rows cannot show."""
    return (*unfitted(rows, factors.epochs), *failures(rows))


def draw(factors: Factors, rows: Sequence[Row], theme: str) -> Any:
    return plots.degradation(rows, theme)


def draw_depth(factors: Factors, rows: Sequence[Row], theme: str) -> Any:
    return plots.against_depth(rows, theme)


STUDY = Study(
    question="Do deeper plain networks fit even the training images worse, and residual ones not?",
    source="He et al. 2016a, sections 1 and 4, figures 1, 4 and 6",
    takes=("families", "depths", *TRAINING),
    scale=scale,
    cells=cells,
    measure=measure,
    conclude=conclude,
    figures={
        "degradation": Picture(
            draw,
            "Thin: error of the training images, without augmentation. Bold: of the test images. "
            "Means over seeds; the numbers at the ends are layers.",
        ),
        "depth": Picture(
            draw_depth,
            "Training error at the end against depth: a dot for each seed, lines through means.",
        ),
    },
    columns=(
        "family", "depth", "seed", "status", "parameters",
        "train_error", "train_wrong", "train_images", "test_error", "test_wrong", "test_images",
    ),
)  # fmt: skip
