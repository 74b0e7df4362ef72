import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from residua.seeds import FEWEST, greater, less, mean, paired

values = st.lists(st.floats(-1, 1).filter(lambda x: abs(x) > 1e-6), min_size=2, max_size=8)


def test_five_seeds_are_the_fewest_that_can_show_anything():
    assert greater([0.1] * FEWEST) == pytest.approx(1 / 2**FEWEST)
    assert greater([0.1] * FEWEST) < 0.05 < greater([0.1] * (FEWEST - 1))


@given(values)
def test_a_sign_test_counts_all_ways_to_choose_signs(differences):
    n = len(differences)
    signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    means = (signs * differences).mean(1)
    expected = (means >= np.mean(differences) - 1e-12).mean()
    assert greater(differences) == pytest.approx(expected)


@given(values)
def test_it_does_not_take_both_sides(differences):
    assert greater(differences) + less(differences) >= 1
    assert less(differences) == greater([-each for each in differences])


def test_pairs_are_the_seeds_that_both_have():
    assert paired({2: 0.5, 0: 0.3, 1: 0.1}, {0: 0.25, 2: 0.5, 7: 0.0}) == {
        0: pytest.approx(0.05),
        2: 0.0,
    }


def test_no_difference_shows_nothing():
    assert greater([]) == greater([0.0, 0.0]) == 1.0
    assert greater([0.3]) == 0.5


def test_the_interval_of_a_mean_is_students():
    found = mean([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert (found.low, found.high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))


def test_a_single_seed_has_no_interval():
    assert mean([0.5]) == (0.5, -np.inf, np.inf)
    assert mean([0.5, 0.5]) == (0.5, 0.5, 0.5)
