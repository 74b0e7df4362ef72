"""Do intervals hold the truth and tests see no difference between equals, as often as they say?

python benchmarks/intervals.py --draws 10000

Every case draws many test sets of which the truth is known. Where a probability can be summed over
all that may happen, that is given too, as "exact".
"""

import argparse
from bisect import bisect_left
from collections.abc import Callable
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import record
from scipy.stats import binom

from residua.abstention import fit_threshold
from residua.calibration import by_chance, calibration
from residua.comparisons import LEVEL, holm, mcnemar
from residua.errors import Refused
from residua.intervals import images_needed, paired, wilson

DICE = 20260101  # the seed
ERRORS = (  # images and error
    *((10_000, 0.0827), (10_000, 0.0643), (50_000, 0.24), (5000, 0.02), (3669, 0.10)),
    *((1000, 0.08), (360, 0.03), (200, 0.05), (100, 0.10), (360, 0.003)),
)
PAIRS = (  # images, share wrong for the first only and for the second only
    *((10_000, 0.03, 0.03), (10_000, 0.04, 0.03), (10_000, 0.001, 0.001)),
    *((1000, 0.03, 0.03), (1000, 0.05, 0.02), (1000, 0.005, 0.005)),
    *((360, 0.02, 0.02), (360, 0.03, 0.01), (360, 0.006, 0.003), (200, 0.02, 0.0)),
)
quick_wilson, quick_mcnemar = cache(wilson), cache(mcnemar)


def dice() -> np.random.Generator:
    return np.random.default_rng(DICE)


def share(flags: Any) -> float:
    return round(float(np.mean(flags)), 4)


def errors(draws: int) -> list[dict[str, Any]]:
    """How often Wilson's interval holds the true error."""
    rows = []
    for total, error in ERRORS:

        def holds(count: int, total: int = total, error: float = error) -> bool:
            low, high = quick_wilson(count, total)
            return low <= error <= high

        drawn = [holds(int(count)) for count in dice().binomial(total, error, size=draws)]
        low, high = binom.interval(1 - 1e-9, total, error)
        likely = np.arange(low, high + 1)
        exact = float(binom.pmf(likely, total, error) @ [holds(int(count)) for count in likely])
        row = {"images": total, "error": error, "held": share(drawn), "exact": round(exact, 4)}
        rows.append(row)
    return rows


def differences(draws: int) -> list[dict[str, Any]]:
    """How often the paired interval holds the true difference, and McNemar's test finds one."""
    rows = []
    for total, first, second in PAIRS:
        cells = dice().multinomial(total, [first, second, 1 - first - second], size=draws)
        truth, slack = first - second, 1e-12
        spans = np.array([paired(int(a), int(b), total) for a, b, _ in cells])
        found = [quick_mcnemar(int(a), int(b)) < LEVEL for a, b, _ in cells]
        held = (spans[:, 0] <= truth + slack) & (truth - slack <= spans[:, 1])
        kind = "false_positives" if first == second else "found"
        rows.append(
            {
                "images": total,
                "only_first_wrong": first,
                "only_second_wrong": second,
                "held": share(held),
                kind: share(found),
            }
        )
    return rows


def mcnemar_sizes() -> dict[str, Any]:
    """The exact false-positive rate for every number of disagreements up to 500."""
    rates = []
    for apart in range(1, 501):
        # p falls with the distance from the middle: find the least count that shows nothing.
        least = bisect_left(
            range(apart // 2 + 1),
            True,
            key=lambda count: quick_mcnemar(count, apart - count) >= LEVEL,
        )
        rates.append(2 * float(binom.cdf(least - 1, apart, 0.5)))
    return {"up_to": 500, "highest": round(max(rates), 5), "mean": round(float(np.mean(rates)), 5)}


def families(draws: int) -> list[dict[str, Any]]:
    """How often any pair of equals among five networks is called different, after Holm."""
    rows = []
    cases = {"five equals": [0.08] * 5, "three equals, two others": [0.08, 0.08, 0.08, 0.06, 0.11]}
    pairs = list(combinations(range(5), 2))
    for name, rates in cases.items():
        chances, wrong_calls, without = dice(), [], []
        equal = [rates[a] == rates[b] for a, b in pairs]
        for _ in range(draws):
            p_values = _pairs(chances, np.array(rates), pairs)
            wrong_calls.append(
                any(p < LEVEL for p, e in zip(holm(p_values), equal, strict=True) if e)
            )
            without.append(any(p < LEVEL for p, e in zip(p_values, equal, strict=True) if e))
        rows.append({"case": name, "any_false": share(wrong_calls), "unadjusted": share(without)})
    return rows


def _pairs(
    chances: np.random.Generator, rates: NDArray[np.float64], pairs: list[tuple[int, int]]
) -> list[float]:
    """p-values on 1,000 images, a fifth of which make all the errors."""
    wrong = (chances.random((200, len(rates))) < 5 * rates).astype(np.float32)
    only = wrong.T @ (1 - wrong)
    return [quick_mcnemar(int(only[a, b]), int(only[b, a])) for a, b in pairs]


def promises(draws: int) -> list[dict[str, Any]]:
    """How often a threshold that promises an accuracy, 95 % sure, gives less on new images."""
    # Score 1 - u^3 / 2 and right so often: the accuracy above a score is known.
    rows = []
    for images, wanted in ((500, 0.95), (2000, 0.97), (5000, 0.98)):
        chances, broken, answered = dice(), [], []
        for _ in range(draws):
            sure = 1 - 0.5 * chances.random(images) ** 3
            right = chances.random(images) < sure
            try:
                score = fit_threshold(sure, right, wanted).score
            except Refused:
                answered.append(0.0)
                broken.append(False)
                continue
            edge = (2 * (1 - score)) ** (1 / 3)  # the largest u that is answered
            answered.append(edge)
            broken.append(1 - edge**3 / 8 < wanted)  # the mean of 1 - u^3 / 2 up to it
        best = min(1.0, (8 * (1 - wanted)) ** (1 / 3))
        rows.append(
            {
                "images": images,
                "wanted": wanted,
                "broken": share(broken),
                "answered": share(answered),
                "could_answer": round(best, 4),
            }
        )
    return rows


def powers(draws: int) -> list[dict[str, Any]]:
    """How often as many images as were said to be needed show the difference."""
    rows = []
    for first, second in ((0.03, 0.02), (0.05, 0.04), (0.012, 0.006)):
        needed = images_needed(round(10_000 * first), round(10_000 * second), 10_000)
        assert needed is not None
        cells = dice().multinomial(needed, [first, second, 1 - first - second], size=draws)
        found = [quick_mcnemar(int(a), int(b)) < LEVEL for a, b, _ in cells]
        rows.append({"only": [first, second], "images": needed, "found": share(found)})
    return rows


def perfect_scores(draws: int) -> dict[str, Any]:
    """How often scores that mean what they say exceed the calibration error by chance."""
    chances, above = dice(), []
    sure = 1 - 0.5 * chances.random(1000) ** 3
    mean, high = by_chance(sure)
    for _ in range(draws):
        above.append(calibration(sure, chances.random(1000) < sure).error > high)
    return {"images": 1000, "by_chance": [round(mean, 4), round(high, 4)], "above": share(above)}


PARTS: dict[str, Callable[[int], Any]] = {
    "wilson": errors,
    "paired": differences,
    "holm": families,
    "threshold": promises,
    "images_needed": powers,
    "calibration_by_chance": perfect_scores,
}


def measure(draws: int) -> dict[str, Any]:
    """Every part, by the same number of draws."""
    measured = {name: part(draws) for name, part in PARTS.items()}
    return {"draws": draws, **measured, "mcnemar_exact_size": mcnemar_sizes()}


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--draws", type=int, default=10_000)
    record("intervals", measure(reader.parse_args().draws))


if __name__ == "__main__":
    main()
