"""Is the identity the best shortcut, and which order of activations suits it?

He et al. 2016b put other things in place of the identity, a constant, a gate, a convolution,
dropout (table 1), and moved norms and ReLUs around the addition (table 2), in a ResNet-110. Here
each of these networks is trained on the same images in the same order, from the same draw of every
weight that it shares with the ordinary one, so that differences are taken seed by seed.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from residua import plots
from residua.comparisons import LEVEL, holm
from residua.errors import Refused, unknown
from residua.factors import TRAINING, Factors
from residua.question import Budget, Picture, Study, Subject, Verdict
from residua.seeds import FEWEST, Mean, greater, less, mean, paired
from residua.sweeps import Cell, Row
from residua.trials import built, fullest, outcome, recipe_of
from residua.verdicts import FITTED, by_seed, error, failures, points, unaugmented
from residua.words import listed, percent


class Variant(NamedTuple):
    """A network of the papers' tables, and its error there."""

    network: str
    paper: float | None  # test error of ResNet-110 on CIFAR-10, %; infinite where it failed


FAILED = math.inf  # "fail": above 20 %
IDENTITY = "identity"
SHORTCUTS = {
    IDENTITY: Variant("resnet{}-cifar", 6.61),
    "none": Variant("plain{}-cifar", FAILED),
    "half of x": Variant("resnet{}-cifar-shortcut=scaled", FAILED),
    "half of both": Variant("resnet{}-cifar-join=mean", 12.35),
    "gate": Variant("resnet{}-cifar-join=gate", 8.70),  # exclusive, from -6
    "gate on x": Variant("resnet{}-cifar-shortcut=gated", 6.91),  # from -6
    "1x1": Variant("resnet{}-cifar-shortcut=C", 12.22),
    "dropout": Variant("resnet{}-cifar-shortcut=dropout", FAILED),
    "option B": Variant("resnet{}-cifar-shortcut=B", None),  # 2016a, table 3, not on CIFAR-10
}  # 2016b, table 1
ORDERS = {
    "norm after": Variant("resnet{}-cifar-join=norm_after", 8.17),
    "relu before": Variant("resnet{}-cifar-join=relu_before", 7.84),
    "relu first": Variant("resnet{}-cifar-join=relu_first", 6.71),
    "pre-activation": Variant("preact{}-cifar-branch=basic-shortcut=A", 6.37),
}  # 2016b, table 2
VARIANTS = {**SHORTCUTS, **ORDERS}
MAIN = (IDENTITY, "none", "half of both", "gate", "gate on x", "1x1", "pre-activation")
FEW = (IDENTITY, "none", "half of both", "gate", "1x1")
SHORT = 12.0  # epochs; half of what a study has else, but depth tells more than length
# What is given up first where the budget is short: layers and epochs, then variants, then layers
# again, below 32 of which hardly anything fails.
CHOICES = (
    (tuple(VARIANTS), 110, None),
    (tuple(VARIANTS), 56, None),
    (tuple(VARIANTS), 44, SHORT),
    (MAIN, 44, SHORT),
    (FEW, 44, SHORT),
    (FEW, 32, SHORT),
    (FEW, 20, SHORT),
)


def scale(subject: Subject, given: Factors, budget: Budget) -> Factors:
    """The most variants at the greatest depth of which there can be seeds enough."""
    check(given)
    wished = list(choices(given))
    fewest = replace(wished[-1], seeds=given.seeds, epochs=given.epochs)
    return fullest(subject, budget, [*wished, fewest], names)


def check(given: Factors) -> None:
    """Raise Refused where a variant is unknown, the identity is missing, or depths are several."""
    for name in given.families or ():
        if name not in VARIANTS:
            raise unknown("shortcut", name, VARIANTS)
    if given.families and IDENTITY not in given.families:
        raise Refused(
            "every shortcut is compared with the identity", fix=f"add {IDENTITY} to --families"
        )
    if given.depths and len(given.depths) > 1:
        raise Refused(
            "shortcuts are compared at one depth",
            where=f"received --depths {','.join(map(str, given.depths))}",
            fix="give one depth; a study of each depth can run beside it",
        )


def choices(given: Factors) -> Iterator[Factors]:
    """What might be afforded, the most first."""
    for families, depth, epochs in CHOICES:
        families, depths = given.families or families, given.depths or (depth,)
        seeds, epochs = given.seeds or enough(len(families) - 1), given.epochs or epochs
        yield replace(given, families=families, depths=depths, seeds=seeds, epochs=epochs)


def enough(comparisons: int) -> int:
    """Seeds below which no exact test among so many can show anything at `LEVEL`."""
    return max(FEWEST, math.floor(math.log2(max(comparisons, 1) / LEVEL)) + 1)


def names(factors: Factors) -> list[str]:
    """The networks of a study."""
    depth = max(factors.depths or (0,))
    return [VARIANTS[each].network.format(depth) for each in factors.families or ()]


def cells(factors: Factors) -> list[Cell]:
    """A training for each variant and seed."""
    return [
        Cell({"shortcut": each, "depth": max(factors.depths or (0,)), "seed": seed})
        for each in factors.families or ()
        for seed in range(factors.seeds or 1)
    ]


def measure(subject: Subject, factors: Factors, cell: Cell, folder: Path) -> Mapping[str, Any]:
    """Train one network; its errors on all training and test images."""
    name = VARIANTS[cell.values["shortcut"]].network.format(cell.values["depth"])
    recipe = recipe_of(subject, factors, name, cell.values["seed"])
    found = outcome(subject, built(subject, recipe), recipe, folder)
    return {"network": name, **found}


def apart(rows: Sequence[Row], shortcut: str, role: str = "test") -> list[float]:
    """Error with a shortcut minus error with the identity, by seed."""
    ends = (by_seed(rows, role, shortcut=each) for each in (shortcut, IDENTITY))
    return list(paired(*ends).values())


class Compared(NamedTuple):
    """A variant beside the identity: test errors apart, and p-values adjusted for all of them."""

    shortcut: str
    difference: Mean
    worse: float
    better: float


def compared(rows: Sequence[Row]) -> list[Compared]:
    """Each variant against the identity, by exact sign-flip tests adjusted as Holm 1979."""
    others = [each for each in dict.fromkeys(row["shortcut"] for row in rows) if each != IDENTITY]
    gaps = [apart(rows, each) for each in others]
    worse, better = holm(list(map(greater, gaps))), holm(list(map(less, gaps)))
    means = [mean(gap) if gap else Mean(math.nan, -math.inf, math.inf) for gap in gaps]
    return [Compared(*each) for each in zip(others, means, worse, better, strict=True)]


def conclude(factors: Factors, rows: Sequence[Row]) -> Verdict:
    """The identity is best: some shortcuts are shown to be worse, and none to be better.

    That a shortcut is not shown to be worse does not show that it is as good. Orders of activation
    have the identity as their shortcut, so one that is better does not speak against it.
    """
    found = compared(rows)
    seeds = len({row["seed"] for row in rows})
    if not found or not seeds:
        return Verdict(None, "Not enough evidence: it takes the identity and another shortcut.")
    worse = [each for each in found if each.worse < LEVEL]
    better = [each for each in found if each.better < LEVEL]
    rivals = [each.shortcut for each in better if each.shortcut in SHORTCUTS]
    shown = [each.shortcut for each in worse if each.shortcut in SHORTCUTS]
    facts = " ".join([*map(sentence, worse), *map(sentence, better), f"({seeds} seeds.)"])
    numbers = {
        each.shortcut: each.difference._asdict() | {"p_worse": each.worse, "p_better": each.better}
        for each in found
    }
    limit = limits(factors, rows, len(found))
    p = min(each.worse for each in found)
    if rivals:
        p = min(each.better for each in better)
        words = f"The identity is not the best shortcut here: {listed(rivals)}. {facts}"
        return Verdict(False, words, p, numbers, limit)
    if shown:
        words = (
            f"No shortcut is shown to be better than the identity, and {len(shown)} of "
            f"{sum(each.shortcut in SHORTCUTS for each in found)} are shown to be worse. {facts}"
        )
        return Verdict(True, words, p, numbers, limit)
    words = f"Not enough evidence to tell the identity from another shortcut. {facts}"
    return Verdict(None, words, p, numbers, limit)


def sentence(each: Compared) -> str:
    """How far a variant is from the identity."""
    p = min(each.worse, each.better)
    start = f"{each.shortcut[:1].upper()}{each.shortcut[1:]}"
    return f"{start}: {points(each.difference)}, p = {p:.2g}."


def limits(factors: Factors, rows: Sequence[Row], comparisons: int) -> tuple[str, ...]:
    """What the rows cannot show."""
    depth, seeds = max(factors.depths or (0,)), factors.seeds or 0
    found = [
        f"The paper's networks have 110 layers and see CIFAR-10 for 64,000 steps; these have "
        f"{depth} layers, {factors.epochs or 0:g} epochs, and images of their own."
    ]
    if seeds < enough(comparisons):
        found.append(
            f"With {comparisons} comparisons, {enough(comparisons)} seeds are the fewest that can "
            f"show a difference; there are {seeds}."
        )
    left = set(VARIANTS) - set(factors.families or ())
    if left:
        names = listed([each for each in VARIANTS if each in left])
        found.append(f"Not among them: {names}. --families asks for them, with more time.")
    own = [error(row, "train") for row in rows if row["shortcut"] == IDENTITY]
    if own and min(own) > FITTED:
        found.append(
            f"With the identity, too, training images are not fitted (error {percent(min(own))} at "
            "best): slower learning and a worse end cannot be told apart."
        )
    return (*found, *unaugmented(factors), *failures(rows))


def draw(factors: Factors, rows: Sequence[Row], theme: str) -> Any:
    shown = [
        {
            "shortcut": each,
            "paper": VARIANTS[each].paper,
            "test": [error(row, "test") for row in rows if row["shortcut"] == each],
            "train": [error(row, "train") for row in rows if row["shortcut"] == each],
            "order": each in ORDERS,
        }
        for each in dict.fromkeys(row["shortcut"] for row in rows)
    ]
    verdicts = {each.shortcut: each for each in compared(rows)}
    for row in shown:
        known = verdicts.get(row["shortcut"])
        row["interval"] = mean(row["test"])[1:]
        row["shown"] = None if known is None else "worse" if known.worse < LEVEL else ""
        row["shown"] = "better" if known is not None and known.better < LEVEL else row["shown"]
    return plots.shortcuts(shown, theme)


STUDY = Study(
    question="Is the identity the best shortcut, and which order of activations suits it?",
    source="He et al. 2016b, sections 3 and 4, tables 1 and 2; He et al. 2016a, section 3.3",
    takes=("families", "depths", *TRAINING),
    scale=scale,
    cells=cells,
    measure=measure,
    conclude=conclude,
    figures={
        "shortcuts": Picture(
            draw,
            "Test error at the end, the least first: a dot for each seed, the mean and its 95 % "
            "interval; the hollow mark is the mean error of the training images. At the right what "
            "the paper found for 110 layers on CIFAR-10.",
        ),
    },
    columns=(
        "shortcut", "depth", "seed", "status", "network", "parameters",
        "train_error", "train_wrong", "train_images", "test_error", "test_wrong", "test_images",
    ),
)  # fmt: skip
