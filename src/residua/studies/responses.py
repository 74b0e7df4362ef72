"""Are the responses of residual networks small, and smaller with depth?

He et al. 2016a, section 4.2 and figure 7: if the functions that residual layers learn are closer to
zero than those of plain layers, the deviations of their responses are smaller (responses.py says
what these are). Networks are trained here, or measured as they are if `networks` names runs or
weights.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from residua import networks, plots
from residua.batches import evaluation
from residua.factors import TRAINING, Factors
from residua.images import Preprocessing
from residua.networks.network import Network
from residua.once import opened, to_train
from residua.probes.responses import responses
from residua.question import Budget, Picture, Study, Subject, Verdict
from residua.runs import DONE
from residua.seeds import greater, less, mean, paired
from residua.sweeps import Cell, Row
from residua.trials import built, finished, fullest, outcome, recipe_of
from residua.verdicts import judge, plainly
from residua.words import percent

SHOWN = 500  # test images at most: a deviation over their positions needs no more
BATCH = 50  # of them at a time
LITTLE = 0.1  # of the responses: differences below it tell of little
POOR = 0.5  # training error above which a network has learned too little to compare
# What is given up first where the budget is short: the deepest networks.
FIGURE = ("plain20-cifar", "plain56-cifar", "resnet20-cifar", "resnet56-cifar", "resnet110-cifar")
CHOICES = (
    FIGURE,
    FIGURE[:4],
    ("plain20-cifar", "plain44-cifar", "resnet20-cifar", "resnet44-cifar"),
    ("plain8-cifar", "plain32-cifar", "resnet8-cifar", "resnet32-cifar"),
)


def scale(subject: Subject, given: Factors, budget: Budget) -> Factors:
    """The most networks of which five seeds can be afforded.

    Raises:
        Refused: a name is neither that of a network nor of weights.
        BadData: weights cannot be read.
    """
    for name in given.networks or ():
        if not to_train(name):
            opened(name)
    if given.networks and not any(map(to_train, given.networks)):
        return replace(given, seeds=1)
    usual = CHOICES if budget.seconds is not None else (FIGURE,)
    choices = [
        replace(given, networks=names) for names in ((given.networks,) if given.networks else usual)
    ]
    return fullest(subject, budget, choices, learning)


def learning(factors: Factors) -> list[str]:
    """The networks that are yet to be trained."""
    return [name for name in factors.networks or () if to_train(name)]


def cells(factors: Factors) -> list[Cell]:
    """A training for each network and seed, a measurement for each one that is trained already."""
    return [
        Cell({"network": name, "seed": seed}, cost=networks.parse(name)[1] if own else 0.0)
        for name in factors.networks or ()
        for own in [to_train(name)]
        for seed in range(factors.seeds or 1 if own else 1)
    ]


def measure(subject: Subject, factors: Factors, cell: Cell, folder: Path) -> Mapping[str, Any]:
    """The responses of one network, trained here unless it is named by its weights."""
    name, seed = cell.values["network"], cell.values["seed"]
    if not to_train(name):
        weights = opened(name)
        return measured(subject, weights.build(), weights.preprocessing)
    recipe = recipe_of(subject, factors, name, seed)
    found = outcome(subject, built(subject, recipe), recipe, folder)
    kept = {key: found[key] for key in ("parameters", "train_error", "test_error")}
    return {**kept, **measured(subject, finished(folder), subject.look)}


def measured(subject: Subject, network: Network, look: Preprocessing) -> dict[str, Any]:
    """The responses of a trained network to test images, as columns of a row."""
    device = subject.execution.device
    found = responses(network.to(device), shown(subject, look))
    values = [each.deviation for each in found]
    return {
        "kind": "residual" if shortened(network) else "plain",
        "depth": network.depth,
        "mean_response": float(np.mean(values)),
        "median_response": float(np.median(values)),
        "layers": [each.name for each in found],
        "responses": [plainly(value) for value in values],
    }


def shortened(network: Network) -> bool:
    """Whether any of its blocks has a shortcut."""
    return any(hasattr(module, "shortcut") for module in network.modules())


def shown(subject: Subject, look: Preprocessing) -> Iterator[Tensor]:
    """Test images from all over the split, as a network is used to see them."""
    split = subject.test if look == subject.look else subject.data.splits["test"]
    for batch in evaluation(split.evenly(SHOWN), look, BATCH, subject.execution.device):
        yield batch.images


# What follows.


def by_seed(rows: Sequence[Row], kind: str, depth: int) -> dict[int, float]:
    """The mean response of the networks of one kind and depth, by seed."""
    return {
        row["seed"]: row["mean_response"]
        for row in rows
        if row.get("kind") == kind and row.get("depth") == depth
    }


def comparisons(rows: Sequence[Row]) -> dict[str, list[float]]:
    """By how much responses are smaller, in pairs that share a seed, from what is compared.

    Residual networks against plain ones of the deepest depth that has both, and the shallowest
    residual networks against the deepest.
    """
    kinds = {
        kind: sorted({row["depth"] for row in rows if row.get("kind") == kind})
        for kind in ("plain", "residual")
    }
    found = {}
    if both := sorted(set(kinds["plain"]) & set(kinds["residual"])):
        depth = both[-1]
        pair = by_seed(rows, "plain", depth), by_seed(rows, "residual", depth)
        found[f"plain-{depth} above residual-{depth}"] = list(paired(*pair).values())
    if len(depths := kinds["residual"]) > 1:
        pair = by_seed(rows, "residual", depths[0]), by_seed(rows, "residual", depths[-1])
        found[f"residual-{depths[0]} above residual-{depths[-1]}"] = list(paired(*pair).values())
    return found


def conclude(factors: Factors, rows: Sequence[Row]) -> Verdict:
    """Responses of residual networks are smaller than of plain ones, and smaller with depth.

    Both must be shown: the p-value is the larger one of the two tests. It does not hold where the
    opposite of one of them is shown.
    """
    found = comparisons(rows)
    facts = "; ".join(f"{name} by {difference(values)}" for name, values in found.items())
    words = f"Mean deviation of responses: {facts}." if facts else ""
    numbers = {name: mean(values)._asdict() for name, values in found.items() if values}
    told = limits(factors, rows)
    if len(found) < 2 or not all(found.values()):
        few = "it takes plain and residual networks of one depth, and residual ones of two"
        return Verdict(None, f"Not enough evidence: {few}. {words}".strip(), None, numbers, told)
    return judge(
        max(map(greater, found.values())),
        min(map(less, found.values())),
        min(map(len, found.values())),
        (
            "Residual layers respond less than plain ones, and less the more there are.",
            "Responses are not smaller here on both counts.",
        ),
        facts=words,
        numbers=numbers,
        limits=told,
    )


def difference(values: Sequence[float]) -> str:
    """A mean difference with its interval over seeds."""
    if not values:
        return "nothing, having no seed in common"
    known = mean(values)
    if not math.isfinite(known.low):
        return f"{known.mean:+.3f}"
    return f"{known.mean:+.3f} ({known.low:+.3f} to {known.high:+.3f}, {len(values)} seeds)"


def limits(factors: Factors, rows: Sequence[Row]) -> tuple[str, ...]:
    """What the rows cannot show."""
    found = []
    usual = np.mean([row["mean_response"] for row in rows if "mean_response" in row] or [0.0])
    apart = [abs(mean(values).mean) for values in comparisons(rows).values() if values]
    if apart and min(apart) < LITTLE * usual:
        found.append(
            f"The smaller difference is {percent(min(apart) / float(usual), 0)} of the responses: "
            "it says little of how close to zero the functions are that residual layers learn."
        )
    poor = sorted({row["network"] for row in rows if row.get("train_error", 0) > POOR})
    if poor:
        found.append(
            f"{', '.join(poor)}: the training error is above {percent(POOR, 0)}; responses of a "
            "network that has not learned tell what it started with."
        )
    if (factors.epochs or 0) < 100 and any("train_error" in row for row in rows):
        found.append(
            f"Scales of norms, which set the responses, have had {factors.epochs:g} epochs to "
            "leave where they start, at 1; the paper trained for 164."
        )
    if any(row.get("depth") and "train_error" not in row for row in rows):
        found.append("Networks that came trained are single ones: no test over seeds is possible.")
    failed = sum(row["status"] != DONE for row in rows)
    if failed:
        found.append(f"{failed} networks diverged or ran out of memory and are left out.")
    return tuple(found)


def draw(factors: Factors, rows: Sequence[Row], theme: str) -> Any:
    named = [{**row, "name": row["network"].removesuffix("-cifar")} for row in rows]
    return plots.responses(named, theme)


STUDY = Study(
    question="Are the responses of residual networks smaller than of plain ones, and with depth?",
    source="He et al. 2016a, section 4.2 and figure 7",
    takes=("networks", *TRAINING),
    scale=scale,
    cells=cells,
    measure=measure,
    conclude=conclude,
    figures={
        "responses": Picture(
            draw,
            "Standard deviation of the output of each 3x3 convolution after its norm and before "
            "the ReLU or the addition, on test images; mean over seeds.",
        ),
    },
    columns=(
        "network", "kind", "depth", "seed", "status", "mean_response", "median_response",
        "train_error", "test_error",
    ),
)  # fmt: skip
