"""predict: which pictures are meant, what is written, and what cannot be read."""

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import encoded
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from residua import datasets
from residua.commands.pictures import expanded, shard
from residua.commands.sorting import copy_into, safe
from residua.errors import Refused

Call = Callable[..., Any]
COUNT = 6


@pytest.fixture(autouse=True)
def pictures() -> None:
    """Test digits as files: some in a folder, one deeper, and what is no picture."""
    split = datasets.load("digits").splits["test"]
    for index in range(COUNT):
        place = Path("new" if index else "new/deeper", f"{index}.png")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded(np.ascontiguousarray(split.pixels(index)), "PNG"))
    Path("new/notes.txt").write_text("not a picture")
    Path("new/.hidden.png").write_bytes(b"")


NAMES = [*(f"new/{index}.png" for index in range(1, COUNT)), "new/deeper/0.png"]


def test_a_folder(trained: Path, residua: Call) -> None:
    answer = residua("predict", trained, "new")
    assert answer.code == 0
    lines = answer.out.splitlines()
    assert [line.split()[0] for line in lines[:COUNT]] == NAMES
    assert lines[COUNT:] == ["6 pictures answered"]


def test_json_and_python_agree(trained: Path, residua: Call) -> None:
    import residua as rs

    found = residua("predict", trained, "new/3.png", "--json").json
    (row,) = found["predictions"]
    expected = rs.Run.open(trained).predict("new/3.png")
    assert [(p["label"], p["score"]) for p in row["predictions"]] == list(expected)
    assert row["label"] == expected[0].label
    assert len(row["predictions"]) == 5
    assert found["weights"] == rs.open_weights(trained).sha256


def test_unreadable_pictures_do_not_stop_the_others(trained: Path, residua: Call) -> None:
    Path("bad.png").write_bytes(b"<html>")
    Path("evil\x1b[31m.png").write_bytes(b"")
    words = ("bad.png", "new/1.png", "missing.png", "evil\x1b[31m.png", "new/2.png")
    answer = residua("predict", trained, *words)
    assert answer.code == 3
    assert [line.split()[0] for line in answer.out.splitlines()] == ["new/1.png", "new/2.png", "2"]
    assert "3 of 5 pictures cannot be read" in answer.err
    assert "missing.png: the file cannot be read: No such file" in answer.err
    assert "\x1b" not in answer.err
    found = residua("predict", trained, *words, "--json").json
    assert [row["name"] for row in found["failed"]] == ["bad.png", "missing.png", words[3]]


def test_csv_and_jsonl(trained: Path, residua: Call) -> None:
    Path("bad.png").write_bytes(b"")
    for name in ("out.csv", "out.jsonl"):
        words = ("predict", trained, "new", "bad.png", "--top", 2, "--out", name)
        answer = residua(*words)
        assert answer.code == 3
        assert "out." in answer.out
    rows = list(csv.DictReader(io.StringIO(Path("out.csv").read_text())))
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [row["name"] for row in rows] == [row["name"] for row in lines] == [*NAMES, "bad.png"]
    assert rows[-1]["error"] == lines[-1]["error"] == "the file is empty"
    for row, line in zip(rows[:-1], lines[:-1], strict=True):
        assert row["label"] == line["label"] == line["predictions"][0]["label"]
        assert len(line["predictions"]) == len(row["top"].split()) == 2
        assert float(row["score"]) == pytest.approx(line["score"], abs=1e-6)


def test_below_the_threshold_the_label_is_empty(trained: Path, residua: Call) -> None:
    answer = residua("predict", trained, "new", "--threshold", 1, "--json")
    assert {row["label"] for row in answer.json["predictions"]} == {""}
    assert answer.json["unsure"] == COUNT
    assert "unsure" in residua("predict", trained, "new/1.png", "--threshold", 1).out


def test_sorting_into_folders(trained: Path, residua: Call) -> None:
    found = residua("predict", trained, "new", "--sort-into", "sorted", "--json").json
    for row in found["predictions"]:
        copy = Path(row["copy"])
        assert copy.parent == Path("sorted", row["label"])
        assert copy.read_bytes() == Path(row["name"]).read_bytes()
    residua("predict", trained, "new", "--sort-into", "sorted")  # again: nothing new
    assert sum(1 for path in Path("sorted").rglob("*.png")) == COUNT


def test_copies_never_replace() -> None:
    for number, folder in enumerate("ab"):
        Path(folder).mkdir()
        Path(folder, "x.png").write_bytes(b"%d" % number)
    assert copy_into(Path("to"), "cat", Path("a/x.png")) == Path("to/cat/x.png")
    assert copy_into(Path("to"), "cat", Path("b/x.png")) == Path("to/cat/x-2.png")
    assert copy_into(Path("to"), "cat", Path("a/x.png")) == Path("to/cat/x.png")
    assert copy_into(Path("to"), "", Path("a/x.png")) == Path("to/unsure/x.png")
    assert Path("to/cat/x.png").read_bytes() == b"0"


@given(st.text())
def test_a_class_is_one_folder_whatever_its_name(label: str) -> None:
    name = safe(label)
    assert name not in ("", ".", "..")
    assert "/" not in name and "\0" not in name
    assert len(Path("x", name).parts) == 2


def test_paths_on_standard_input(
    trained: Path, residua: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("new/2.png\n\nnew/1.png\n"))
    found = residua("predict", trained, "-", "--json").json
    assert [row["name"] for row in found["predictions"]] == ["new/2.png", "new/1.png"]


def test_which_pictures_are_meant() -> None:
    def names(*arguments: str) -> list[str]:
        return [str(path) for path in expanded(arguments, io.StringIO())]

    assert names("new/*.png") == NAMES[:-1]
    assert names("new/**/*.png") == sorted(NAMES)
    assert names("missing.png", "new/1.png") == ["missing.png", "new/1.png"]
    Path("[1].png").write_bytes(b"")
    assert names("[1].png") == ["[1].png"]  # a file, though it looks like a pattern
    Path("empty").mkdir()
    for nothing in ("empty", "*.jpg"):
        with pytest.raises(Refused):
            names(nothing)


@given(st.integers(0, 50), st.integers(1, 9))
def test_shards_are_all_and_disjoint(count: int, n: int) -> None:
    paths = [Path(str(index)) for index in range(count)]
    parts = [shard(paths, f"{i}/{n}") for i in range(1, n + 1)]
    assert sorted(path for part in parts for path in part) == sorted(paths)


@pytest.mark.parametrize("share", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4"])
def test_no_shard(share: str) -> None:
    with pytest.raises(Refused):
        shard([], share)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["new", "--out", "x.txt"], "give a file that ends in .csv, .jsonl or .parquet"),
        (["new", "--top", "0"], "--top must be at least 1"),
        (["new", "--threshold", "50"], "a score from 0 to 1"),
        (["new/*.jpg"], 'no image in "new/*.jpg"'),
        (["new", "--shard", "0/2"], "i from 1 to n"),
    ],
)
def test_what_is_refused(trained: Path, residua: Call, words: list[str], complaint: str) -> None:
    answer = residua("predict", trained, *words)
    assert answer.code == 2
    assert complaint in answer.err


def test_weights_that_come_with_residua_answer_by_name(residua: Call, tmp_path: Path) -> None:
    rows = residua("list", "weights", "--json").json["weights"]
    assert "resnet20-digits" in [row["name"] for row in rows]
    data = datasets.load("digits")
    split, path = data.splits["test"], tmp_path / "digit.png"
    Image.fromarray(split.pixels(0)).save(path)
    (row,) = residua("predict", "resnet20-digits", path, "--json").json["predictions"]
    assert row["predictions"][0]["label"] == data.classes[int(split.labels[0])]


def test_engines_by_name_agree_and_unknown_ones_are_refused(
    trained: Path, residua: Call, tmp_path: Path
) -> None:
    path = tmp_path / "digit.png"
    Image.fromarray(datasets.load("digits").splits["test"].pixels(5)).save(path)

    def scores(*words: str) -> dict[str, float]:
        (row,) = residua("predict", trained, path, "--json", *words).json["predictions"]
        return {each["label"]: each["score"] for each in row["predictions"]}

    plain = scores("--engine", "torch")
    for engine in ("folded", "auto"):
        found = scores("--engine", engine, "--precision", "fp32")
        assert found == pytest.approx(plain, abs=1e-5)
    refused = residua("predict", trained, path, "--engine", "foldid")
    assert refused.code == 2 and 'did you mean "folded"' in refused.err
    names = [row["name"] for row in residua("list", "engines", "--json").json["engines"]]
    assert {"torch", "folded", "compiled", "onnxruntime", "openvino", "auto"} <= set(names)


def test_an_engine_that_is_not_installed_is_refused_with_the_command(
    trained: Path, residua: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "digit.png"
    Image.fromarray(datasets.load("digits").splits["test"].pixels(5)).save(path)
    monkeypatch.setitem(sys.modules, "openvino", None)
    refused = residua("predict", trained, path, "--engine", "openvino")
    assert refused.code == 2 and "residua[openvino]" in refused.err
