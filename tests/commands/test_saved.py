"""report, verify and digest: what a run saved."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_digests_are_those_of_the_files(trained: Path, residua: Call) -> None:
    parts = residua("digest", trained, "--json").json["sha256"]
    newest = trained / "checkpoints" / "20"
    files = {
        "selected": trained / "weights.safetensors",
        "weights": newest / "weights.safetensors",
        "state": newest / "state.safetensors",
    }
    assert parts == {n: hashlib.sha256(f.read_bytes()).hexdigest() for n, f in files.items()}
    manifest = json.loads((newest / "manifest.json").read_text())
    assert residua("digest", newest, "--json").json["sha256"] == manifest["sha256"]
    one = residua("digest", files["selected"]).out
    assert one == f"{parts['selected']}  weights\n"


def test_the_same_recipe_gives_the_same_digests(trained: Path, residua: Call) -> None:
    words = ("digits", "--network", "resnet8-cifar", "epochs=1", "threads=1")
    assert residua("train", *words).code == 0
    first, second = (residua("digest", r, "--json").json for r in (trained, "runs/latest"))
    assert first["sha256"] == second["sha256"]


def test_digest_of_nothing(tmp_path: Path, residua: Call) -> None:
    (tmp_path / "empty").mkdir()
    assert residua("digest", "empty").code == 3


def test_a_whole_run(run: Path, residua: Call) -> None:
    answer = residua("verify", run)
    assert answer.code == 0
    assert answer.out.count("ok ") == 3  # checkpoint, weights, evaluation
    found = residua("verify", run, "--json").json
    assert found["ok"]
    assert set(found["sha256"]) == {"20/weights", "20/state", "weights"}


@pytest.mark.parametrize("part", ["state.safetensors", "weights.safetensors", "manifest.json"])
def test_a_torn_checkpoint(run: Path, residua: Call, part: str) -> None:
    file = run / "checkpoints" / "20" / part
    file.write_bytes(file.read_bytes()[:-1])
    answer = residua("verify", run)
    assert answer.code == 3
    assert "broken" in answer.out
    found = residua("verify", run, "--json").json
    assert not found["ok"]
    assert [entry["ok"] for entry in found["found"]] == [False, True, True]
    assert file.parent.is_dir()  # nothing is changed


def test_altered_weights(run: Path, residua: Call) -> None:
    (run / "weights.safetensors").write_bytes(b"")
    assert residua("verify", run).code == 3


@pytest.mark.parametrize("file", ["single.json", "single.npz"])
def test_an_altered_evaluation(run: Path, residua: Call, file: str) -> None:
    path = run / "evaluations" / file
    path.write_bytes(path.read_bytes().replace(b'"split": "test"', b'"split": "tset"') + b" ")
    answer = residua("verify", run)
    assert answer.code == 3
    broken = [line for line in answer.out.splitlines() if "broken" in line]
    assert len(broken) == 1 and "evaluations/single.json" in broken[0]
    assert "residua evaluate run counts again" in answer.out
    assert "residua resume" not in answer.out
    assert residua("report", run).code == 0  # and the card names the file
    if file == "single.json":
        card = (run / "CARD.md").read_text().replace("\\", "")
        assert "evaluations/single.json: the numbers were altered" in card


def test_report(run: Path, residua: Call) -> None:
    (run / "report.html").unlink()
    (run / "CARD.md").unlink()
    found = residua("report", run, "--json").json
    assert Path(found["report"]).read_text().startswith("<!doctype html>")
    assert Path(found["card"]).is_file()
    assert residua("report", run.parent).code == 3
