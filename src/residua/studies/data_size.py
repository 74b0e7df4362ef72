"""Do highway networks need more images than residual ones?

The solutions of highway networks include near copies of the residual ones (Srivastava et al. 2015,
equation 3), and so it is said that they do worse for want of images to find them. Both kinds learn
here from the same growing sets of images, in the same number of steps, so that a larger set differs
in nothing but its images. If images are what is wanting, the gap between their *test* errors closes
as sets grow; a gap in *training* error is one of optimization, which images cannot close.

The gates, 1x1 convolutions, cost about 5 % more multiply-adds than the residual network of the same
depth has: of all depths that is the nearest cost, and it favors the highway network.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from residua import plots
from residua.datasets.dataset import Split
from residua.factors import TRAINING, Factors
from residua.families import names, network_name
from residua.question import Budget, Picture, Study, Subject, Verdict
from residua.seeds import greater, less, mean, paired
from residua.sweeps import Cell, Row
from residua.trials import built, errors, finished, fullest, multiply_adds, recipe_of, trained
from residua.verdicts import by_seed, failures, judge, points, unaugmented

# What is given up first where the budget is short: depth, then shares between.
PAIR = ("highway", "residual")
CHOICES = (
    ((56,), (0.1, 0.2, 0.5, 1.0)),
    ((32,), (0.1, 0.2, 0.5, 1.0)),
    ((20,), (0.1, 0.2, 0.5, 1.0)),
    ((20,), (0.1, 1.0)),
    ((8,), (0.1, 1.0)),
)
FULL = ((110,), (0.1, 0.2, 0.5, 1.0))


def scale(subject: Subject, given: Factors, budget: Budget) -> Factors:
    """The deepest networks and the most shares of which five seeds can be afforded."""
    given = replace(given, families=given.families or PAIR)
    choices = [
        replace(given, depths=given.depths or depths, shares=given.shares or shares)
        for depths, shares in (CHOICES if budget.seconds is not None else (FULL,))
    ]
    return fullest(subject, budget, choices, lambda each: names(each) * len(each.shares or ()))


def cells(factors: Factors) -> list[Cell]:
    """A training for each depth, family, share and seed."""
    return [
        Cell({"family": family, "depth": depth, "share": share, "seed": seed}, cost=depth)
        for depth in sorted(factors.depths or ())
        for family in factors.families or ()
        for share in sorted(factors.shares or ())
        for seed in range(factors.seeds or 1)
    ]


def measure(subject: Subject, factors: Factors, cell: Cell, folder: Path) -> Mapping[str, Any]:
    """Train one network on a share of the images; its errors on those and on the test images."""
    name = network_name(cell.values["family"], cell.values["depth"])
    recipe = recipe_of(subject, factors, name, cell.values["seed"])
    own = part(subject.train, cell.values["share"], recipe.seed)
    network = built(subject, recipe)
    for _ in trained(replace(subject, train=repeated(own, len(subject.train))), network, recipe,
                     folder):  # fmt: skip
        pass
    found = errors(replace(subject, train=own), finished(folder))
    weights = sum(weight.numel() for weight in network.parameters())
    return {"multiply_adds": multiply_adds(subject, name), "parameters": weights, **found}


def part(split: Split, share: float, seed: int) -> Split:
    """A share of a split, drawn at random: the larger shares of a seed have all of the smaller."""
    key = hashlib.sha256(f"share/{seed}".encode()).digest()[:7]
    generator = torch.Generator().manual_seed(int.from_bytes(key, "big"))
    order = torch.randperm(len(split), generator=generator)
    return split.select(order[: max(1, round(share * len(split)))])


def repeated(split: Split, length: int) -> Split:
    """A split over and over, up to a length, so that a pass over any share has as many steps."""
    return split.select(torch.arange(length) % len(split))


def gaps(rows: Sequence[Row], share: float, role: str) -> dict[int, float]:
    """Error of the deepest highway network minus that of the residual one, by seed."""
    depth = max((row["depth"] for row in rows), default=0)
    highway, residual = (
        by_seed(rows, role, family=family, depth=depth, share=share) for family in PAIR
    )
    return paired(highway, residual)


def conclude(factors: Factors, rows: Sequence[Row]) -> Verdict:
    """The gap in test error is wider with the smallest share than with the largest."""
    shares = sorted({row["share"] for row in rows})
    if len(shares) < 2 or not gaps(rows, shares[0], "test"):
        return Verdict(None, "Not enough evidence: it takes both kinds of network and two shares.")
    few, many = (gaps(rows, share, "test") for share in (shares[0], shares[-1]))
    closing = paired(few, many).values()
    p, against = greater(closing), less(closing)
    train = gaps(rows, shares[-1], "train").values()
    numbers: dict[str, Any] = {
        f"{role} gap at {share:g}": mean(gaps(rows, share, role).values())._asdict()
        for role in ("test", "train")
        for share in shares
    }
    numbers |= {"closing": mean(closing)._asdict(), "seeds": len(closing)}
    numbers["p of the training gap"] = greater(train)
    facts = (
        f"The highway network's test error beside the residual one's is "
        f"{points(mean(few.values()))} with {percent(shares[0])} of the images and "
        f"{points(mean(many.values()))} with {percent(shares[-1])} ({len(closing)} seeds, "
        f"p = {min(p, against):.2g}); its training error then is {points(mean(train))} "
        f"(p = {greater(train):.2g})."
    )
    return judge(
        p,
        against,
        len(closing),
        (
            "Highway networks want more images than residual ones.",
            "Highway networks fall behind as images are added.",
        ),
        facts=facts,
        numbers=numbers,
        limits=limits(factors, rows),
    )


def percent(share: float) -> str:
    return f"{100 * share:g} %"


def limits(factors: Factors, rows: Sequence[Row]) -> tuple[str, ...]:
    """What the rows cannot show."""
    found = ["Shares are of these images: what more of them than there are would do is not shown."]
    costs = {row["family"]: row["multiply_adds"] for row in rows if row.get("multiply_adds")}
    if set(PAIR) <= costs.keys():
        more = 100 * (costs["highway"] / costs["residual"] - 1)
        found.append(f"The highway network has {more:.1f} % more multiply-adds, in its favor.")
    return (*found, *unaugmented(factors), *failures(rows))


def draw(factors: Factors, rows: Sequence[Row], theme: str) -> Any:
    depth = max(row["depth"] for row in rows)
    return plots.data_size([row for row in rows if row["depth"] == depth], theme)


STUDY = Study(
    question="Do highway networks need more images than residual ones?",
    source="Srivastava et al. 2015; He et al. 2016b, section 3.2",
    takes=("families", "depths", "shares", *TRAINING),
    scale=scale,
    cells=cells,
    measure=measure,
    conclude=conclude,
    figures={
        "data-size": Picture(
            draw,
            "Error at the end against the share of the training images, in as many steps: a dot "
            "for each seed, lines through means. Thin: the images learned from. Bold: test images.",
        ),
    },
    columns=(
        "family", "depth", "share", "seed", "status", "parameters", "multiply_adds",
        "train_error", "train_wrong", "train_images", "test_error", "test_wrong", "test_images",
    ),
)  # fmt: skip
