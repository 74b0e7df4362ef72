"""Intervals hold what they promise: counted over many draws, and exactly where one can."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from residua.intervals import images_needed, least, paired, wilson

ROOT = Path(__file__).resolve().parent.parent

Cells = tuple[int, int, int]  # wrong for the first only, for the second only, images


@st.composite
def cells(draw: st.DrawFn) -> Cells:
    total = draw(st.integers(1, 5000))
    first = draw(st.integers(0, total))
    return first, draw(st.integers(0, total - first)), total


def closed_form(count: int, total: int) -> tuple[float, float]:
    """Wilson 1927: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)."""
    z, p = 1.959963984540054, count / total
    middle = p + z * z / (2 * total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    return (middle - half) / (1 + z * z / total), (middle + half) / (1 + z * z / total)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_shares_have_wilsons_interval(counts: tuple[int, int]) -> None:
    assert wilson(*counts) == pytest.approx(closed_form(*counts), abs=1e-9)
    low, high = wilson(*counts)
    assert 0 <= low <= counts[0] / counts[1] <= high <= 1


@pytest.mark.parametrize(("total", "error"), [(10_000, 0.0827), (1000, 0.08), (5000, 0.02)])
def test_wilson_holds_the_truth_in_95_of_100_cases(total: int, error: float) -> None:
    """The probability itself, summed over every count that can occur."""
    counts = np.arange(total + 1)
    chance = binom.pmf(counts, total, error)
    likely = counts[chance > 1e-12]
    spans = [wilson(int(count), total) for count in likely]
    held = [low <= error <= high for low, high in spans]
    assert 0.94 <= chance[likely] @ held <= 0.96


@given(st.integers(0, 50), st.integers(50, 200), st.floats(0.5, 0.999))
def test_least_is_the_exact_one_sided_bound(wrong: int, total: int, certainty: float) -> None:
    right = total - wrong
    bound = least(right, total, certainty)
    expected = beta.ppf(1 - certainty, right, wrong + 1) if right else 0
    assert bound == pytest.approx(expected, abs=1e-7)


def test_no_error_promises_what_the_rule_of_three_says() -> None:
    assert least(300, 300, 0.95) == pytest.approx(1 - 3 / 300, abs=1e-3)


@given(cells())
def test_paired_contains_the_difference_and_is_antisymmetric(counts: Cells) -> None:
    first, second, total = counts
    low, high = paired(first, second, total)
    assert -1 <= low <= (first - second) / total <= high <= 1
    other = paired(second, first, total)
    # Other draws: their quantiles differ by chance, and by one image where these are few.
    slack = 0.1 * (high - low) + 1 / total
    assert other == pytest.approx((-high, -low), abs=slack)


def test_paired_is_near_the_normal_interval_of_many_images() -> None:
    low, high = paired(300, 400, 10_000)
    half = 1.96 * math.sqrt(0.07 - 0.01**2) / 100
    assert (low, high) == pytest.approx((-0.01 - half, -0.01 + half), abs=3e-4)
    assert paired(300, 400, 10_000) == (low, high)  # seeded


def test_networks_that_never_disagree_are_not_equal_for_certain() -> None:
    low, high = paired(0, 0, 200)
    assert low < 0 < high and high - low < 0.04


def test_paired_holds_the_truth() -> None:
    dice, held = np.random.default_rng(0), []
    for chance in ((0.03, 0.03), (0.04, 0.02), (0.01, 0.004)):
        drawn = dice.multinomial(1000, [*chance, 1 - sum(chance)], size=300)
        truth = chance[0] - chance[1]
        spans = [paired(int(a), int(b), 1000) for a, b, _ in drawn]
        held += [low - 1e-12 <= truth <= high + 1e-12 for low, high in spans]
    assert np.mean(held) >= 0.93  # of 900 draws: three deviations below 0.95


def test_the_images_needed_show_the_difference_four_times_in_five() -> None:
    needed = images_needed(30, 20, 1000)
    assert needed is not None
    dice = np.random.default_rng(0)
    drawn = dice.multinomial(needed, [0.03, 0.02, 0.95], size=4000)
    first, second = drawn[:, 0], drawn[:, 1]
    p_values = 2 * binom.cdf(np.minimum(first, second), first + second, 0.5)
    assert np.mean(p_values < 0.05) == pytest.approx(0.8, abs=0.03)


@given(cells())
def test_more_images_are_needed_for_smaller_differences(counts: Cells) -> None:
    first, second, total = counts
    needed = images_needed(first, second, total)
    assert (needed is None) == (first == second)
    assert needed == images_needed(second, first, total)
    if needed is not None and abs(first - second) >= 2:
        smaller = images_needed(max(first, second) - 1, min(first, second) + 1, total)
        assert smaller is None or smaller >= needed


def test_the_simulation_that_is_published_still_says_so() -> None:
    """benchmarks/intervals.py with few draws: bounds are three deviations wide."""
    code = "import json, intervals; print(json.dumps(intervals.measure(100)))"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=ROOT / "benchmarks", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert all(row["held"] >= 0.88 for row in (*found["wilson"], *found["paired"]))
    equals = [row["false_positives"] for row in found["paired"] if "false_positives" in row]
    assert len(equals) == 5 and max(equals) <= 0.12
    assert found["mcnemar_exact_size"]["highest"] <= 0.05
    assert all(row["any_false"] <= 0.12 for row in found["holm"])
    assert all(row["broken"] <= 0.12 for row in found["threshold"])


def test_published_coverage_is_that_of_95_percent_intervals() -> None:
    """95 % intervals hold the truth in 94 to 96 % of 10,000 draws wherever counts are not small."""
    found = json.loads((ROOT / "results" / "intervals.json").read_text())["measured"]
    assert found["draws"] == 10_000
    for row in found["wilson"]:
        small = row["images"] * row["error"] < 50
        assert small or 0.94 <= row["held"] <= 0.96
    assert found["mcnemar_exact_size"]["highest"] <= 0.05
