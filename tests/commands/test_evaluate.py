"""evaluate: which argument is what, what is kept, and the gate."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import encoded

from residua import datasets

Call = Callable[..., Any]


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_a_run_on_its_own_data_keeps_the_numbers(run: Path, residua: Call) -> None:
    before = json.loads((run / "run.json").read_text())["test_reads"]
    (run / "predictions.csv").unlink()
    found = residua("evaluate", run, "--json").json
    stored = json.loads((run / "evaluations" / "single.json").read_text())
    for key in ("protocol", "wrong", "total", "error", "interval", "top5_error", "data", "weights"):
        assert found[key] == stored[key]
    assert found["error"] == found["wrong"] / found["total"]
    assert found["total"] == 360
    assert (run / "predictions.csv").is_file()
    assert len(json.loads((run / "run.json").read_text())["test_reads"]) == len(before) + 1


def test_weights_and_data_in_either_order(trained: Path, residua: Call) -> None:
    weights = trained / "weights.safetensors"
    one, two = residua("evaluate", weights, "digits"), residua("evaluate", "digits", weights)
    assert one.code == two.code == 0
    assert one.out == two.out
    assert "360 test images of digits, single view" in one.out
    assert "hardest classes" in one.out


def test_the_batch_size_changes_nothing(trained: Path, residua: Call) -> None:
    words = ("evaluate", trained / "weights.safetensors", "digits", "--json")
    one, two = residua(*words, "-b", 7).json, residua(*words, "batch=360").json
    assert (one["wrong"], one["top5_error"]) == (two["wrong"], two["top5_error"])


def test_other_data_is_not_kept_in_the_run(run: Path, residua: Call) -> None:
    split = datasets.load("digits").splits["test"]
    for index in range(40):
        path = Path(f"pets/test/{split.labels[index]}/{index}.png")
        for part in (path, Path(str(path).replace("test", "train", 1))):
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(encoded(np.ascontiguousarray(split.pixels(index)), "PNG"))
    before = (run / "evaluations" / "single.json").read_text()
    answer = residua("evaluate", run, "pets")
    assert answer.code == 0, answer.err
    assert "40 test images of pets" in answer.out
    assert "not saved in the run" in answer.out
    assert (run / "evaluations" / "single.json").read_text() == before
    assert "not saved" in residua("evaluate", run, "--split", "train").out


def test_the_gate(trained: Path, residua: Call) -> None:
    words = ("evaluate", trained / "weights.safetensors", "digits", "--json")
    assert residua(*words, "--min-top1", 0).code == 0
    answer = residua(*words, "--min-top1", 1)
    assert answer.code == 7
    assert answer.json["total"] == 360  # the numbers are there all the same
    assert "1 were demanded" in answer.err


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (["RUN", "--protocol", "singel"], 2, 'did you mean "single"?'),
        (["RUN", "--split", "tset"], 2, "the data has no tset split"),
        (["RUN", "--device", "cuda:9"], 2, 'no device "cuda:9"'),
        (["RUN", "--batch", "0"], 2, "--batch must be at least 1"),
        (["RUN", "--min-top1", "90"], 2, "a share from 0 to 1"),
        (["RUN", "digits", "cifar10"], 2, "more than one data set"),
        (["RUN", "digts"], 2, 'did you mean "digits"?'),
        (["WEIGHTS"], 2, "no data of its own"),
        (["old.pth"], 2, "residua convert old.pth --network NAME"),
        (["torn.safetensors", "digits"], 3, "not a safetensors file, or a truncated one"),
        (["empty-run"], 3, "the run has no weights yet"),
    ],
)
def test_what_cannot_be_evaluated(
    trained: Path, residua: Call, words: list[str], code: int, complaint: str
) -> None:
    Path("old.pth").write_bytes(b"PK\x03\x04")
    Path("torn.safetensors").write_bytes(b"\x10")
    Path("empty-run").mkdir()
    Path("empty-run/run.json").write_text("{}")
    places = {"RUN": trained, "WEIGHTS": trained / "weights.safetensors"}
    answer = residua("evaluate", *(places.get(word, word) for word in words))
    assert answer.code == code
    assert complaint in answer.err
    assert answer.out == ""
