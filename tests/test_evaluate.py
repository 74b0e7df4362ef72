"""Errors counted over every image once, and every number that follows from them."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_batches import CPU, noise
from torch import Tensor

from residua import datasets, networks
from residua.batches import evaluation
from residua.errors import BadData
from residua.evaluate import Evaluation, score, wilson
from residua.images import Preprocessing
from residua.networks.unpickle import read_pickled
from residua.networks.weights import to_ours
from residua.protocols import PROTOCOLS


def closed_form(wrong: int, total: int) -> tuple[float, float]:
    """Wilson 1927: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)."""
    z, p = 1.959963984540054, wrong / total
    middle = p + z * z / (2 * total)
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    return (middle - half) / (1 + z * z / total), (middle + half) / (1 + z * z / total)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_intervals_are_wilsons(counts: tuple[int, int]) -> None:
    assert wilson(*counts) == pytest.approx(closed_form(*counts), abs=1e-9)
    low, high = wilson(*counts)
    assert 0 <= low <= counts[0] / counts[1] <= high <= 1


def evaluated(scores: Any, labels: Any, classes: tuple[str, ...] = ("a", "b", "c")) -> Evaluation:
    scores = np.asarray(scores, np.float32)
    names = tuple(f"image {index}" for index in range(len(labels)))
    return Evaluation(
        "single", "test", classes, names, np.asarray(labels), scores, "data", "weights", 1.23456
    )


BY_HAND = evaluated(
    [[0.8, 0.1, 0.1], [0.1, 0.6, 0.3], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]],
    [0, 1, 0, 2, 1],
)


def test_a_small_case_by_hand() -> None:
    assert (BY_HAND.total, BY_HAND.wrong, BY_HAND.error) == (5, 2, 0.4)
    assert BY_HAND.interval == wilson(2, 5)
    assert BY_HAND.confusion.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert BY_HAND.ranks.tolist() == [0, 0, 2, 0, 1]
    assert BY_HAND.top5_error == 0
    assert BY_HAND.losses.tolist() == pytest.approx(
        [-math.log(p) for p in (0.8, 0.6, 0.2, 0.7, 0.3)]
    )
    first, second, third = BY_HAND.per_class()
    assert (first["class"], first["total"], first["wrong"], first["error"]) == ("a", 2, 1, 0.5)
    assert (first["precision"], first["recall"], first["f1"]) == (0.5, 0.5, 0.5)
    assert first["interval"] == list(wilson(1, 2))
    assert (third["error"], third["precision"], third["recall"], third["f1"]) == (0, 1, 1, 1)
    assert second["recall"] == 0.5


def test_rows_and_summary_of_the_small_case() -> None:
    table = json.loads(json.dumps(BY_HAND.to_dict()))
    assert {key: table[key] for key in ("protocol", "split", "wrong", "total", "error")} == {
        "protocol": "single",
        "split": "test",
        "wrong": 2,
        "total": 5,
        "error": 0.4,
    }
    assert (table["data"], table["weights"], table["seconds"]) == ("data", "weights", 1.235)
    assert table["loss"] == pytest.approx(float(BY_HAND.losses.mean()))
    confidence = np.array([0.8, 0.6, 0.5, 0.7, 0.6])
    right = np.array([1, 1, 0, 1, 0])
    bins = [[0], [1, 4], [2], [3]]  # of 15; 0.6 = 9/15 lies in the bin that it ends
    expected = sum(abs(confidence[b].sum() - right[b].sum()) for b in bins) / 5
    assert table["calibration_error"] == pytest.approx(expected, abs=1e-6)
    row = BY_HAND.rows()[2]
    assert row == {
        "name": "image 2",
        "label": "a",
        "prediction": "b",
        "score": "0.500000",
        "loss": f"{-math.log(0.2):.6f}",
        "top5": "b:0.5000 c:0.3000 a:0.2000",
    }


def test_a_class_without_images_has_no_error() -> None:
    row = evaluated([[0.9, 0.1, 0]], [0]).per_class()[2]
    assert (row["total"], row["error"], row["interval"]) == (0, None, None)
    json.dumps(evaluated([[0.9, 0.1, 0]], [0]).to_dict(), allow_nan=False)


def test_a_score_of_zero_has_a_finite_loss() -> None:
    assert np.isfinite(evaluated([[1, 0, 0]], [2]).losses).all()


@st.composite
def evaluations(draw: st.DrawFn) -> Evaluation:
    classes, images = draw(st.integers(2, 8)), draw(st.integers(1, 40))
    seed = draw(st.integers(0, 10**6))
    dice = np.random.default_rng(seed)
    scores = dice.dirichlet(np.full(classes, 0.5), images)
    return evaluated(
        scores, dice.integers(0, classes, images), tuple(f"c{k}" for k in range(classes))
    )


@given(evaluations())
def test_all_numbers_agree_with_each_other(tested: Evaluation) -> None:
    confusion, rows = tested.confusion, tested.per_class()
    assert confusion.sum() == tested.total
    assert tested.total - np.trace(confusion) == tested.wrong == sum(row["wrong"] for row in rows)
    assert [row["total"] for row in rows] == confusion.sum(1).tolist()
    for kind, row in enumerate(rows):
        if row["total"]:
            assert row["error"] == pytest.approx(1 - row["recall"])
        shown = confusion[:, kind].sum()
        right = confusion[kind, kind]
        assert row["precision"] == pytest.approx(right / shown if shown else 0)
        low, high = row["interval"] or (0, 1)
        assert low <= (row["error"] or 0) <= high
    assert tested.top5_error <= tested.error
    assert tested.top5_error == np.mean(
        [
            label not in np.argsort(-row)[:5]
            for row, label in zip(tested.scores, tested.labels, strict=True)
        ]
    )
    recount = sum(row["label"] != row["prediction"] for row in tested.rows())
    assert recount == tested.wrong
    assert tested.to_dict()["confusion"] == confusion.tolist()


@given(evaluations(), st.integers(0, 10**6))
def test_the_order_of_images_does_not_matter(tested: Evaluation, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(tested.total)
    other = evaluated(tested.scores[order], tested.labels[order], tested.classes)
    one, two = tested.to_dict(), other.to_dict()
    for key in ("loss", "calibration_error"):
        assert one.pop(key) == pytest.approx(two.pop(key), rel=1e-4, abs=1e-7)
    assert one == two


def linear(images: Tensor) -> Tensor:
    """Logits that are plain sums, so that their order is exact."""
    return images.mean((2, 3)) * 20


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_protocols_scores_are_probabilities(protocol: str) -> None:
    batches = evaluation(noise(12), Preprocessing(6), 5, CPU)
    scores, labels = score(linear, batches, protocol)
    assert scores.shape == (12, 3) and scores.dtype == np.float32
    assert scores.sum(1) == pytest.approx(1, abs=1e-6)
    assert labels.tolist() == noise(12).labels.tolist()


def test_the_batch_size_changes_no_count() -> None:
    network = networks.build("resnet8-cifar", 3).eval()
    split, look = noise(50, 8), Preprocessing(8)
    with torch.inference_mode():
        found = [
            score(network, evaluation(split, look, batch, CPU), "single") for batch in (1, 7, 50)
        ]
    for scores, labels in found:
        assert np.allclose(scores, found[0][0], atol=1e-5)
        assert (scores.argmax(1) == found[0][0].argmax(1)).all()
        assert (labels == found[0][1]).all()


def test_scores_that_are_not_numbers_and_no_images_are_errors() -> None:
    batches = list(evaluation(noise(4), Preprocessing(6), 2, CPU))
    with pytest.raises(BadData, match="not numbers"):
        score(lambda images: linear(images) * math.nan, batches, "single")
    with pytest.raises(BadData, match="no images"):
        score(linear, [], "single")


PUBLISHED = Preprocessing(32, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def test_published_weights_make_exactly_827_errors(shared_data: Path) -> None:
    """A ResNet-20 trained elsewhere, 8.27 % on CIFAR-10's 10,000 test images."""
    network = networks.build("resnet20-cifar", 10).eval()
    given_ = read_pickled(shared_data / "weights" / "cifar-resnet20-option-a.th")
    network.load_state_dict(to_ours(given_, network))
    network = network.to(memory_format=torch.channels_last)
    test = datasets.load(shared_data / "cifar-10-binary.tar.gz").splits["test"]
    with torch.inference_mode():
        scores, labels = score(network, evaluation(test, PUBLISHED, 500, CPU), "single")
    assert (len(labels), int((scores.argmax(1) != labels).sum())) == (10_000, 827)
