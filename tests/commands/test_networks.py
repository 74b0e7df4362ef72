"""show and list: what networks there are and what is in them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]


def test_the_numbers_of_the_paper(residua: Call) -> None:
    answer = residua("show", "resnet50")
    assert "25,557,032 parameters" in answer.out
    assert "3.86 billion" in answer.out
    assert "stage2 blocks 2-4" in answer.out
    found = residua("show", "resnet20-cifar", "--json").json
    assert found["parameters"] == sum(row["parameters"] for row in found["rows"]) == 269_722
    assert found["multiply_adds"] == sum(row["multiply_adds"] for row in found["rows"])


def test_size_classes_and_all(residua: Call) -> None:
    words = ("show", "resnet8-cifar", "--size", 64, "--classes", 7, "--json")
    found = residua(*words).json
    assert (found["classes"], found["size"]) == (7, 64)
    assert found["rows"][-1]["shape"] == [7]
    unfolded = residua(*words, "--all").json
    assert len(unfolded["rows"]) > 2 * len(found["rows"])
    assert unfolded["parameters"] == found["parameters"]


def test_a_trained_network(trained: Path, residua: Call) -> None:
    answer = residua("show", trained)
    assert answer.out.startswith("resnet8-cifar  10 classes, 8 x 8 pixels")
    assert residua("show", trained / "weights.safetensors").out == answer.out
    assert residua("show", trained, "--classes", 3).code == 2
    assert residua("show", "resnet18", "--size", 0).code == 2


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("networks", "resnetN-cifar"),
        ("datasets", "fashion-mnist"),
        ("recipes", "paper-cifar"),
        ("protocols", "single"),
    ],
)
def test_lists(residua: Call, what: str, name: str) -> None:
    answer = residua("list", what)
    assert answer.code == 0
    assert name in answer.out
    assert "next: residua" in answer.out
    rows = residua("list", what, "--json").json[what]
    assert name in [row["name"] for row in rows]
    assert all(row["about"] for row in rows)


def test_data_that_is_not_here_says_how_to_get_it(tmp_path: Path, residua: Call) -> None:
    assert "not here: residua download cifar10\n" in residua("list", "datasets").out
    (tmp_path / "data" / "cifar10").mkdir(parents=True)
    assert "in data/cifar10\n" in residua("list", "datasets").out
