"""Reliability with and without a temperature, and the accuracy of the answers that are given."""

import numpy as np
import pytest
from figures import texts

from residua import plots
from residua.errors import Refused
from residua.theme import INKS

THEMES = tuple(INKS)


def test_reliability_names_its_error() -> None:
    written = texts(plots.reliability([0.9] * 10, [True] * 5 + [False] * 5))
    assert "calibration error 40.0 %" in written and "temperature" not in written
    assert "score of the predicted class" in texts(plots.reliability([], [], "dark"))


@pytest.mark.parametrize("theme", THEMES)
def test_reliability_shows_both_sides_of_a_temperature(theme: str) -> None:
    right = [True] * 5 + [False] * 5
    figure = plots.reliability([0.9] * 10, right, theme, tempered=[0.6] * 10)
    written = texts(figure)
    assert "calibration error 40.0 %" in written
    assert "10.0 % after temperature scaling" in written
    assert INKS[theme].series[1] in plots.render(figure, "svg").decode()


@pytest.mark.parametrize("theme", THEMES)
def test_coverage_ends_at_the_plain_accuracy(theme: str) -> None:
    dice = np.random.default_rng(0)
    sure = dice.random(1000)
    right = dice.random(1000) < sure
    figure = plots.coverage(sure, right, theme, threshold=0.8)
    line = figure.axes[0].get_lines()[0]
    assert np.asarray(line.get_xdata())[-1] == 100
    assert np.asarray(line.get_ydata())[-1] == pytest.approx(100 * right.mean())
    answered = sure >= 0.8
    written = texts(figure)
    assert "from a score of 0.8" in written
    assert f"{100 * answered.mean():.1f} % answered" in written
    assert f"{100 * right[answered].mean():.2f} % of these right" in written


@pytest.mark.parametrize("right", [[True], [False], [True, True, True]])
def test_coverage_of_anything_can_be_drawn(right: list[bool]) -> None:
    written = texts(plots.coverage([0.5] * len(right), right, threshold=0.9))
    assert "no score reaches 0.9" in written and "all answered" in written


def test_coverage_of_nothing_is_refused() -> None:
    with pytest.raises(Refused):
        plots.coverage([], [])
