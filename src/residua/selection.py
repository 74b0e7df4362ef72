"""What is fitted on the validation images of runs, so that their test images only confirm it.

shares       of networks in an ensemble: the mixture that makes the labels likeliest
temperature  that sets scores right
threshold    from which answers are given, so many of them right
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.optimize import LinearConstraint, minimize

from residua import labels, settings
from residua.abstention import Threshold, fit_threshold, withhold
from residua.calibration import calibration
from residua.datasets.dataset import Dataset
from residua.errors import Refused
from residua.evaluate import Evaluation
from residua.prepare import selection_split
from residua.runs import RunDirectory
from residua.temperature import Temperature, fit_temperature, loss, tempered
from residua.words import harmless

Vector = np.ndarray[tuple[int], np.dtype[np.float64]]

UNLIKELY = 1e-6  # a lower score of the true class costs a mixture no more
DOUBTED = 100  # labels that are named, the most doubtful first


def with_validation(runs: Sequence[RunDirectory], dataset: Dataset) -> Dataset:
    """The data of runs with the images that all of them selected by as its validation split.

    Raises:
        Refused: a run was trained on other data, by no such images, or by others than the first.
    """
    found = [own_validation(run, dataset) for run in runs]
    first = held(found[0])
    for run, other in zip(runs, found, strict=True):
        if held(other) != first:
            raise Refused(
                f"{name(runs[0])} and {name(run)} did not select by the same images",
                where="what one held out for validation the other learned from",
                fix="train them with the same --seed and --validation",
            )
    return found[0]


def own_validation(run: RunDirectory, dataset: Dataset) -> Dataset:
    """`with_validation` of one run."""
    if run.info()["data"]["fingerprint"] != dataset.fingerprint:
        raise Refused(
            f"{name(run)} was not trained on this data: it has no validation images in it",
            where=dataset.source,
            fix="leave the data out",
        )
    recipe_name, stored = settings.read_config(run.path / "recipe.json")
    recipe, _ = settings.resolve(recipe_name or "auto", [("recipe.json", stored)])
    train, validation = selection_split(dataset, recipe)
    if validation is None:
        raise Refused(
            f"{name(run)} held no images out for validation",
            where=str(run.path / "recipe.json"),
            fix="train with --validation 0.1",
        )
    return replace(dataset, splits={**dataset.splits, "train": train, "validation": validation})


def held(dataset: Dataset) -> list[str]:
    """The names of the validation images."""
    split = dataset.splits["validation"]
    return [split.name(index) for index in range(len(split))]


def name(run: RunDirectory) -> str:
    return harmless(run.path.name)


def fit_shares(members: Sequence[Evaluation]) -> tuple[float, ...]:
    """The share of each network in the mean of scores with the least negative log-likelihood.

    The loss is convex in the shares, which are at least 0 and add up to 1.
    """
    rows = np.arange(members[0].total)
    columns = [each.scores[rows, each.labels].astype(np.float64) for each in members]
    true = np.maximum(np.stack(columns, 1), UNLIKELY)[members[0].readable]  # (n, networks)

    def cost(shares: Vector) -> float:
        return float(-np.log(true @ shares).mean())

    def slope(shares: Vector) -> Vector:
        gradient: Vector = -(true / (true @ shares)[:, None]).mean(0)
        return gradient

    count = len(members)
    found = minimize(
        cost,
        np.full(count, 1 / count),
        jac=slope,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * count,
        constraints=LinearConstraint(np.ones(count), 1, 1),
    )
    shares = np.clip(found.x, 0, 1)
    return tuple(float(share) for share in shares / shares.sum())


def threshold(validation: Evaluation, right: float) -> Threshold:
    """The score from which so many answers are right.

    Raises:
        Refused: the validation images cannot promise it; what they can is said.
    """
    some = validation.readable
    return fit_threshold(validation.confidence[some], validation.right[some], right)


def withheld(found: Threshold, tested: Evaluation) -> dict[str, Any]:
    """What a threshold does on the test images."""
    some = tested.readable
    result = withhold(found, tested.confidence[some], tested.right[some])
    return result.to_dict() | {"verdict": str(result)}


def temperature(validation: Evaluation) -> Temperature:
    some = validation.readable
    return fit_temperature(validation.scores[some], validation.labels[some])


def cooled(found: Temperature, tested: Evaluation) -> dict[str, Any]:
    """What a temperature does to the scores of the test images."""
    some = tested.readable
    scores, kinds, right = tested.scores[some], tested.labels[some], tested.right[some]
    after = tempered(scores, found.value)
    return {
        "temperature": found.value,
        "fitted": found.fitted,
        "images": found.images,
        "test_loss": [loss(scores, kinds), loss(after, kinds)],
        "test_calibration_error": [
            calibration(scores.max(1), right).error,
            calibration(after.max(1), right).error,
        ],
        "verdict": str(found),
    }


def doubted(tested: Evaluation) -> dict[str, Any]:
    """The labels that may be wrong, of images that the network has not learned from."""
    some = np.flatnonzero(tested.readable)
    found = labels.suspects(tested.scores[some], tested.labels[some])
    names = [tested.names[index] for index in some]
    return {
        "doubted": len(found.suspects),
        "estimated": found.estimated,
        "total": found.images,
        "suspects": labels.named(found, names, tested.classes)[:DOUBTED],
        "verdict": str(found),
    }
