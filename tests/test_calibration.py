"""How far scores are from how often they are right, and how far perfect ones would be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from residua.calibration import by_chance, calibration
from residua.errors import Refused


def test_calibration_error_of_scores_that_are_known() -> None:
    # 10 answers at 0.9 of which 5 are right, 10 at 0.5 of which 5 are right: 0.5 * 0.4 + 0.5 * 0
    sure = [0.9] * 10 + [0.5] * 10
    right = ([True] * 5 + [False] * 5) * 2
    assert calibration(sure, right).error == pytest.approx(0.2)
    assert calibration([], []).error == 0
    with pytest.raises(Refused, match="one row each"):
        calibration([0.5], [True, False])


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_calibration_keeps_every_image_and_bounds_the_error(
    pairs: list[tuple[float, bool]],
) -> None:
    sure, right = map(np.array, zip(*pairs, strict=True))
    result = calibration(sure, right)
    assert result.images.sum() == len(pairs)
    assert result.images @ result.accuracy == pytest.approx(right.sum())
    # Bins average: the error is at least the overall distance, and at most the mean distance.
    assert result.error >= abs(sure.mean() - right.mean()) - 1e-9
    assert result.error <= np.abs(sure - right).mean() + 1e-9


def test_the_error_by_chance_is_that_of_scores_which_mean_what_they_say() -> None:
    dice = np.random.default_rng(1)
    sure = dice.uniform(0.5, 1, 500)
    mean, high = by_chance(sure)
    errors = [calibration(sure, dice.random(500) < sure).error for _ in range(300)]
    assert mean == pytest.approx(np.mean(errors), rel=0.1)
    assert np.mean(np.array(errors) > high) == pytest.approx(0.05, abs=0.04)
    assert by_chance(sure) == (mean, high)  # seeded


def test_the_error_by_chance_falls_with_more_images() -> None:
    few, many = (by_chance(np.full(n, 0.8))[0] for n in (100, 10_000))
    assert few == pytest.approx(10 * many, rel=0.3)
    assert by_chance(np.ones(50)) == (0, 0)
    assert by_chance([]) == (0, 0)
