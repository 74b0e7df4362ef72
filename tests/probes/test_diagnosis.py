"""What norms say: lines through them, bounds, the layer at fault."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from residua.probes.diagnosis import Traits, diagnose, slope_of, times

SOUND = Traits(saturating=False, normalized=True, shortcuts=True)
BARE = Traits(saturating=True, normalized=False, shortcuts=False)
NORMS = st.lists(st.floats(1e-8, 1e8), min_size=4, max_size=30)


def names(norms: list[float]) -> list[str]:
    return [f"layer{index}" for index in range(len(norms))]


@given(NORMS)
def test_the_slope_is_that_of_least_squares_toward_the_input(norms: list[float]) -> None:
    by_hand = -np.polyfit(np.arange(len(norms)), np.log10(norms), 1)[0]
    assert slope_of(norms) == pytest.approx(by_hand, abs=1e-9)
    assert slope_of(norms[::-1]) == pytest.approx(-by_hand, abs=1e-9)


@given(NORMS, st.floats(1e-3, 1e3))
def test_a_common_factor_changes_no_slope_and_no_ratio(norms: list[float], factor: float) -> None:
    one, two = (diagnose(names(n), n, SOUND) for n in (norms, [factor * n for n in norms]))
    assert one.slope == pytest.approx(two.slope, abs=1e-9)
    assert one.ratio == pytest.approx(two.ratio)


@given(st.floats(0.1, 2), st.integers(25, 60))
def test_a_steady_growth_is_found_either_way(rate: float, layers: int) -> None:
    norms = [10 ** (rate * index) for index in range(layers)]
    down, up = diagnose(names(norms), norms, BARE), diagnose(names(norms), norms[::-1], BARE)
    assert (down.direction, up.direction) == ("vanishing", "exploding")
    assert down.slope == pytest.approx(-rate) and up.slope == pytest.approx(rate)
    # On the way back from the last layer but the classifier, the first a hundredfold away.
    away = layers - 2 - math.ceil(2 / rate)
    for found in (down, up):
        assert abs(int(found.at_fault.removeprefix("layer")) - away) <= 1  # 2 / rate is rounded


def test_the_classifier_does_not_count() -> None:
    norms = [1.0, 1.1, 0.9, 1.0, 1e6]
    assert diagnose(names(norms), norms, SOUND).direction == "healthy"


def test_zeros_at_the_end_of_a_long_way_down_are_vanishing() -> None:
    norms = [0.0] * 5 + [10.0 ** (index - 40) for index in range(41)]
    found = diagnose(names(norms), norms, BARE)
    assert found.direction == "vanishing" and found.ratio == 0
    assert "ReLU" in found.remedy and "shortcut" in found.remedy and "normalize" in found.remedy


def test_zeros_beside_usual_norms_are_blocked() -> None:
    found = diagnose(names([0.0] * 6), [0.0, 0.0, 0.0, 0.5, 1.0, 1.0], SOUND)
    assert found.direction == "blocked" and found.at_fault == "layer3"
    fixup = diagnose(names([0.0] * 6), [0.0] * 5 + [2.0], SOUND)
    assert fixup.direction == "blocked" and fixup.at_fault == "layer5"


def test_branches_that_start_at_zero_are_unknown() -> None:
    found = diagnose(names([0.0] * 7), [1.0, 0, 0, 0, 0, 0, 3.0], SOUND)
    assert found.direction == "unknown" and "after a step" in found.remedy


def test_numbers_that_are_not_finite_name_the_first_layer_on_the_way_back() -> None:
    found = diagnose(names([0.0] * 5), [math.nan, math.inf, 1e30, 1.0, 1.0], SOUND)
    assert found.direction == "not finite" and found.at_fault == "layer1"


def test_few_layers_tell_nothing() -> None:
    assert diagnose(["a", "b", "c"], [1.0, 1.0, 1.0], SOUND).direction == "unknown"


def test_gradients_that_are_tiny_everywhere_vanish_where_the_signal_does() -> None:
    norms, signals = [1e-9] * 6, [1.0, 0.5, 1e-3, 1e-5, 1e-7, 1e-9]
    found = diagnose(names(norms), norms, Traits(False, False, False), signals)
    assert found.direction == "vanishing" and found.at_fault == "layer2"
    assert "everywhere" in found.words and "He et al." in found.remedy
    huge = diagnose(names(norms), [1e9] * 6, Traits(False, False, False))
    assert huge.direction == "exploding" and huge.at_fault == ""


def test_a_single_step_near_the_end_is_found() -> None:
    norms = [1e-6] * 18 + [1.0, 1.0]
    found = diagnose(names(norms), norms, SOUND)
    assert found.direction == "vanishing" and found.at_fault == "layer17"


@pytest.mark.parametrize(
    ("ratio", "words"),
    [(0, "0 times"), (6234.0, "6,234 times"), (0.051, "0.051 times"), (1.3e-29, "10^-29 times")],
)
def test_ratios_in_words(ratio: float, words: str) -> None:
    assert times(ratio) == words
