"""Answers that are withheld: the curve, the threshold and the promise that it makes."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from residua.abstention import Curve, Threshold, curve, fit_threshold, withhold
from residua.errors import Refused
from residua.intervals import wilson

Sure = NDArray[np.float64]
Right = NDArray[np.bool_]
PAIRS = st.lists(st.tuples(st.sampled_from([0.3, 0.5, 0.8, 0.9]), st.booleans()), min_size=1)


def drawn(images: int, seed: int = 0) -> tuple[Sure, Right]:
    """Scores from a half to one, right as often as they say."""
    dice = np.random.default_rng(seed)
    sure = 1 - 0.5 * dice.random(images) ** 3
    return sure, dice.random(images) < sure


def test_a_small_case_by_hand() -> None:
    found = curve([0.9, 0.8, 0.8, 0.6], [True, False, True, False])
    assert found.threshold.tolist() == [0.9, 0.8, 0.6]
    assert found.coverage.tolist() == [0.25, 0.75, 1.0]
    assert found.accuracy.tolist() == pytest.approx([1, 2 / 3, 1 / 2])
    assert found.area == pytest.approx((0 + 1 / 3 + 1 / 3 + 1 / 2) / 4)


@given(PAIRS, st.integers(0, 1000))
def test_all_answered_is_plain_accuracy_in_any_order(
    pairs: list[tuple[float, bool]], seed: int
) -> None:
    sure, right = map(np.array, zip(*pairs, strict=True))
    found = curve(sure, right)
    assert (found.coverage[-1], found.accuracy[-1]) == (1, right.mean())
    assert (np.diff(found.coverage) > 0).all() and (np.diff(found.threshold) < 0).all()
    order = np.random.default_rng(seed).permutation(len(sure))
    other = curve(sure[order], right[order])
    assert all((one == two).all() for one, two in zip(found[:4], other[:4], strict=True))
    assert other.area == found.area


@given(PAIRS)
def test_each_point_is_a_count(pairs: list[tuple[float, bool]]) -> None:
    sure, right = map(np.array, zip(*pairs, strict=True))
    for score, share, good, answered in zip(*curve(sure, right)[:4], strict=True):
        given_ = sure >= score
        assert (answered, good) == (given_.sum(), right[given_].sum())
        assert share == given_.mean()


def test_the_area_tells_good_scores_from_none() -> None:
    sure, right = drawn(5000)
    shuffled = np.random.default_rng(1).permutation(sure)
    error = 1 - right.mean()
    assert curve(sure, right).area < 0.6 * error
    assert curve(shuffled, right).area == pytest.approx(error, rel=0.15)
    assert curve(np.ones(5000), right).area == pytest.approx(error)
    assert curve(right.astype(float), right).area < 0.2 * error  # the wrong ones come last


def test_a_threshold_keeps_its_promise() -> None:
    """Fitted on 2,000 images at 95 % certainty, it is broken in 5 of 100 cases at most."""
    sure, right = drawn(200_000, seed=9)
    broken = []
    for seed in range(100):
        wanted = fit_threshold(*drawn(2000, seed), 0.97)
        broken.append(right[sure >= wanted.score].mean() < 0.97)
    assert np.mean(broken) <= 0.05


def test_a_threshold_is_fitted_on_one_split_and_confirmed_on_the_other() -> None:
    wanted = fit_threshold(*drawn(5000, 1), 0.97)
    assert 0.85 < wanted.score < 1 and wanted.right / wanted.answered > 0.97
    sure, right = drawn(5000, 2)
    found = withhold(wanted, sure, right)
    assert found.answered == (sure >= wanted.score).sum()
    assert found.interval == wilson(found.right, found.answered)
    assert found.state == "kept"
    text = str(found)
    assert "chosen on 5,000 validation images for 97 % right" in text
    assert "on the test images" in text and text.endswith("as promised")
    table = json.loads(json.dumps(found.to_dict()))
    assert table["coverage"] == pytest.approx(found.answered / 5000)


def test_a_broken_promise_is_named() -> None:
    wanted = Threshold(0.9, 0.97, 0.95, 900, 890, 1000)
    sure = np.full(1000, 0.95)
    for wrong, state in ((200, "broken"), (32, "open"), (10, "kept")):
        assert withhold(wanted, sure, np.arange(1000) >= wrong).state == state
    assert "differ from the validation" in str(withhold(wanted, sure, np.zeros(1000, bool)))
    nothing = withhold(wanted, [0.2, 0.3], [True, True])
    assert (nothing.coverage, nothing.accuracy, nothing.interval) == (0, None, None)
    assert nothing.state == "open" and "none of 2 test images" in str(nothing)


def test_too_few_images_promise_nothing_and_say_so() -> None:
    with pytest.raises(Refused, match=r"200 validation images promise 98\.5 % of the surest 200"):
        fit_threshold(np.linspace(0.5, 1, 200), np.ones(200, bool), 0.99)
    everything = fit_threshold(np.linspace(0.5, 1, 1000), np.ones(1000, bool), 0.99)
    assert (everything.score, everything.answered) == (0.5, 1000)


def test_equal_scores_are_answered_together() -> None:
    wanted = fit_threshold([0.9] * 500 + [0.6] * 500, [True] * 500 + [False] * 500, 0.9)
    assert (wanted.score, wanted.answered, wanted.right) == (0.9, 500, 500)


def test_what_does_not_fit_is_refused() -> None:
    for sure, right in (([0.5], [True, False]), ([], []), ([float("nan")], [True])):
        with pytest.raises(Refused):
            curve(sure, right)
    for accuracy in (0.0, 1.0, 99.0):
        with pytest.raises(Refused, match="shares between 0 and 1"):
            fit_threshold([0.5], [True], accuracy)
    assert Curve._fields[:2] == ("threshold", "coverage")
