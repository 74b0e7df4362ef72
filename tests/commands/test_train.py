"""train and resume: layers of settings, what is printed, and stopping by a signal."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from residua import checkpoints, training

Call = Callable[..., Any]
SMALL = ("network=resnet8-cifar", "threads=1")


def test_a_run_is_told_and_left(residua: Call) -> None:
    answer = residua("train", "digits", *SMALL, "--steps", 30)
    assert answer.code == 0, answer.err
    assert answer.err == ""
    saved = re.findall(r"^saved step=(\d+) path=(.+)$", answer.out, re.MULTILINE)
    assert [int(step) for step, _ in saved] == [20, 30]
    for step, path in saved:
        assert checkpoints.load(Path(path)).step == int(step)
    epochs = re.findall(r"^epoch (\d)/2  train error +[\d.]+ %  validation error", answer.out, re.M)
    assert epochs == ["1", "2"]
    for choice in ("all images are 8 x 8, which is kept", "digits are not symmetric"):
        assert answer.out.count(choice) >= 1
    end = answer.out[answer.out.index("test error") :]
    assert "95 % interval" in end
    assert end.rstrip().endswith("next: residua predict runs/digits-resnet8-cifar-1 IMAGES")
    assert Path("runs/digits-resnet8-cifar-1/report.html").is_file()


def test_json_is_the_run_and_its_test(trained: Path, residua: Call) -> None:
    answer = residua("resume", trained, "--json")  # it has ended: its answer is that of train
    assert answer.code == 0
    found = answer.json
    assert Path(found["run"]) == trained.resolve()
    assert found["test"]["wrong"] / found["test"]["total"] == found["test"]["error"]
    assert {"protocol", "interval", "top5_error", "data", "weights"} <= found["test"].keys()
    assert "per_class" not in found["test"]
    assert "nothing is left to do" in answer.err


def test_layers_of_settings(residua: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.toml").write_text('recipe = "paper-cifar"\nseed = 3\nbatch = 16\nsteps = 7\n')
    monkeypatch.setenv("RESIDUA_SEED", "4")
    monkeypatch.setenv("RESIDUA_BATCH", "32")
    words = ("train", "digits", *SMALL, "--dry-run", "--json", "--normalize=channel")
    found = residua(*words, "--config", "a.toml", "--seed", 5).json
    settings, sources = found["settings"], found["sources"]
    assert (settings["seed"], sources["seed"]) == (5, "flag")
    assert (settings["batch"], sources["batch"]) == (32, "environment")
    assert (settings["steps"], sources["steps"]) == (7, "--config a.toml")
    assert (settings["optimizer"], sources["optimizer"]) == ("caffe-sgd", "recipe paper-cifar")
    found = residua(*words, "--config", "a.toml", "--recipe", "quick").json
    assert found["settings"]["optimizer"] == "sgd"


def test_a_recipe_json_repeats_the_run(trained: Path, residua: Call) -> None:
    words = ("train", "digits", "--dry-run", "--json", "--config", trained / "recipe.json")
    stored = json.loads((trained / "recipe.json").read_text())["settings"]
    assert residua(*words).json["settings"] == stored


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        ('{"epoch": 3}', 2, 'did you mean "epochs"?'),
        ('{"epochs": "many"}', 2, "epochs must be a number"),
        ("{", 3, "malformed"),
        (None, 3, "No such file"),
    ],
)
def test_a_wrong_configuration(residua: Call, content: str | None, code: int, words: str) -> None:
    if content is not None:
        Path("a.json").write_text(content)
    answer = residua("train", "digits", "--config", "a.json")
    assert answer.code == code
    assert words in answer.err
    assert "a.json" in answer.err


def test_a_dry_run_leaves_nothing(residua: Call) -> None:
    answer = residua("train", "digits", *SMALL, "--dry-run")
    assert answer.code == 0
    for word in ("parameters", "multiply-adds", "memory", "steps", "time"):
        assert f"\n{word} " in answer.out
    assert list(Path.cwd().iterdir()) == []


def test_training_that_diverges(residua: Call) -> None:
    words = ("train", "digits", *SMALL, "epochs=2", "lr=100000", "warmup=0")
    answer = residua(*words)
    assert answer.code == 5
    assert "no longer finite" in answer.err
    assert "lower --learning-rate" in answer.err


def test_a_run_that_another_process_writes_to(trained: Path, residua: Call) -> None:
    program = """
import sys
from pathlib import Path
from residua.runs import RunDirectory
with RunDirectory.open(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", program, trained],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    answer = residua("report", trained)
    holder.communicate(b"")
    assert answer.code == 6
    assert "another process is writing to this run" in answer.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(residua: Call, number: int, tmp_path: Path) -> None:
    words = ("train", "digits", *SMALL, "steps=2000", "--validation", "0.5")
    process = subprocess.Popen(
        [sys.executable, "-m", "residua", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    for line in process.stdout:  # printed while it trains: a pipe does not hold it back
        if line.startswith("saved step="):
            break
    process.send_signal(number)
    rest, complaint = process.communicate(timeout=60)
    assert process.returncode == 75
    assert (line + rest).splitlines()[-1].startswith("saved step=")  # perhaps while it was said
    assert "fix:   residua resume runs/digits-resnet8-cifar-1" in complaint
    assert "Traceback" not in complaint
    assert residua("verify", "runs/latest", "--json").json["ok"]


def test_resume_goes_on(residua: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def stop(job: Any, batches: Any, end: int) -> Any:
        yield from leg(job, batches, end)
        seen.append(end)
        job.interrupt.requested = len(seen) == 1

    leg = training.leg
    monkeypatch.setattr(training, "leg", stop)
    answer = residua("train", "digits", *SMALL, "steps=40", "--log-samples", "samples")
    assert answer.code == 75
    assert "saved step=20" in answer.out
    answer = residua("resume", "runs/latest", "--log-samples", "samples")
    assert answer.code == 0, answer.err
    assert "continuing from step 20" in answer.out
    assert "saved step=40" in answer.out
    lines = [line.split("\t") for line in Path("samples").read_text().splitlines()]
    assert [int(step) for step, _ in lines] == [step for step in range(40) for _ in range(64)]
    for epoch in (lines[: 20 * 64], lines[20 * 64 :]):  # each image at most once
        assert len({name for _, name in epoch}) == 20 * 64
    assert residua("resume", "runs/latest", "--json").json["status"] == "done"
