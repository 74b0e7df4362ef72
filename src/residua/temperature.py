"""Scores that are too sure, or not sure enough, set right by one number fitted on validation.

Temperature scaling (Guo et al. 2017, section 4.2, arXiv:1706.04599) divides the logits by T, chosen
for the least negative log-likelihood. The order of a picture's classes stays as it is, so no
answer changes. Scores determine logits up to a constant, their logarithm: stored scores suffice.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax

from residua.errors import Refused

Floats = NDArray[np.float64]

LEAST, MOST = 0.05, 20.0  # a temperature beyond tells of too few images, not of a network
TINY = float(np.finfo(np.float32).tiny)  # a stored score of 0 was at most this


class Temperature(NamedTuple):
    """The temperature and what it does to the loss of the images that it was fitted on."""

    value: float  # 1 where none could be fitted
    loss_before: float
    loss_after: float
    images: int
    fitted: bool

    def __str__(self) -> str:
        if not self.fitted:
            return (
                f"no temperature can be fitted: {self.images:,} validation images hold too few "
                "errors, or too few right answers"
            )
        kind = "too sure" if self.value > 1 else "not sure enough"
        state = f"scores were {kind}" if abs(self.value - 1) >= 0.005 else "scores were about right"
        return (
            f"temperature {self.value:.2f}, fitted on {self.images:,} validation images: {state}; "
            f"loss {self.loss_before:.4f} before, {self.loss_after:.4f} after"
        )


def fit_temperature(scores: ArrayLike, labels: ArrayLike) -> Temperature:
    """Fit the temperature on validation scores (n, classes) and labels (n).

    With x = 1 / T the loss is convex in x and its derivative has one zero at most, which Brent's
    method finds between the limits. Where it lies outside (all answers right: the surer the
    better) nothing was learned and the temperature is 1.

    Raises:
        Refused: scores and labels do not fit together.
    """
    logits, kinds = _checked(scores, labels)
    rows = np.arange(len(kinds))

    def slope(inverse: float) -> float:
        weights = softmax(inverse * logits, axis=1)
        return float(((weights * logits).sum(1) - logits[rows, kinds]).mean())

    low, high = 1 / MOST, 1 / LEAST
    fitted = bool(len(kinds)) and slope(low) < 0 < slope(high)
    inverse = float(brentq(slope, low, high, xtol=1e-10)) if fitted else 1.0
    return Temperature(
        value=1 / inverse,
        loss_before=_loss(logits, kinds),
        loss_after=_loss(inverse * logits, kinds),
        images=len(kinds),
        fitted=fitted,
    )


def tempered(scores: ArrayLike, temperature: float) -> Floats:
    """The scores (n, classes) that a network gives whose logits are divided by a temperature."""
    if not temperature > 0:
        raise Refused("a temperature is above 0", f"received {temperature:g}")
    return softmax(_logits(np.asarray(scores, np.float64)) / temperature, axis=1)


def loss(scores: ArrayLike, labels: ArrayLike) -> float:
    """The mean negative logarithm of the true class's score.

    Raises:
        Refused: scores and labels do not fit together.
    """
    return _loss(*_checked(scores, labels))


def _checked(scores: ArrayLike, labels: ArrayLike) -> tuple[Floats, NDArray[np.int64]]:
    table, kinds = np.asarray(scores, np.float64), np.asarray(labels, np.int64)
    if table.ndim != 2 or kinds.shape != table.shape[:1]:
        raise Refused(f"scores {table.shape} and labels {kinds.shape} do not fit together")
    if not (np.isfinite(table).all() and (table >= 0).all()):
        raise Refused("scores are finite numbers from 0 to 1")
    if len(kinds) and not 0 <= kinds.min() <= kinds.max() < table.shape[1]:
        raise Refused(f"a label is none of the {table.shape[1]} classes of the scores")
    return _logits(table), kinds


def _logits(scores: Floats) -> Floats:
    return np.log(np.maximum(scores, TINY))


def _loss(logits: Floats, kinds: NDArray[np.int64]) -> float:
    if not len(kinds):
        return 0.0
    return float(-log_softmax(logits, axis=1)[np.arange(len(kinds)), kinds].mean())
