"""What a few repetitions of a training can tell: one value for each seed.

    mean        with its 95 % interval            Student 1908
    greater     whether paired values are above zero, by flipping their signs    Fisher 1935

Five seeds are the fewest that can show anything at the 5 % level: 1 of the 2^5 ways to choose
signs is 3.1 %.
"""

from collections.abc import Sequence
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


def mean(values: Sequence[float]) -> Mean:
    """The mean of values that are independent, such as those of several seeds."""
    known = np.asarray(values, np.float64)
    if len(known) < 2:
        return Mean(float(known.mean()), -np.inf, np.inf)
    if np.ptp(known) <= ROUNDING * np.abs(known).max():
        return Mean(float(known[0]), float(known[0]), float(known[0]))
    low, high = ttest_1samp(known, 0.0).confidence_interval(0.95)
    return Mean(float(known.mean()), float(low), float(high))


def greater(differences: Sequence[float]) -> float:
    """The p-value of the guess that paired differences are as often above zero as below.

    Exact and one-sided: the share of all ways to choose their signs whose mean is as large.
    """
    known = np.asarray(differences, np.float64)
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
