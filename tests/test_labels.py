"""Suspected label errors: planted ones are found, and nothing is claimed of good labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from residua.errors import Refused
from residua.labels import Labels, named, suspects

Planted = tuple[Labels, set[int], NDArray[np.int64]]  # found, planted, true labels

PLANTED = 36  # 2 % of the digits


@pytest.fixture(scope="module")
def digits() -> Planted:
    """Suspects among the bundled digits, 36 labels of which were changed, and the true labels."""
    images, true = load_digits(return_X_y=True)
    dice = np.random.default_rng(0)
    planted = dice.choice(len(true), PLANTED, replace=False)
    given_ = true.copy()
    given_[planted] = (true[planted] + dice.integers(1, 10, PLANTED)) % 10
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    model = KNeighborsClassifier(20, weights="distance")
    scores = cross_val_predict(model, images, given_, cv=folds, method="predict_proba")
    return suspects(scores, given_), set(planted.tolist()), true


def test_planted_errors_stand_on_top(
    digits: Planted,
) -> None:
    found, planted, true = digits
    top = [suspect.image for suspect in found.suspects]
    assert planted.issuperset(top[:20])
    assert len(planted & set(top)) >= 0.85 * len(top)
    assert len(planted & set(top)) >= 0.75 * PLANTED
    assert all(s.suggested == true[s.image] for s in found.suspects if s.image in planted)
    assert found.estimated == pytest.approx(PLANTED, rel=0.35)


def test_suspects_are_ranked_by_margin(
    digits: Planted,
) -> None:
    found, _, _ = digits
    margins = [suspect.margin for suspect in found.suspects]
    assert margins == sorted(margins, reverse=True) and min(margins) > 0
    assert all(suspect.given != suspect.suggested for suspect in found.suspects)
    assert f"{len(margins)} of 1,797 labels are doubted: look at them" in str(found)


def test_a_small_case_by_hand() -> None:
    scores = [[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9], [0.8, 0.2], [0.4, 0.6]]
    found = suspects(scores, [0, 0, 0, 1, 1, 1])
    # Thresholds 0.6 and (0.9 + 0.2 + 0.6) / 3 = 0.567: images 2 and 4 reach the other class's.
    assert [(s.image, s.given, s.suggested) for s in found.suspects] == [(2, 0, 1), (4, 1, 0)]
    assert found.suspects[0].margin == pytest.approx(0.6)
    assert found.joint.tolist() == [[2, 1], [1, 2]]
    assert found.estimated == pytest.approx(2)
    assert found.uncertain == (0, 1)
    assert "2 classes have fewer than 20 images" in str(found)
    rows = named(found, ["a", "b", "c", "d", "e", "f"], ["cat", "dog"])
    assert rows[0] == {"name": "c", "label": "cat", "suggested": "dog", "margin": 0.6}


def test_a_network_that_is_unsure_doubts_nothing() -> None:
    found = suspects(np.full((50, 2), 0.5), [0, 1] * 25)
    assert found.suspects == [] and found.estimated == 0
    assert str(found) == "no label of 50 images is doubted"


def test_a_class_without_images_is_never_suggested() -> None:
    dice = np.random.default_rng(0)
    scores = dice.dirichlet([1, 1, 3], 60)
    found = suspects(scores, dice.integers(0, 2, 60))
    assert {suspect.suggested for suspect in found.suspects} <= {0, 1}
    assert found.uncertain == ()


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 5))
def test_the_order_of_images_does_not_matter(seed: int, images: int, classes: int) -> None:
    dice = np.random.default_rng(seed)
    scores = dice.dirichlet(np.ones(classes), images)
    labels, order = dice.integers(0, classes, images), dice.permutation(images)
    one, two = suspects(scores, labels), suspects(scores[order], labels[order])
    assert (one.joint == two.joint).all()
    assert {s.image for s in one.suspects} == {int(order[s.image]) for s in two.suspects}
    assert 0 <= one.estimated <= images
    assert one.joint.sum() <= images


def test_what_does_not_fit_is_refused() -> None:
    for scores, labels in (([[0.5, 0.5]], [0, 1]), ([[0.5, 0.5]], [2]), (np.zeros((0, 2)), [])):
        with pytest.raises(Refused):
            suspects(scores, labels)
    with pytest.raises(Refused, match="finite"):
        suspects([[float("nan"), 1]], [0])
