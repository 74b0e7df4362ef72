"""Does SGD keep the solution that a deeper network has by construction, and does it find it?

He et al. 2016a, section 1: a deeper network can be as good as a shallow one, since layers that do
nothing leave its function as it is; that solvers do not find such a solution is the degradation
problem. Here the construction is made (networks/deepened.py) and given to SGD. Three trainings of
two equal parts, each part with the whole schedule of rates:

    shallow    the shallow network, which goes on
    built      the shallow network, then the deep one that is built from it
    scratch    the deep network throughout

so that at any step they share rate, images and order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from residua import plots
from residua.batches import evaluation
from residua.comparisons import LEVEL
from residua.factors import TRAINING, Factors
from residua.families import network_name
from residua.networks.deepened import deepened, difference
from residua.networks.network import Network
from residua.question import Budget, Picture, Study, Subject, Verdict
from residua.seeds import greater, mean, paired
from residua.sweeps import Cell, Row
from residua.trials import built, finished, fullest, outcome, recipe_of
from residua.verdicts import FITTED, by_seed, error, failures, judge, points
from residua.words import percent

SLACK = 0.01  # of the training error: a solution is kept if it stays within this
SHOWN = 256  # test images on which the two functions are compared
STARTS = ("shallow", "built", "scratch")
CHOICES = ((20, 56), (8, 32), (8, 20))  # depths, from the first that can be afforded


def scale(subject: Subject, given: Factors, budget: Budget) -> Factors:
    """The largest step in depth of which five seeds can be afforded."""
    families = given.families or ("plain", "residual")
    choices = [
        replace(given, families=families, depths=given.depths or depths)
        for depths in (CHOICES if budget.seconds is not None else CHOICES[:1])
    ]
    return fullest(subject, budget, choices, parts)


def parts(factors: Factors) -> list[str]:
    """The networks of all parts of a seed's trainings."""
    return [name for family in factors.families or () for name in 3 * pair(factors, family)]


def pair(factors: Factors, family: str) -> tuple[str, str]:
    """The names of the shallow and the deep network.

    Raises:
        Refused: there is no such family.
    """
    depths = factors.depths or (0,)
    return network_name(family, min(depths)), network_name(family, max(depths))


def cells(factors: Factors) -> list[Cell]:
    """Three trainings for each family and seed."""
    low, high = min(factors.depths or (0,)), max(factors.depths or (0,))
    costs = {"shallow": 2 * low, "built": low + high, "scratch": 2 * high}
    return [
        Cell({"family": family, "start": start, "seed": seed}, cost=costs[start])
        for family in factors.families or ()
        for start in STARTS
        for seed in range(factors.seeds or 1)
    ]


def measure(subject: Subject, factors: Factors, cell: Cell, folder: Path) -> Mapping[str, Any]:
    """Train both parts; the errors after each, and how far the construction is from its origin."""
    start, seed = cell.values["start"], cell.values["seed"]
    low, high = pair(factors, cell.values["family"])
    recipe = recipe_of(subject, factors, high if start == "scratch" else low, seed)
    places = [folder / "first", folder / "second"]
    for place in places:
        place.mkdir(exist_ok=True)
    first = outcome(subject, built(subject, recipe), recipe, places[0])
    network, row = finished(places[0]), {}
    if start == "built":
        origin, recipe = network, recipe_of(subject, factors, high, seed)
        network = deepened(origin, max(factors.depths or ()))
        row["difference"] = apart(subject, origin, network)
    second = outcome(subject, network, recipe, places[1])
    later = [[epoch + first["curve"][-1][0], *errors] for epoch, *errors in second["curve"]]
    before = {f"{key}_before": first[key] for key in ("train_error", "test_error")}
    return {**row, **before, **second, "curve": first["curve"] + later}


def apart(subject: Subject, one: Network, other: Network) -> float:
    """The largest difference of logits on test images, computed on the processor."""
    some = subject.test.select(range(min(SHOWN, len(subject.test))))
    device = next(one.cpu().parameters()).device
    images = next(evaluation(some, subject.look, SHOWN, device)).images
    return difference(one, other.cpu(), images)


def excess(rows: Sequence[Row], family: str, start: str, against: str) -> dict[int, float]:
    """Training error at the end of one training minus that of another, for each seed."""
    ends = (by_seed(rows, family=family, start=each) for each in (start, against))
    return paired(*ends)


def conclude(factors: Factors, rows: Sequence[Row]) -> Verdict:
    """SGD keeps the first family's solution: the error stays within a point of the shallow one's.

    It does not where the error is shown to be larger, and not shown to be within that point.
    """
    families = [family for family in factors.families or () if excess(rows, family, *STARTS[1::-1])]
    if not families or len(set(factors.depths or ())) < 2:
        return Verdict(None, "Not enough evidence: it takes networks of two depths.")
    numbers, facts = {}, []
    for family in families:
        numbers[family], words = account(rows, family)
        facts.append(words)
    main = families[0]
    lost = excess(rows, main, "built", "shallow").values()
    kept, left = greater(SLACK - each for each in lost), greater(lost)
    exact = all(row.get("difference", 0.0) == 0.0 for row in rows)
    told = " ".join(
        ["The construction computes the same function to the last bit."] * exact + facts
    )
    unfound = greater(excess(rows, main, "scratch", "built").values()) < LEVEL
    what = f"the solution that a deeper {main} network has by construction"
    then = ", and does not find it from scratch" if unfound else ""
    worse = ", if not quite" if left < LEVEL else ""
    return judge(
        kept,
        left,
        len(lost),
        (
            f"SGD keeps {what}{worse}{then}.",
            f"SGD leaves {what}, by {100 * mean(lost).mean:.1f} points{then}.",
        ),
        facts=told,
        numbers=numbers,
        limits=limits(factors, rows),
    )


def account(rows: Sequence[Row], family: str) -> tuple[dict[str, Any], str]:
    """What became of a family's construction, in numbers and in a sentence."""
    kept = excess(rows, family, "built", "shallow").values()
    found = excess(rows, family, "scratch", "built").values()
    numbers: dict[str, Any] = {"built - shallow": mean(kept)._asdict(), "seeds": len(kept)}
    words = (
        f"The training error of the {family} network that is built, and goes on, ends "
        f"{points(mean(kept))} from that of the shallow one that goes on"
    )
    if found:
        p = greater(found)
        numbers |= {"scratch - built": mean(found)._asdict(), "p of scratch > built": p}
        words += f"; from scratch it ends {points(mean(found))} from the built one's (p = {p:.2g})"
    return numbers, f"{words} ({len(kept)} seeds)."


def limits(factors: Factors, rows: Sequence[Row]) -> tuple[str, ...]:
    """What the rows cannot show."""
    found = [
        "Batch norm divides by each batch's own deviation: in training mode a plain network that "
        "is built starts near the function of the shallow one, not at it."
    ]
    best = min((error(row) for row in rows), default=1.0)
    if best > FITTED:
        found.append(
            f"After {2 * (factors.epochs or 0):g} epochs no network fits the training images (the "
            f"best has {percent(best)} error): the solution is not one that could not be improved."
        )
    return (*found, *failures(rows))


def draw(factors: Factors, rows: Sequence[Row], theme: str) -> Any:
    depths = factors.depths or (0,)
    return plots.construction(rows, (min(depths), max(depths)), factors.epochs or 0, theme)


STUDY = Study(
    question="Does SGD keep the solution that a deeper network has by construction?",
    source="He et al. 2016a, section 1",
    takes=("families", "depths", *TRAINING),
    scale=scale,
    cells=cells,
    measure=measure,
    conclude=conclude,
    figures={
        "construction": Picture(
            draw,
            "Error of the training images in evaluation mode, mean over seeds: the shallow "
            "network, the deep one that is built from it at the dotted line, and the deep one "
            "from scratch. The schedule of rates begins again at that line.",
        ),
    },
    columns=(
        "family", "start", "seed", "status", "parameters", "difference",
        "train_error_before", "train_error", "train_wrong", "train_images",
        "test_error_before", "test_error", "test_wrong", "test_images",
    ),
)  # fmt: skip
