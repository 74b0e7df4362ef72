"""Answers that are withheld: those less sure than a threshold, for a person to decide.

The fewer pictures a network answers, the more of its answers are right, if its scores mean
anything. A threshold is fitted on the validation split and confirmed on the test split; chosen
and judged on the same pictures it would look better than it is.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

from residua.errors import Refused
from residua.intervals import Interval, least, wilson
from residua.words import interval, percent

Floats = NDArray[np.float64]

STEPS = 50  # shares of the validation pictures that may be answered: 2 %, 4 %, ... 100 %


class Curve(NamedTuple):
    """Accuracy against coverage, one point for each distinct score, the surest first."""

    threshold: Floats  # (k)
    coverage: Floats  # (k) the share answered: those that score at least the threshold
    right: NDArray[np.int64]  # (k) answers that are right
    answered: NDArray[np.int64]  # (k)
    area: float

    @property
    def accuracy(self) -> Floats:
        return self.right / self.answered


def curve(confidence: ArrayLike, correct: ArrayLike) -> Curve:
    """Coverage and accuracy at every threshold.

    Both are (n,): scores of the predicted class, and whether it was the true one. `area` is the
    mean error over all coverages (Geifman and others 2019, arXiv:1805.08206): each picture counts
    with the error of those that score no less than it. Scores that say nothing give the plain
    error; the lower the better.

    Raises:
        Refused: they do not fit together, or there are none.
    """
    sure, correct = _checked(confidence, correct)
    thresholds, group = np.unique(-sure, return_inverse=True)
    size = np.bincount(group)
    answered, right = np.cumsum(size), np.cumsum(np.bincount(group, correct)).astype(np.int64)
    area = float(size @ (1 - right / answered) / len(sure))
    return Curve(-thresholds, answered / len(sure), right, answered, area)


class Threshold(NamedTuple):
    """A score from which answers are given, and what the validation split promises of them."""

    score: float
    accuracy: float  # wanted, and promised
    certainty: float  # of the promise
    answered: int  # validation pictures
    right: int
    images: int


def fit_threshold(
    confidence: ArrayLike, correct: ArrayLike, accuracy: float, certainty: float = 0.95
) -> Threshold:
    """The threshold that answers most pictures with a wanted accuracy, fitted on validation.

    The best of many thresholds is best by luck too. Tests in an order that was fixed before looking
    need no adjustment, if the first that fails ends them (Angelopoulos and others 2021,
    arXiv:2110.01052): so STEPS shares of the pictures are tested, the surest first. With
    `certainty`, the accuracy holds for new pictures from the same source.

    Raises:
        Refused: no threshold can promise so much; what can be promised is said.
    """
    if not (0 < accuracy < 1 and 0 < certainty < 1):
        raise Refused(
            "accuracy and certainty are shares between 0 and 1",
            f"received {accuracy:g} and {certainty:g}",
        )
    found = curve(confidence, correct)
    n = int(found.answered[-1])
    shares = np.arange(1, STEPS + 1) / STEPS
    places = np.unique(np.searchsorted(found.answered, n * shares - 1e-9))  # with all their equals
    places = places[_begin(found.answered[places], accuracy, certainty) :]
    answered, right = found.answered[places], found.right[places]
    proven = binom.sf(right - 1, answered, accuracy) <= 1 - certainty
    last = int(np.append(proven, False).argmin()) - 1
    if last < 0:
        most = least(int(right[0]), int(answered[0]), certainty)
        raise Refused(
            f"no threshold can promise that {100 * accuracy:.6g} % of the answers are right",
            f"{n:,} validation images promise {percent(most, 1)} of the surest {answered[0]:,}",
            "ask for less, or give more validation images",
        )
    score = float(found.threshold[places[last]])
    return Threshold(score, accuracy, certainty, int(answered[last]), int(right[last]), n)


def _begin(answered: NDArray[np.int64], accuracy: float, certainty: float) -> int:
    """The first share to test: with half of the errors that are allowed it would be proven.

    Earlier ones could hardly succeed, and would end the tests. The last where none could.
    """
    right = answered - np.floor(answered * (1 - accuracy) / 2)
    enough = np.asarray(binom.sf(right - 1, answered, accuracy) <= 1 - certainty)
    return int(enough.argmax()) if enough.any() else len(answered) - 1


class Withheld(NamedTuple):
    """What a threshold does on pictures that took no part in choosing it."""

    threshold: Threshold
    answered: int
    right: int
    images: int

    @property
    def coverage(self) -> float:
        return self.answered / self.images

    @property
    def accuracy(self) -> float | None:
        """The share of the answers that are right; None where all are withheld."""
        return self.right / self.answered if self.answered else None

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval of the accuracy."""
        return wilson(self.right, self.answered) if self.answered else None

    @property
    def state(self) -> str:
        """Whether the promise is "kept", "broken" or, of so few pictures, "open"."""
        if self.interval is None or self.accuracy is None:
            return "open"
        low, high = self.interval
        if high < self.threshold.accuracy:
            return "broken"
        return "kept" if self.accuracy >= self.threshold.accuracy else "open"

    def __str__(self) -> str:
        wanted = self.threshold
        chosen = (
            f"answers that score {wanted.score:.4g} or more: chosen on {wanted.images:,} "
            f"validation images for {100 * wanted.accuracy:.6g} % right"
        )
        if self.interval is None:
            return f"{chosen}; none of {self.images:,} test images scores so much"
        span = interval(*self.interval, self.answered)
        return (
            f"{chosen}; on the test images {self.answered:,} of {self.images:,} are answered "
            f"({percent(self.coverage, 1)}) and {percent(self.right / self.answered)} of these "
            f"right (95 % interval {span}): {STATES[self.state]}"
        )

    def to_dict(self) -> dict[str, float | int | str | list[float] | None]:
        """Every number, for JSON."""
        return {
            "threshold": self.threshold.score,
            "wanted_accuracy": self.threshold.accuracy,
            "certainty": self.threshold.certainty,
            "answered": self.answered,
            "right": self.right,
            "total": self.images,
            "coverage": self.coverage,
            "accuracy": self.accuracy,
            "interval": None if self.interval is None else list(self.interval),
            "state": self.state,
        }


STATES = {
    "kept": "as promised",
    "open": "too close to tell",
    "broken": "less than promised: these images differ from the validation images",
}


def withhold(threshold: Threshold, confidence: ArrayLike, correct: ArrayLike) -> Withheld:
    """Apply a threshold to the test split.

    Raises:
        Refused: confidence and correct do not fit together, or there are none.
    """
    sure, right = _checked(confidence, correct)
    given = sure >= threshold.score
    return Withheld(threshold, int(given.sum()), int(right[given].sum()), len(sure))


def _checked(confidence: ArrayLike, correct: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    sure, right = np.asarray(confidence, np.float64), np.asarray(correct, bool)
    if sure.shape != right.shape or sure.ndim != 1:
        raise Refused(f"confidence {sure.shape} and correct {right.shape} must be one row each")
    if not len(sure) or not np.isfinite(sure).all():
        raise Refused("scores must be finite numbers of one image or more")
    return sure, right
