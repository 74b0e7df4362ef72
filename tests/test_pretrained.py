"""Weights that come with Residua: there, small, described, and as good as their cards say."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import residua
from residua import datasets
from residua.api import plain_execution
from residua.checkpoints import open_weights
from residua.errors import BadData
from residua.predictor import Predictor
from residua.pretrained import PRETRAINED, file_of, is_pretrained
from residua.testing import Asking, evaluate

RESULTS = Path(__file__).parents[1] / "results" / "pretrained.json"
MEASURED: dict[str, Any] = json.loads(RESULTS.read_text())["measured"]


@pytest.mark.parametrize("name", PRETRAINED)
def test_each_comes_with_its_card(name: str) -> None:
    weights = open_weights(name)
    assert {tensor.dtype for tensor in weights.tensors.values()} <= {torch.float32, torch.int64}
    card = file_of(name).with_suffix(".md").read_text()
    known = MEASURED[name]
    assert f"{known['wrong']:,} of {known['total']:,}" in card and weights.network in card


def test_together_they_take_less_than_4_megabytes() -> None:
    assert sum(file_of(name).stat().st_size for name in PRETRAINED) < 4_000_000


def test_digits_are_read_as_the_card_says() -> None:
    data = datasets.load("digits")
    tested, _ = evaluate(
        [open_weights("resnet20-digits")], data, "test", plain_execution(), Asking()
    )
    # Rounding differs from one machine to the next: a picture on the edge may fall either way.
    assert abs(round(tested.error * 360) - MEASURED["resnet20-digits"]["wrong"]) <= 1


@pytest.mark.parametrize("name", ["resnet20-cifar10", "resnet56-cifar10"])
def test_pictures_are_named_as_the_card_says(name: str, shared_data: Path) -> None:
    split = datasets.load(shared_data / "cifar-10-binary.tar.gz").splits["test"].select(range(500))
    predictor = Predictor(open_weights(name), plain_execution())
    scores = predictor.scores([split.pixels(index) for index in range(500)])
    wrong = int((scores.argmax(1) != split.labels.numpy()).sum())
    assert wrong / 500 < MEASURED[name]["error"] + 0.03


def test_a_file_of_that_name_is_nearer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_pretrained("resnet20-digits")
    Path("resnet20-digits").write_bytes(b"something else")
    assert not is_pretrained("resnet20-digits")
    with pytest.raises(BadData):
        residua.open_weights("resnet20-digits")
