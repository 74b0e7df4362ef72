"""What a few repetitions of a training can tell: one value for each seed.

    mean        with its 95 % interval            Student 1908
    paired      differences, seed by seed
    greater     whether they are above zero, by flipping their signs    Fisher 1935
    less        whether they are below

Five seeds are the fewest that can show anything at the 5 % level: 1 of the 2^5 ways to choose
signs is 3.1 %.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from scipy.stats import permutation_test, ttest_1samp

FEWEST = 5  # seeds
ROUNDING = 1e-12  # part of a value: differences of equal errors are not quite equal
MOST = 99_999  # ways to choose signs that are tried, where there are more


class Mean(NamedTuple):
    """A mean over seeds and its 95 % interval, which is infinite for a single seed."""

    mean: float
    low: float
    high: float


def mean(values: Iterable[float]) -> Mean:
    """The mean of values that are independent, such as those of several seeds."""
    known = np.fromiter(values, np.float64)
    if len(known) < 2:
        return Mean(float(known.mean()), -np.inf, np.inf)
    if np.ptp(known) <= ROUNDING * np.abs(known).max():
        return Mean(float(known[0]), float(known[0]), float(known[0]))
    low, high = ttest_1samp(known, 0.0).confidence_interval(0.95)
    return Mean(float(known.mean()), float(low), float(high))


def paired(one: Mapping[int, float], other: Mapping[int, float]) -> dict[int, float]:
    """The differences of the seeds that both have, by seed."""
    return {seed: one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())}


def less(differences: Iterable[float]) -> float:
    """As `greater`, below and above exchanged."""
    return greater(-each for each in differences)


def greater(differences: Iterable[float]) -> float:
    """The p-value of the guess that paired differences are as often above zero as below.

    Exact and one-sided: the share of all ways to choose their signs whose mean is as large.
    """
    known = np.fromiter(differences, np.float64)
    if not len(known) or not known.any():
        return 1.0
    if len(known) == 1:
        return 0.5 if known[0] > 0 else 1.0
    found = permutation_test(
        (known,),
        np.mean,
        permutation_type="samples",
        alternative="greater",
        n_resamples=MOST,
        rng=np.random.default_rng(0),
        vectorized=False,
    )
    return float(found.pvalue)
