"""Whether scores mean what they say: of the pictures scored 0.9, are nine in ten right?

Expected calibration error of Guo et al. 2017, equation 3 (arXiv:1706.04599): over bins of equal
width, the distance between mean score and share of right answers, weighted by the bin's images.
Distances cannot be below 0, so few images show an error even of perfect scores: `by_chance`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from residua.errors import Refused

BINS = 15  # as in section 4.1 of the paper
DRAWS = 1000  # of answers, for what chance does


class Calibration(NamedTuple):
    """Each bin's mean confidence, accuracy and images, and the error over all."""

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    images: NDArray[np.int64]
    error: float


def calibration(confidence: ArrayLike, correct: ArrayLike, bins: int = BINS) -> Calibration:
    """Compare how sure with how often right, in bins of equal width (Guo et al. 2017, equation 3).

    Both are (n,): scores of the predicted class in 0..1, and whether it was the true one.
    """
    sure, right = np.asarray(confidence, np.float64), np.asarray(correct, np.float64)
    if sure.shape != right.shape or sure.ndim != 1:
        raise Refused(f"confidence {sure.shape} and correct {right.shape} must be one row each")
    sure, right = sure[np.isfinite(sure)], right[np.isfinite(sure)]
    index = _bins(sure, bins)
    count = np.bincount(index, minlength=bins)
    some = np.maximum(count, 1)
    mean_sure = np.bincount(index, sure, minlength=bins) / some
    mean_right = np.bincount(index, right, minlength=bins) / some
    error = float(count @ np.abs(mean_sure - mean_right) / max(count.sum(), 1))
    return Calibration(mean_sure, mean_right, count, error)


def by_chance(confidence: ArrayLike, bins: int = BINS, seed: int = 0) -> tuple[float, float]:
    """The error that scores which mean what they say would show on so many images.

    Returns its mean and the value that it exceeds in 5 of 100 cases, over answers drawn to be right
    as often as the scores say. A measured error below the second is no evidence of bad scores.
    """
    sure = np.asarray(confidence, np.float64)
    sure = np.sort(sure[np.isfinite(sure)])  # what is drawn must not depend on the images' order
    index, dice = _bins(sure, bins), np.random.default_rng(seed)
    total = np.bincount(index, sure, minlength=bins)
    errors = [
        np.abs(total - np.bincount(index, dice.random(len(sure)) < sure, minlength=bins)).sum()
        / max(len(sure), 1)
        for _ in range(DRAWS)
    ]
    return float(np.mean(errors)), float(np.quantile(errors, 0.95))


def _bins(sure: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """The bin of each score; one that lies between two belongs to the lower."""
    return np.clip(np.ceil(sure * bins).astype(np.int64) - 1, 0, bins - 1)
