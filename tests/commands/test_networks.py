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


def test_several_networks(residua: Call) -> None:
    answer = residua("show", "resnet8-cifar", "plain8-cifar")
    assert answer.out.index("resnet8-cifar  10 classes") < answer.out.index("plain8-cifar  10")
    found = residua("show", "resnet8-cifar", "plain8-cifar", "--json").json["networks"]
    assert [each["network"] for each in found] == ["resnet8-cifar", "plain8-cifar"]


def test_drawn(tmp_path: Path, residua: Call) -> None:
    names = ("show", "plain8-cifar", "resnet8-cifar")
    answer = residua(*names, "--html", "twins.html", "--svg", "twins.svg", "--theme", "dark")
    assert answer.code == 0, answer.err
    assert "twins.html" in answer.out and "twins.svg" in answer.out
    assert "next: open twins.html in a browser" in answer.out
    page = (tmp_path / "twins.html").read_text(encoding="utf-8")
    picture = (tmp_path / "twins.svg").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "resnet8-cifar" in page
    assert picture.startswith("<svg") and "#15181d" in picture
    again = residua(*names, "--svg", "twins.svg", "--json").json  # a drawing may be drawn again
    assert again["picture"] == "twins.svg"
    assert (tmp_path / "twins.svg").read_text(encoding="utf-8") != picture


def test_a_run_and_a_block_of_it(trained: Path, tmp_path: Path, residua: Call) -> None:
    assert residua("show", trained, "--block", "stage2.0", "--svg", "block.svg").code == 0
    assert "F(x) + h(x)" in (tmp_path / "block.svg").read_text(encoding="utf-8")


def test_what_differs(residua: Call) -> None:
    answer = residua("show", "resnet50", "--diff", "resnet50-v1.5")
    assert "1x1/2 128, 3x3 128, 1x1 512" in answer.out
    assert "+77,070,336" in answer.out
    assert "next: residua show resnet50 --diff resnet50-v1.5 --html FILE" in answer.out
    found = residua("show", "resnet50", "--diff", "resnet50-v1.5", "--json").json
    gained = sum(each["multiply_adds"] for each in found["differences"])
    left, right = (each["multiply_adds"] for each in found["networks"])
    assert right - left == gained == 231_211_008
    assert "the same" in residua("show", "resnet18", "--diff", "resnet18-b").out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("resnet18", "--block", "stage1.0"), "add --html FILE or --svg FILE"),
        (("resnet18", "--no-fold"), "--fold is for drawings"),
        (("resnet18", "resnet34", "--diff", "plain18"), "--diff compares two"),
        (("resnet18", "--svg", "nowhere/a.svg"), "cannot write"),
        (("resnet18", "--svg", "a.svg", "--theme", "pink"), "--theme"),
        (("resnet18", "--svg", "a.svg", "--block", "stage1.7"), "did you mean stage1"),
        (("resnet8-cifar",) * 7 + ("--svg", "a.svg"), "1 to 6 networks"),
    ],
)
def test_what_cannot_be_drawn(words: tuple[str, ...], says: str, residua: Call) -> None:
    answer = residua("show", *words)
    assert answer.code == 2
    assert says in answer.err


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
