"""What is fitted on validation images: which these are, and the shares of an ensemble."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from residua import api, datasets, selection
from residua.errors import Refused
from residua.evaluate import Evaluation
from residua.protocols import Protocol


def evaluation(scores: object, labels: object, readable: object = None) -> Evaluation:
    table = np.array(scores, np.float32)
    kinds = np.array(labels, np.int64)
    return Evaluation(
        protocol=Protocol(),
        split="validation",
        classes=tuple(f"c{kind}" for kind in range(table.shape[1])),
        names=tuple(f"image {index}" for index in range(len(kinds))),
        labels=kinds,
        scores=table,
        readable=np.ones(len(kinds), bool) if readable is None else np.array(readable),
        data="data",
        weights=("weights",),
        seconds=0.0,
    )


def cost(members: list[Evaluation], shares: object) -> float:
    """The loss by the definition."""
    rows = np.arange(members[0].total)
    true = np.stack([each.scores[rows, each.labels] for each in members], 1).astype(np.float64)
    return float(-np.log(np.maximum(true, selection.UNLIKELY) @ np.array(shares)).mean())


@given(st.integers(0, 10**6), st.integers(1, 40))
def test_no_shares_on_a_grid_are_better(seed: int, images: int) -> None:
    dice = np.random.default_rng(seed)
    labels = dice.integers(0, 3, images)
    members = [evaluation(dice.dirichlet(np.full(3, 0.5), images), labels) for _ in range(3)]
    shares = selection.fit_shares(members)
    assert sum(shares) == pytest.approx(1) and min(shares) >= 0
    steps = [(a / 10, b / 10, (10 - a - b) / 10) for a in range(11) for b in range(11 - a)]
    assert cost(members, shares) <= min(cost(members, step) for step in steps) + 1e-4


def test_a_network_that_is_surer_and_right_gets_all() -> None:
    good, bad = [[0.9, 0.1], [0.1, 0.9]], [[0.5, 0.5], [0.5, 0.5]]
    shares = selection.fit_shares([evaluation(bad, [0, 1]), evaluation(good, [0, 1])])
    assert shares == pytest.approx((0, 1), abs=1e-6)


def test_an_image_that_cannot_be_read_fits_nothing() -> None:
    first = [[0.9, 0.1], [0.2, 0.8], [0.0, 0.0]]
    second = [[0.3, 0.7], [0.1, 0.9], [0.0, 0.0]]
    some = [True, True, False]
    with_it = [evaluation(each, [0, 1, 0], some) for each in (first, second)]
    without = [evaluation(each[:2], [0, 1]) for each in (first, second)]
    assert selection.fit_shares(with_it) == pytest.approx(selection.fit_shares(without), abs=1e-9)
    assert selection.temperature(with_it[0]).images == 2
    assert selection.doubted(with_it[0])["total"] == 2


def test_the_validation_images_of_a_run_are_found_again(finished: api.Run) -> None:
    job = tiny.job("digits", epochs=2, batch=64)
    found = selection.with_validation([finished.directory], datasets.load("digits"))
    for role in ("train", "validation", "test"):
        used, again = job.splits[role], found.splits[role]
        assert [used.name(i) for i in range(len(used))] == [
            again.name(i) for i in range(len(again))
        ]
    other = replace(datasets.load("digits"), fingerprint="other")
    with pytest.raises(Refused, match="was not trained on this data"):
        selection.with_validation([finished.directory], other)


def test_a_label_is_doubted_by_its_name() -> None:
    scores = np.tile([0.9, 0.1], (30, 1))
    scores[15:] = [0.1, 0.9]
    labels = np.repeat([0, 1], 15)
    labels[3] = 1
    found = selection.doubted(evaluation(scores, labels))
    (row,) = found["suspects"]
    assert (row["name"], row["label"], row["suggested"]) == ("image 3", "c1", "c0")
    assert found["doubted"] == 1 and "1 of 30 labels" in found["verdict"]
