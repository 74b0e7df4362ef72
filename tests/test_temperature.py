"""Temperature scaling from stored scores: found again, no answer changed, its limits known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax

from residua.calibration import calibration
from residua.errors import Refused
from residua.temperature import LEAST, MOST, Floats, fit_temperature, loss, tempered

Labels = NDArray[np.int64]


def drawn(images: int, heat: float, seed: int = 0, classes: int = 5) -> tuple[Floats, Labels]:
    """Scores whose logits are `heat` times those by which the labels were drawn."""
    dice = np.random.default_rng(seed)
    logits = dice.normal(size=(images, classes)) * 2
    chances = softmax(logits, axis=1)
    labels = (chances.cumsum(1) > dice.random((images, 1))).argmax(1)
    return softmax(heat * logits, axis=1), labels


@pytest.mark.parametrize("heat", [0.4, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(heat: float) -> None:
    scores, labels = drawn(20_000, heat)
    found = fit_temperature(scores.astype(np.float32), labels)
    assert found.fitted and found.images == 20_000
    assert found.value == pytest.approx(heat, rel=0.04)
    fresh, kinds = drawn(20_000, heat, seed=1)
    right = fresh.argmax(1) == kinds
    assert calibration(tempered(fresh, found.value).max(1), right).error < 0.015
    if heat != 1:
        assert calibration(fresh.max(1), right).error > 0.05
    assert ("too sure" in str(found)) == (found.value > 1)


@given(st.integers(0, 10**6), st.floats(LEAST, MOST), st.integers(2, 6))
def test_no_answer_changes(seed: int, temperature: float, classes: int) -> None:
    scores, _ = drawn(30, 1.0, seed, classes)
    after = tempered(scores, temperature)
    assert after.sum(1) == pytest.approx(1)
    # A tie that rounding makes is not a change.
    top = np.take_along_axis(after, scores.argmax(1)[:, None], 1)[:, 0]
    assert (top >= after.max(1) * (1 - 1e-12)).all()


@given(st.integers(0, 10**6))
def test_the_fit_is_the_least_loss(seed: int) -> None:
    scores, labels = drawn(200, 1.7, seed)
    found = fit_temperature(scores, labels)
    assert found.fitted
    assert found.loss_before == pytest.approx(loss(scores, labels))
    assert found.loss_after == pytest.approx(loss(tempered(scores, found.value), labels), abs=1e-9)
    for other in (0.97, 1.03, 1 / found.value):
        assert found.loss_after <= loss(tempered(scores, other * found.value), labels) + 1e-9
    order = np.random.default_rng(seed).permutation(200)
    assert fit_temperature(scores[order], labels[order]).value == pytest.approx(found.value)


def test_one_is_the_identity_and_zero_scores_stay_small() -> None:
    scores, _ = drawn(50, 1.0)
    assert tempered(scores, 1.0) == pytest.approx(scores)
    assert tempered([[1.0, 0.0]], 1.0)[0] == pytest.approx([1, 0])
    assert np.isfinite(loss([[1.0, 0.0]], [1]))


@pytest.mark.parametrize(
    ("scores", "labels"),
    [
        ([[0.9, 0.1], [0.2, 0.8]], [0, 1]),  # all right: the surer the better
        ([[0.9, 0.1], [0.2, 0.8]], [1, 0]),  # all wrong: the less sure the better
        ([[1.0], [1.0]], [0, 0]),  # one class
        ([[0.5, 0.5], [0.5, 0.5]], [0, 1]),  # scores that say nothing
        (np.zeros((0, 3)), []),
    ],
)
def test_where_nothing_can_be_learned_scores_stay(scores: object, labels: list[int]) -> None:
    found = fit_temperature(np.asarray(scores), labels)
    assert (found.value, found.fitted) == (1.0, False)
    assert found.loss_after == found.loss_before
    assert "no temperature can be fitted" in str(found)


def test_what_does_not_fit_is_refused() -> None:
    for scores, labels, message in (
        ([[0.5, 0.5]], [0, 1], "do not fit"),
        ([0.5, 0.5], [0], "do not fit"),
        ([[0.5, float("nan")]], [0], "finite"),
        ([[-3.0, 2.0]], [0], "from 0 to 1"),
        ([[0.5, 0.5]], [2], "none of the 2 classes"),
    ):
        with pytest.raises(Refused, match=message):
            fit_temperature(scores, labels)
    with pytest.raises(Refused, match="above 0"):
        tempered([[0.5, 0.5]], 0)
