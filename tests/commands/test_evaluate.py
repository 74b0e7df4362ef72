"""evaluate: which argument is what, what is kept, and the gate."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import encoded

from residua import datasets, evaluate
from residua.engines import views

Call = Callable[..., Any]


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_a_run_on_its_own_data_keeps_the_numbers(run: Path, residua: Call) -> None:
    info = json.loads((run / "run.json").read_text())
    before = info["test_reads"][:1]  # other tests may have read the images of the shared run
    (run / "run.json").write_text(json.dumps(info | {"test_reads": before}))
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


def test_what_an_engine_did_without_is_told(
    trained: Path, residua: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(views, "possible", lambda: False)
    words = ("evaluate", trained / "weights.safetensors", "digits", "--engine", "folded")
    assert "This torch lacks oneDNN" in residua(*words).out
    assert "oneDNN" in residua(*words, "--json").json["engine_notes"][0]


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


def test_a_threshold_is_fitted_on_validation_and_confirmed_on_test(
    run: Path, residua: Call
) -> None:
    found = residua("evaluate", run, "--answers-right", 0.5, "--calibrate", "--json").json
    held = found["abstention"]
    assert held["total"] == 360 and held["coverage"] == held["answered"] / 360
    stored = evaluate.read_numbers(run / "evaluations" / "single.json")
    assert stored["abstention"] == held
    assert stored["temperature"]["images"] == 144  # validation, never test
    assert stored["label_check"] == found["label_check"]
    before = len(json.loads((run / "run.json").read_text())["test_reads"])
    answer = residua("evaluate", run, "--answers-right", 0.99999)
    assert answer.code == 2
    assert "no threshold can promise" in answer.err and answer.out == ""
    # what cannot be promised costs no reading of the test split
    assert len(json.loads((run / "run.json").read_text())["test_reads"]) == before
    assert residua("evaluate", run, "--split", "validation", "--json").json["total"] == 144


@pytest.mark.parametrize(
    ("words", "file", "total"),
    [
        (("--protocol", "ten-crop", "--average", "logits"), "ten-crop-logits", 360),
        (("--protocol", "multi-scale", "--scales", "8,9", "--no-mirror"),
         "multi-scale-8-9-unmirrored", 360),
    ],
)  # fmt: skip
def test_protocols_are_kept_beside_each_other(
    run: Path, residua: Call, words: tuple[str, ...], file: str, total: int
) -> None:
    found = residua("evaluate", run, *words, "--json").json
    stored = evaluate.read_numbers(run / "evaluations" / f"{file}.json")
    assert (stored["views"], stored["wrong"]) == (found["views"], found["wrong"])
    assert found["total"] == total
    assert (run / "evaluations" / "single.json").is_file()
    reads = json.loads((run / "run.json").read_text())["test_reads"]
    assert reads[-1]["protocol"] == file and not reads[-1]["early"]


def test_a_look_at_the_test_split_before_the_end_of_training_is_told(
    run: Path, residua: Call
) -> None:
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(info | {"status": "stopped"}))
    assert residua("evaluate", run).code == 0
    assert json.loads((run / "run.json").read_text())["test_reads"][-1]["early"]
    residua("report", run)
    assert "read before training had ended" in (run / "CARD.md").read_text()


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """50 digits to learn from and 40 to test on, of which 3 are the same and 2 cannot be read."""
    source = datasets.load("digits").splits
    for role, split in (("train", source["train"]), ("test", source["test"])):
        for index in range(50 if role == "train" else 40):
            path = tmp_path / "pets" / role / str(int(split.labels[index])) / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(np.ascontiguousarray(split.pixels(index)), "PNG"))
    return tmp_path / "pets"


def test_images_that_cannot_be_read_are_wrong_or_left_out_on_demand(
    trained: Path, residua: Call, pets: Path
) -> None:
    broken = sorted((pets / "test").rglob("*.png"))[:2]
    for path in broken:
        path.write_bytes(path.read_bytes()[:40])
    words = ("evaluate", trained / "weights.safetensors", "pets")
    answer = residua(*words)
    assert answer.code == 0  # the number stands: they count
    assert "2 images could not be read and count as wrong" in answer.out
    assert all(path.name in answer.out for path in broken)
    whole, part = (residua(*words, *more, "--json").json for more in ([], ["--skip-unreadable"]))
    assert (whole["total"], whole["unreadable"], whole["skipped"]) == (40, 2, [])
    assert (part["total"], part["unreadable"], len(part["skipped"])) == (38, 0, 2)
    assert part["wrong"] == whole["wrong"] - 2


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
        (["RUN", "RUN"], 2, "is there twice"),
        (["RUN", "--compare"], 2, "--compare takes two or more networks"),
        (["RUN", "WEIGHTS", "--weigh"], 2, "a weights file has no validation images"),
        (["RUN", "WEIGHTS", "--answers-right", "0.9"], 2, "--answers-right is about one network"),
        (["RUN", "WEIGHTS", "--compare", "--weigh"], 2, "--compare asks each network alone"),
        (["RUN", "--split", "train", "--calibrate"], 2, "confirmed on test images"),
        (["RUN", "--scales", "8"], 2, "of the protocol multi-scale"),
        (["RUN", "--protocol", "multi-scale", "--scales", "8,x"], 2, "whole numbers of pixels"),
        (["RUN", "--protocol", "multi-scale", "--scales", "4"], 2, "no place to look at"),
        (["RUN", "--protocol", "multi-scale", "--scales", "8000"], 4, "choose smaller --scales"),
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
