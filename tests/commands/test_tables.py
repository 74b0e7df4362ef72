"""The files of predict: predictions and features, read back by those who made the formats."""

import json
import os
import signal
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from faults import encoded

import residua as rs
from residua import datasets, durable, images
from residua.commands import tables
from residua.errors import OutOfResources
from residua.predictor import Predictor

Call = Callable[..., Any]
COUNT = 5
HOSTILE = ("a,b\nc", "\u202eevil\x1b[31m", os.fsdecode(b"\xff\xfe"), "n" * 200, "日本")


@pytest.fixture(autouse=True)
def pictures() -> list[str]:
    """Test digits as files with unpleasant names."""
    split = datasets.load("digits").splits["test"]
    Path("new").mkdir()
    paths = [Path("new", f"{name}.png") for name in HOSTILE]
    for index, path in enumerate(paths):
        path.write_bytes(encoded(np.ascontiguousarray(split.pixels(index)), "PNG"))
    return sorted(map(str, paths))


def by_hand(run: Path, paths: list[str], level: int | None = None) -> np.ndarray[Any, Any]:
    """Features (n, width) from the network itself."""
    weights = rs.open_weights(run)
    look, network = weights.preprocessing, weights.build()
    views = torch.stack([torch.from_numpy(look.view(images.read(Path(path)))) for path in paths])
    x = (views / 255 - torch.tensor(look.mean)) / torch.tensor(look.std)
    x = x.permute(0, 3, 1, 2).float()
    with torch.no_grad():
        maps = network.features(x) if level is None else network.features(x, [level])[0]
    return maps.mean((2, 3)).numpy()


def left() -> set[str]:
    """Files besides the pictures."""
    return {path.name for path in Path().iterdir()} - {"new"}


def test_features_as_parquet(trained: Path, residua: Call, pictures: list[str]) -> None:
    answer = residua("predict", trained, "new", "--features", "out.parquet")
    assert answer.code == 0
    assert "out.parquet" in answer.out
    table = pq.read_table("out.parquet")
    assert table.column_names == ["name", "features", "label", "score"]
    expected = by_hand(trained, pictures)
    assert np.allclose(table["features"].to_pylist(), expected, atol=1e-5)
    assert table.schema.field("features").type.list_size == expected.shape[1] == 64
    found = residua("predict", trained, "new", "--json").json["predictions"]
    assert table["label"].to_pylist() == [row["label"] for row in found]
    assert table["score"].to_pylist() == pytest.approx([row["score"] for row in found])
    about = json.loads(table.schema.metadata[b"residua"])
    weights = rs.open_weights(trained)
    assert about["weights"] == weights.sha256
    assert about["network"] == "resnet8-cifar"
    assert about["layer"] == "features.stage3"
    assert about["preprocessing"] == weights.preprocessing.to_dict()
    assert about["versions"]["torch"] == version("torch")


def test_features_as_npz(trained: Path, residua: Call, pictures: list[str]) -> None:
    Path("new/bad.png").write_bytes(b"")
    answer = residua("predict", trained, "new", "--features", "out.npz")
    assert answer.code == 3
    assert "bad.png: the file is empty" in answer.err
    with np.load("out.npz") as found:
        assert found["features"].dtype == np.float32
        assert np.allclose(found["features"], by_hand(trained, pictures), atol=1e-5)
        assert found["names"].tolist() == pictures
        assert found["failed"].tolist() == ["new/bad.png"]
        assert json.loads(str(found["about"][0]))["width"] == 64
    first = Path("out.npz").read_bytes()
    residua("predict", trained, "new", "--features", "out.npz")
    assert Path("out.npz").read_bytes() == first


@pytest.mark.parametrize("level", [0, 1, 2])
def test_features_of_a_level(trained: Path, residua: Call, pictures: list[str], level: int) -> None:
    residua("predict", trained, *pictures, "--features", "out.npz", "--level", level)
    with np.load("out.npz") as found:
        assert np.allclose(found["features"], by_hand(trained, pictures, level), atol=1e-5)
        assert found["features"].shape == (COUNT, 16 * 2**level)


def test_names_survive(trained: Path, residua: Call, pictures: list[str]) -> None:
    residua("predict", trained, "new", "--features", "out.parquet", "--out", "too.parquet")
    expected = [name.encode("utf-8", "backslashreplace").decode() for name in pictures]
    assert sum(name == other for name, other in zip(expected, pictures, strict=True)) == COUNT - 1
    for path in ("out.parquet", "too.parquet"):
        assert pq.read_table(path)["name"].to_pylist() == expected


def test_predictions_as_parquet(trained: Path, residua: Call, pictures: list[str]) -> None:
    Path("bad.png").write_bytes(b"")
    words = ("predict", trained, "bad.png", *pictures, "--top", 2)
    assert residua(*words, "--out", "out.parquet").code == 3
    bad, *rows = pq.read_table("out.parquet").to_pylist()
    assert bad == dict.fromkeys(bad) | {"name": "bad.png", "error": "the file is empty"}
    found = residua(*words, "--json").json["predictions"]
    for row, other in zip(rows, found, strict=True):
        assert row["error"] is None
        assert row["label"] == other["label"]
        assert [p["label"] for p in row["predictions"]] == [
            p["label"] for p in other["predictions"]
        ]
        assert row["score"] == pytest.approx(other["score"])
    about = json.loads(pq.read_schema("out.parquet").metadata[b"residua"])
    assert about.keys() == {"weights", "network", "preprocessing", "versions"}


def test_both_files_come_from_one_pass(
    trained: Path, residua: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    residua("predict", trained, "new", "--out", "alone.jsonl")
    passed = 0
    forward = Predictor.forward

    def counting(self: Predictor, batch: torch.Tensor, stage: str) -> Any:
        nonlocal passed
        passed += len(batch)
        return forward(self, batch, stage)

    monkeypatch.setattr(Predictor, "forward", counting)
    words = ("predict", trained, "new", "--out", "out.jsonl", "--features", "out.npz", "--json")
    answer = residua(*words).json
    assert passed == COUNT + 1  # one blank picture tells the width
    assert Path("out.jsonl").read_text() == Path("alone.jsonl").read_text()
    assert (answer["out"], answer["features"]) == ("out.jsonl", "out.npz")
    assert "predictions" not in answer  # a million of them are in the file already


@pytest.mark.parametrize("name", ["out.parquet", "out.npz"])
def test_no_picture_can_be_read(trained: Path, residua: Call, name: str) -> None:
    assert residua("predict", trained, "missing.png", "--features", name).code == 3
    if name.endswith("npz"):
        with np.load(name) as found:
            assert found["features"].shape == (0, 64)
            assert found["names"].shape == (0,)
    else:
        table = pq.read_table(name)
        assert len(table) == 0
        assert table.schema.field("features").type.list_size == 64


@pytest.mark.parametrize("kind", sorted(tables.FEATURES))
def test_rows_are_not_kept(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was added is on its way to the disk before the last row comes."""
    monkeypatch.setattr(tables, "GROUP", 8)
    vector = np.arange(5000, dtype=np.float32)
    with tables.tables(None, f"x{kind}", {"width": len(vector)}) as add:
        for index in range(100):
            row = {"name": str(index), "label": "cat", "score": 0.5, "predictions": []}
            add(row, vector + index)
        written = sum(file.stat().st_size for file in Path().glob(".writing-*"))
        assert kind == ".npz" or written > 90 * vector.nbytes / 2
    if kind == ".parquet":
        assert pq.ParquetFile("x.parquet").num_row_groups == 13
        rows = pq.read_table("x.parquet")["features"].to_pylist()
    else:
        rows = np.load("x.npz")["features"]
    assert np.array_equal(np.array(rows), vector + np.arange(100)[:, None])


@pytest.mark.parametrize("end", [KeyboardInterrupt, OutOfResources("full"), OSError(28, "full")])
@pytest.mark.parametrize(
    ("out", "features"), [("a.csv", "b.npz"), ("a.jsonl", "b.parquet"), ("a.parquet", None)]
)
def test_what_is_interrupted_leaves_nothing(out: str, features: str | None, end: Any) -> None:
    Path(out).write_text("as it was")
    expected = OutOfResources if isinstance(end, OSError) else end
    kind = expected if isinstance(expected, type) else type(expected)
    with pytest.raises(kind), tables.tables(out, features, {"width": 2}) as add:
        row = {"name": "x", "label": "cat", "score": 0.5, "predictions": []}
        add(row, np.zeros(2, np.float32))
        raise end
    assert Path(out).read_text() == "as it was"
    assert left() == {out}


def test_a_signal_leaves_nothing(
    trained: Path, residua: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Predictor, "ranked", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    words = ("predict", trained, "new", "--out", "a.csv", "--features", "b.parquet")
    answer = residua(*words)
    assert answer.code == 75
    assert left() == set()


def test_files_have_the_usual_permissions(trained: Path, residua: Call) -> None:
    residua("predict", trained, "new", "--out", "out.csv")
    durable.write(Path("other"), b"")
    assert Path("out.csv").stat().st_mode == Path("other").stat().st_mode


def test_without_pyarrow(trained: Path, residua: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    for flag in ("--out", "--features"):
        answer = residua("predict", "no such run", "new", flag, "out.parquet")
        assert answer.code == 2
        assert 'pip install "residua[parquet]"' in answer.err
    assert residua("predict", trained, "new", "--features", "out.npz").code == 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--features", "x.csv"], "give a file that ends in .parquet or .npz"),
        (["--out", "x.npz"], "give a file that ends in .csv, .jsonl or .parquet"),
        (["--out", "x"], "give a file that ends in"),
        (["--out", "folder.csv"], "there is a folder of this name"),
        (["--out", "x.parquet", "--features", "./x.parquet"], "a file each"),
        (["--level", "2"], "add --features FILE.parquet"),
        (["--features", "x.npz", "--level", "7"], "choose among 0, 1, 2"),
        (["--features", "x.npz", "--level", "-1"], "choose among 0, 1, 2"),
    ],
)
def test_what_is_refused(trained: Path, residua: Call, words: list[str], complaint: str) -> None:
    Path("folder.csv").mkdir()
    answer = residua("predict", trained, "new", *words)
    assert answer.code == 2
    assert complaint in answer.err
    assert left() == {"folder.csv"}


def test_a_folder_that_is_not_there(trained: Path, residua: Call) -> None:
    """It is found out before a picture is read."""
    answer = residua("predict", trained, "new", "--features", "no/such/x.npz")
    assert answer.code == 4
    assert "no/such/x.npz" in answer.err
