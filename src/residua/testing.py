"""Networks tested on data: one or several, their classes matched by name, every image once."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from residua.checkpoints import Weights
from residua.datasets.dataset import Dataset, Pixels, Split, together
from residua.datasets.duplicates import leaked
from residua.engines import PLAIN, Choice
from residua.errors import Refused
from residua.evaluate import Evaluation
from residua.execution import Execution
from residua.predictor import SINGLE, Predictor
from residua.protocols import Protocol, scales_of
from residua.resources import cores
from residua.scoring import score
from residua.words import listed

VIEW_BYTES = 40_000_000  # of the pictures that are prepared at a time
SAMPLES = 300  # pictures from which int8 takes the ranges of its numbers


class Asking(NamedTuple):
    """How networks are asked.

    Only `protocol`, `shares`, `skip_unreadable` and the precision of `choice` change a number.
    """

    protocol: Protocol = SINGLE
    shares: tuple[float, ...] = ()  # of each network in an ensemble; equal where none are given
    skip_unreadable: bool = False  # leave images out that cannot be read, else they are wrong
    workers: int = 0
    batch: int | None = None  # images at a time
    choice: Choice = PLAIN  # of the engine


PLAINLY = Asking()


def evaluate(
    members: Sequence[Weights],
    dataset: Dataset,
    split: str,
    run_on: Execution,
    asking: Asking = PLAINLY,
) -> tuple[Evaluation, list[Evaluation]]:
    """Ask networks about every image of a split, or of all splits: "all".

    Returns what they say together, the mean of their scores, and what each says alone. Each sees
    pictures as its own preprocessing shows them.

    Raises:
        Refused: the data set has no such split, or classes that the networks do not know; or the
            networks tell different classes, or have impossible shares.
    """
    first = members[0].classes
    orders = [order_of(each.classes, first, each.network) for each in members]
    images = matched(dataset, split, first)
    shares = normalized(asking.shares, len(members))
    choice = asking.choice._replace(images=len(images))
    calibration = samples(dataset, images) if choice.precision == "int8" else []
    asked = [Predictor(each, run_on, asking.protocol, choice, calibration) for each in members]
    dense = [each.preprocessing for each in asked if asking.protocol.dense]
    scales = {scale for look in dense for scale in scales_of(asking.protocol, look)}
    began = time.monotonic()
    found = score(asked, images, asking.batch or at_a_time(asked), asking.workers)
    seconds = time.monotonic() - began
    scores = [each[:, order] for each, order in zip(found.members, orders, strict=True)]
    total = sum(share * each.astype(np.float64) for share, each in zip(shares, scores, strict=True))

    def evaluation(scores: NDArray[np.float32], weights: tuple[str, ...]) -> Evaluation:
        whole = Evaluation(
            protocol=asking.protocol,
            split=split,
            classes=first,
            names=tuple(images.name(index) for index in range(len(images))),
            labels=images.labels.numpy(),
            scores=scores,
            readable=found.readable,
            data=dataset.fingerprint,
            weights=weights,
            seconds=seconds,
            scales=tuple(sorted(scales)),
            notes=tuple(dict.fromkeys(note for each in asked for note in each.notes)),
        )
        bad = np.flatnonzero(~found.readable)
        if not asking.skip_unreadable or not len(bad):
            return whole
        return replace(whole.without(bad), skipped=tuple(whole.names[index] for index in bad))

    alone = [
        evaluation(each, (weights.sha256,)) for each, weights in zip(scores, members, strict=True)
    ]
    if len(members) == 1:
        return alone[0], alone
    joint = evaluation(np.asarray(total, np.float32), tuple(weights.sha256 for weights in members))
    return joint, alone


def samples(dataset: Dataset, images: Split) -> list[Pixels]:
    """Pictures from all over the training split, or from what is evaluated where there is none."""
    split = dataset.splits.get("train", images)
    places = range(0, len(split), max(1, len(split) // SAMPLES))
    return [split.pixels(place) for place in places[:SAMPLES]]


def order_of(classes: tuple[str, ...], first: tuple[str, ...], network: str) -> list[int]:
    """Where each class of the first network is among another's.

    Raises:
        Refused: they tell different classes.
    """
    if set(classes) != set(first):
        odd = sorted(set(first) ^ set(classes))[0]
        whose = "only the first network knows" if odd in first else f"only {network} knows"
        raise Refused(
            f"networks that tell different classes cannot answer together: {whose} {odd}",
            where=f"{listed(first)}; {listed(classes)}",
        )
    return [classes.index(name) for name in first]


def normalized(shares: Sequence[float], networks: int) -> NDArray[np.float64]:
    """The share of each network, in all 1; equal where none are given.

    Raises:
        Refused: they are not one for each network, or not all from 0 on, or all 0.
    """
    given = np.array(shares or [1.0] * networks, np.float64)
    if len(given) != networks or not (given.min() >= 0 and 0 < given.sum() < np.inf):
        raise Refused(
            "an ensemble takes a share of 0 or more for each network, and not 0 for all",
            where=f"received {listed([f'{share:g}' for share in shares])} for {networks} networks",
        )
    return given / given.sum()


def at_a_time(members: Sequence[Predictor]) -> int:
    """Pictures at a time, so that their views stay within VIEW_BYTES."""
    some = 0
    for member in members:
        side = member.preprocessing.size
        picture = np.zeros((side, 2 * side, 3), np.uint8)  # longer than most
        some += sum(view.nbytes for view in member.views(picture))
    return max(1, min(500, VIEW_BYTES // some))


def usual_split(dataset: Dataset, own: bool) -> str:
    """The split to evaluate on: all images of other data that has no test split of its own."""
    return "test" if own or dataset.divided else "all"


def matched(dataset: Dataset, role: str, classes: tuple[str, ...]) -> Split:
    """A split with its labels numbered as the network numbers its classes, matched by name.

    Names that differ in case alone match where only one does.

    Raises:
        Refused: there is no such split, or a class has no name that the network knows.
    """
    if role not in (*dataset.splits, "all"):
        have = ", ".join(dataset.splits)
        raise Refused(f"the data has no {role} split", where=dataset.source, fix=f"it has {have}")
    split = together(tuple(dataset.splits.values())) if role == "all" else dataset.splits[role]
    places = [place_of(name, classes) for name in dataset.classes]
    strangers = [
        name
        for name, place in zip(dataset.classes, places, strict=True)
        if place is None or (places.count(place) > 1 and name != classes[place])
    ]
    if strangers:
        raise Refused(
            f"the network does not know {len(strangers)} of the classes: {listed(strangers)}",
            where=f"{dataset.source} has {listed(dataset.classes)}",
            fix=f"it knows {listed(classes)}",
        )
    return replace(split, labels=torch.tensor(places)[split.labels])


def place_of(name: str, classes: tuple[str, ...]) -> int | None:
    """The number of a class by its name, if need be in another case."""
    if name in classes:
        return classes.index(name)
    like = [place for place, known in enumerate(classes) if known.lower() == name.lower()]
    return like[0] if len(like) == 1 else None


def leaks(tested: Evaluation, dataset: Dataset) -> dict[str, Any]:
    """Which test images have an exact or near copy among the training images; both errors.

    Empty where none has.
    """
    if not {"train", "test"} <= dataset.splits.keys():
        return {}
    test = dataset.splits["test"]
    found = leaked(dataset.splits["train"], test, cores())
    kinds = {test.name(leak.test): leak.kind for leak in found}
    places = [place for place, name in enumerate(tested.names) if name in kinds]
    if not places:
        return {}
    clean = tested.without(np.array(places))
    exact = sum(kinds[tested.names[place]] == "exact" for place in places)
    return {
        "leaked": {
            "exact": exact,
            "near": len(places) - exact,
            "images": [tested.names[place] for place in places],
            "without": {
                "wrong": clean.wrong,
                "total": clean.total,
                "error": clean.error if clean.total else None,
                "interval": list(clean.interval) if clean.total else None,
            },
        }
    }
