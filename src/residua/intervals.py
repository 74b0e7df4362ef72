"""How far a share counted on some images may be from that of all such images.

    wilson   the error of one network             Wilson 1927
    paired   the difference of two, on one set    Efron 1979, over the images
    least    what a share is, almost certainly    Clopper and Pearson 1934, one-sided

A 95 % interval is a rule that holds the truth in 95 of 100 uses; benchmarks/intervals.py counts.
"""

from functools import lru_cache
from math import ceil, sqrt

import numpy as np
from scipy.stats import binomtest, norm

Interval = tuple[float, float]

DRAWS = 10_000  # resampled sets of images: the ends are then known to a fiftieth of the width
ADDED = 0.5  # images, to each kind of disagreement


def wilson(count: int, total: int) -> Interval:
    """The 95 % interval of a share of `count` in `total` (Wilson 1927)."""
    interval = binomtest(count, total).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def least(count: int, total: int, certainty: float) -> float:
    """What a share of `count` in `total` is at least, with this certainty (exact)."""
    bound = binomtest(count, total, alternative="greater").proportion_ci(certainty, method="exact")
    return float(bound.low)


@lru_cache(maxsize=4096)
def paired(first: int, second: int, total: int, seed: int = 0) -> Interval:
    """The 95 % interval of the difference of two errors on the same `total` images.

    `first` images are wrong for the first network only and `second` for the second only: their
    difference, first minus second, over `total`. A bootstrap over images draws all of them anew
    many times. Only these two counts then vary the difference, so they are drawn themselves. Half
    an image is added to each, as Agresti and Min 2005 do in their interval: without it, networks
    that never disagree would be equal for certain, and few disagreements make it far too short.
    """
    more = total + 2 * ADDED
    shares = np.array([first + ADDED, second + ADDED, more - first - second - 2 * ADDED]) / more
    drawn = np.random.default_rng(seed).multinomial(total, shares, size=DRAWS)
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / total, (0.025, 0.975))
    measured = (first - second) / total  # half an image must not leave it outside
    return min(float(low), measured), max(float(high), measured)


def images_needed(first: int, second: int, total: int, power: float = 0.8) -> int | None:
    """How many images would show a difference of this size, four times in five (Connor 1987).

    Arguments are those of `paired`. None where there is no difference to show.
    """
    apart, difference = (first + second) / total, abs(first - second) / total
    if not difference:
        return None
    sure, likely = float(norm.ppf(0.975)), float(norm.ppf(power))
    spread = sure * sqrt(apart) + likely * sqrt(apart - difference**2)
    return ceil((spread / difference) ** 2 + 1 / difference)  # whole counts cost some
