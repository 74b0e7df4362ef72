"""Training: the same bits however often it is interrupted, and nothing broken is ever kept."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import torch
from test_durable import largest_file

from residua import checkpoints, feeding, prepare, training, workflow
from residua.batches import evaluation
from residua.errors import Diverged, OutOfResources, Stopped
from residua.events import Advance, Epoch, Note, Saved
from residua.interrupt import Interrupt
from residua.learner import Learner
from residua.optimizers import learning_rate
from residua.runs import RunDirectory
from residua.steps import Step, steps
from residua.training import train

VARIANTS: dict[str, dict[str, Any]] = {
    "everything": {
        "ema": 0.9,
        "mixup": 0.4,
        "crop": "pad",
        "color": "jitter",
        "label_smoothing": 0.1,
        "clip": 1.0,
        "checkpoint_every": 4,
        "precise_norms": 64,
    },
    "adamw": {"optimizer": "adamw", "learning_rate": 0.003, "select": "last"},
    "caffe-sgd": {"optimizer": "caffe-sgd", "schedule": "step", "normalize": "pixel"},
    "processes": {"processes": 2, "crop": "pad", "ema": 0.9, "checkpoint_every": 4},
    "growing images": {"grow": (0.5, 1.0), "optimizer": "muon", "select": "last"},
    "warm-up by error": {"warmup_error": 0.88, "warmup": 0.0, "schedule": "constant"},
}
STEPS = 18  # three epochs of six


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each variant leaves when nothing disturbs it."""
    found = {}
    for name, changes in VARIANTS.items():
        job = tiny.job(**changes)
        run = tiny.begin(job, tmp_path_factory.mktemp("undisturbed"))
        tiny.fit(job, run)
        found[name] = tiny.outcome(run)
        assert found[name]["newest"] == STEPS
    return found


def stop_at(step: int, run: RunDirectory, **changes: Any) -> None:
    """Train until an interrupt during `step`, which is then the newest checkpoint."""
    with pytest.raises(Stopped):
        tiny.fit(tiny.job(**changes), run, step)
    assert checkpoints.saved(run.checkpoints)[0].name == str(step)


@pytest.mark.parametrize("step", [1, 2, 4, 6, 7, 11, 17, 18])
def test_stopping_anywhere_changes_no_bit(
    tmp_path: Path, undisturbed: dict[str, dict[str, Any]], step: int
) -> None:
    """First step, mid-epoch, at a checkpoint, an epoch's last and first step, the last step."""
    changes = VARIANTS["everything"]
    run = tiny.begin(tiny.job(**changes), tmp_path)
    stop_at(step, run, **changes)
    tiny.fit(tiny.job(**changes), run)
    assert tiny.outcome(run) == undisturbed["everything"]


@pytest.mark.parametrize("name", VARIANTS)
def test_stopping_again_and_again_changes_no_bit(
    tmp_path: Path, undisturbed: dict[str, dict[str, Any]], name: str
) -> None:
    changes = VARIANTS[name]
    run = tiny.begin(tiny.job(**changes), tmp_path)
    for step in (1, 2, 5, 9, 12, 13, 16):
        stop_at(step, run, **changes)
    tiny.fit(tiny.job(**changes), run)
    assert tiny.outcome(run) == undisturbed[name]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_finishes_the_step_saves_and_stops(
    tmp_path: Path, undisturbed: dict[str, dict[str, Any]], number: int
) -> None:
    job, interrupt = tiny.job(**VARIANTS["adamw"]), Interrupt()
    run = tiny.begin(job, tmp_path)
    with pytest.raises(Stopped), interrupt.listening():
        for event in workflow.follow(job, run, interrupt):
            if isinstance(event, Advance) and event.step == 8:
                os.kill(os.getpid(), number)
    assert run.info()["status"] == "stopped"
    assert run.info()["seconds"] > 0
    tiny.fit(tiny.job(**VARIANTS["adamw"]), run)
    assert tiny.outcome(run) == undisturbed["adamw"]


def test_an_abandoned_loop_loses_steps_but_no_bits(
    tmp_path: Path, undisturbed: dict[str, dict[str, Any]]
) -> None:
    """Whoever stops listening to the events stops the training, as a kill does."""
    changes = VARIANTS["everything"]
    run = tiny.begin(tiny.job(**changes), tmp_path)
    for last in (1, 5, 11):
        job = tiny.job(**changes)
        events = train(job.task, job.recipe, run, job.execution)
        for event in events:
            if isinstance(event, Advance) and event.step == last:
                break
        events.close()  # type: ignore[attr-defined]
    tiny.fit(tiny.job(**changes), run)
    assert tiny.outcome(run) == undisturbed["everything"]


@pytest.mark.parametrize("part", ["weights.safetensors", "state.safetensors", "manifest.json"])
def test_a_broken_checkpoint_costs_steps_but_no_bits(
    tmp_path: Path, undisturbed: dict[str, dict[str, Any]], part: str
) -> None:
    changes = VARIANTS["everything"]
    run = tiny.begin(tiny.job(**changes), tmp_path)
    stop_at(15, run, **changes)
    file = run.checkpoints / "15" / part
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)

    events = tiny.fit(tiny.job(**changes), run)
    notes = [event.text for event in events if isinstance(event, Note)]
    assert "15.corrupt" in notes[0] and notes[1] == "continuing from step 12"
    assert tiny.outcome(run) == undisturbed["everything"]


def test_a_full_disk_stops_with_the_last_checkpoint_and_costs_no_bits(
    tmp_path: Path, undisturbed: dict[str, dict[str, Any]]
) -> None:
    changes = VARIANTS["adamw"]
    run = tiny.begin(tiny.job(**changes), tmp_path)
    stop_at(7, run, **changes)
    with largest_file(50_000), pytest.raises(OutOfResources) as error:
        tiny.fit(tiny.job(**changes), run)
    assert "12" in error.value.where
    assert [path.name for path in run.checkpoints.iterdir() if path.name.startswith(".")] == []
    tiny.fit(tiny.job(**changes), run)
    assert tiny.outcome(run) == undisturbed["adamw"]


CHILD = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import tiny
from residua.runs import RunDirectory
from residua.training import train
job, run = tiny.job(**eval(sys.argv[2])), RunDirectory(Path(sys.argv[1]))
for event in train(job.task, job.recipe, run, job.execution):
    print(type(event).__name__, event.step if hasattr(event, "step") else "", flush=True)
"""


def test_kill_9_at_random_moments_changes_no_bit(
    tmp_path: Path, undisturbed: dict[str, dict[str, Any]]
) -> None:
    """Each session is killed, the last runs to the end; what was reported as saved is there."""
    changes, dice = VARIANTS["everything"], random.Random(1)
    run = tiny.begin(tiny.job(**changes), tmp_path)
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(run.path), repr(changes)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(dice.randint(1, 12))]
        time.sleep(dice.random() * 0.02)
        child.kill()
        lines += child.communicate()[0].splitlines()
        assert lines[0] != "", "the child ended before it began"
        promised = [int(line.split()[1]) for line in lines if line.startswith("Saved")]
        kept = [int(path.name) for path in checkpoints.saved(run.checkpoints)]
        assert max(promised, default=0) <= max(kept, default=0)
        for path in checkpoints.saved(run.checkpoints):
            checkpoints.load(path)
    tiny.fit(tiny.job(**changes), run)
    assert tiny.outcome(run) == undisturbed["everything"]


FILES = {"epochs": 2, "batch": 4, "size": 10, "fit": "crop", "flip": True, "validation": 0.25}


@pytest.mark.parametrize("crop", ["pad", "area"])
def test_where_images_lie_and_how_many_workers_decode_changes_no_bit(
    tmp_path: Path, crop: str
) -> None:
    source = tiny.folder(tmp_path / "colors")
    outcomes = []
    places = [(0, False), (2, False)] + [(0, True)] * (crop == "pad")
    for workers, held in places:
        job = tiny.job(source, **FILES, crop=crop, workers=workers, in_memory=held)
        run = tiny.begin(job, tmp_path / "runs")
        tiny.fit(job, run)
        outcomes.append(tiny.outcome(run))

    job = tiny.job(source, **FILES, crop=crop, workers=2, in_memory=False)
    run = tiny.begin(job, tmp_path / "runs")
    with pytest.raises(Stopped):
        tiny.fit(job, run, 3)
    tiny.fit(tiny.job(source, **FILES, crop=crop, workers=1, in_memory=False), run)
    outcomes.append(tiny.outcome(run))
    assert all(outcome == outcomes[0] for outcome in outcomes)


# What a run leaves --------------------------------------------------------------------------------


def test_rows_say_what_happened(tmp_path: Path) -> None:
    job = tiny.job(steps=14, epochs=None, schedule="cosine")
    run = tiny.begin(job, tmp_path)
    events = tiny.fit(job, run)
    rows = run.metrics()
    assert [(r["split"], r["epoch"], r["step"]) for r in rows] == [
        (split, epoch, step)
        for epoch, step in ((1, 6), (2, 12), (3, 14))
        for split in ("train", "validation")
    ]
    learned = [row for row in rows if row["split"] == "train"]
    for row in learned:
        assert row["learning_rate"] == learning_rate(job.recipe, (row["step"] - 1) / 14)
        assert row["images_per_second"] > 0
    assert sorted(row["seconds"] for row in learned) == [row["seconds"] for row in learned]
    assert rows[-1]["error"] < 0.6 < rows[0]["error"] + 0.3  # it learns

    advances = [event for event in events if isinstance(event, Advance)]
    assert [event.step for event in advances] == list(range(1, 15))
    assert {event.steps for event in advances} == {14}
    epochs = [event for event in events if isinstance(event, Epoch)]
    assert [row for epoch in epochs for row in epoch.rows] == rows
    assert learned[0]["loss"] == pytest.approx(sum(e.loss for e in advances[:6]) / 6, rel=1e-5)


def test_saved_is_said_when_the_checkpoint_is_there(tmp_path: Path) -> None:
    job = tiny.job(checkpoint_every=4)
    run = tiny.begin(job, tmp_path)
    said = []
    for event in train(job.task, job.recipe, run, job.execution):
        if isinstance(event, Saved):
            assert checkpoints.load(event.path).step == event.step
            assert len(checkpoints.saved(run.checkpoints)) <= 2
            said.append(event.step)
    assert said == [4, 6, 8, 12, 16, 18]


def test_the_images_of_each_step_are_logged_once_over_resumes(tmp_path: Path) -> None:
    job = tiny.job()
    whole = io.StringIO()
    tiny.fit(job, tiny.begin(job, tmp_path), log=whole)
    run, pieces = tiny.begin(job, tmp_path), io.StringIO()
    with pytest.raises(Stopped):
        tiny.fit(tiny.job(), run, 8, log=pieces)
    tiny.fit(tiny.job(), run, log=pieces)
    assert pieces.getvalue() == whole.getvalue()

    lines = [line.split("\t") for line in whole.getvalue().splitlines()]
    assert [int(step) for step, _ in lines] == [step for step in range(STEPS) for _ in range(32)]
    for epoch in range(3):
        seen = [name for step, name in lines if int(step) // 6 == epoch]
        assert len(set(seen)) == len(seen) == 192


def error_of(weights: checkpoints.Weights, job: prepare.Job) -> float:
    """The validation error, counted anew."""
    assert job.task.validation is not None
    network, wrong = weights.build(), 0
    with torch.inference_mode():
        for batch in evaluation(
            job.task.validation, weights.preprocessing, 64, torch.device("cpu")
        ):
            wrong += int((network(batch.images).argmax(1) != batch.labels).sum())
    return wrong / len(job.task.validation)


def test_best_selects_the_lowest_validation_error_and_last_the_last(tmp_path: Path) -> None:
    found = {}
    for select in ("best", "last"):
        # A rate so high that later epochs are worse: the best is not the last.
        job = tiny.job(select=select, epochs=5, schedule="constant", learning_rate=1.5, seed=2)
        run = tiny.begin(job, tmp_path)
        tiny.fit(job, run)
        found[select] = job, run, checkpoints.read_weights(run.weights)
    job, run, weights = found["best"]
    errors = [row["error"] for row in run.metrics() if row["split"] == "validation"]
    assert error_of(weights, job) == weights.metrics["error"] == min(errors) < errors[-1]
    assert weights.metrics["epoch"] == max(n for n, e in enumerate(errors, 1) if e == min(errors))
    job, run, weights = found["last"]
    newest = checkpoints.latest(run.checkpoints)[0]
    assert newest is not None
    assert all(torch.equal(weights.tensors[k], newest.weights[k]) for k in weights.tensors)
    assert error_of(weights, job) == errors[-1]


def test_of_equal_errors_the_later_weights_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have learned for longer; only the first of them is news."""
    monkeypatch.setattr(training, "measure", lambda *args: (1.0, 9))
    job = tiny.job()
    run = tiny.begin(job, tmp_path)
    events = tiny.fit(job, run)
    assert [event.best for event in events if isinstance(event, Epoch)] == [True, False, False]
    weights, newest = checkpoints.read_weights(run.weights), checkpoints.latest(run.checkpoints)[0]
    assert weights.metrics["epoch"] == 3 and newest is not None
    assert all(torch.equal(weights.tensors[k], newest.weights[k]) for k in weights.tensors)


def test_without_a_validation_split_the_last_weights_are_kept(tmp_path: Path) -> None:
    job = tiny.job(validation=0, epochs=1)
    run = tiny.begin(job, tmp_path)
    tiny.fit(job, run)
    assert [row["split"] for row in run.metrics()] == ["train"]
    newest = checkpoints.latest(run.checkpoints)[0]
    tensors = checkpoints.read_weights(run.weights).tensors
    assert newest is not None and all(torch.equal(tensors[k], newest.weights[k]) for k in tensors)


def test_the_average_is_what_is_measured_and_kept(tmp_path: Path) -> None:
    job = tiny.job(ema=0.5)
    run = tiny.begin(job, tmp_path)
    tiny.fit(job, run)
    weights = checkpoints.read_weights(run.weights)
    assert error_of(weights, job) == weights.metrics["error"]
    newest = checkpoints.latest(run.checkpoints)[0]
    assert newest is not None
    name = "head.linear.weight"
    assert not torch.equal(weights.tensors[name], newest.weights[name])


def test_finishing_a_finished_run_changes_no_bit(tmp_path: Path) -> None:
    """Precise norms included, which are computed from the selected weights."""
    changes = {"precise_norms": 96, "epochs": 1}
    job = tiny.job(**changes)
    run = tiny.begin(job, tmp_path)
    tiny.fit(job, run)
    once = tiny.outcome(run)
    newest = checkpoints.latest(run.checkpoints)[0]
    tensors = checkpoints.read_weights(run.weights).tensors
    assert newest is not None
    changed = {k for k in tensors if not torch.equal(tensors[k], newest.weights[k])}
    assert changed and all("running" in k or "num_batches" in k for k in changed)
    assert tiny.fit(tiny.job(**changes), run) == [Note("continuing from step 6")]
    assert tiny.outcome(run) == once


# Divergence ---------------------------------------------------------------------------------------


def finite(run: RunDirectory) -> bool:
    """Whether everything that the run keeps is finite."""
    for path in checkpoints.saved(run.checkpoints):
        checkpoints.load(path)  # which refuses what is not
    if run.weights.exists():
        checkpoints.read_weights(run.weights)
    json.loads(json.dumps(run.metrics(), allow_nan=False))
    return True


def diverge(job: prepare.Job, parent: Path) -> tuple[RunDirectory, Diverged]:
    run = tiny.begin(job, parent)
    with pytest.raises(Diverged) as diverged:
        list(workflow.follow(job, run))
    assert run.info()["status"] == "diverged"
    assert finite(run)
    return run, diverged.value


def test_too_high_a_rate_diverges(tmp_path: Path) -> None:
    _, error = diverge(tiny.job(learning_rate=1e6, warmup=0, schedule="constant"), tmp_path)
    assert error.exit_code == 5 and "learning rate" in error.where and "step" in error.what


@pytest.mark.parametrize("steps_per_epoch", [1, 6])
@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_weights_that_overflow_in_an_epochs_last_step_are_not_kept(
    tmp_path: Path, steps_per_epoch: int, ema: float
) -> None:
    """The loss of the step is still finite, and nothing else would look at the weights."""
    job = tiny.job(batch=192 // steps_per_epoch, epochs=2, ema=ema)
    run, weight = tiny.begin(job, tmp_path), next(job.task.network.parameters())
    with pytest.raises(Diverged):
        for event in train(job.task, job.recipe, run, job.execution):
            if isinstance(event, Advance) and event.step == steps_per_epoch:
                assert weight.grad is not None
                weight.grad.fill_(float("nan"))
    assert checkpoints.saved(run.checkpoints) == []
    assert not run.weights.exists()
    assert run.metrics() == [] and finite(run)


@pytest.mark.parametrize("kind", ["parameter", "statistic"])
def test_poisoned_weights_diverge_before_anything_is_kept(tmp_path: Path, kind: str) -> None:
    job = tiny.job()
    with torch.no_grad():
        if kind == "parameter":
            next(job.task.network.parameters())[3, 0, 0, 0] = float("nan")
        else:
            norm = next(m for m in job.task.network.modules() if hasattr(m, "running_var"))
            norm.running_var[0] = float("inf")  # type: ignore[index, operator]
    run, _ = diverge(job, tmp_path)
    assert checkpoints.saved(run.checkpoints) == []


def test_an_optimizer_that_overflows_is_divergence_too(tmp_path: Path) -> None:
    """AdamW's squared gradients overflow before its weights do."""
    job = tiny.job(optimizer="adamw", epochs=1, learning_rate=1e-3)
    run, weight = tiny.begin(job, tmp_path), next(job.task.network.parameters())
    with pytest.raises(Diverged):
        for event in train(job.task, job.recipe, run, job.execution):
            if isinstance(event, Advance) and event.step == 2:
                assert weight.grad is not None
                weight.grad.fill_(1e30)
    assert finite(run) and checkpoints.saved(run.checkpoints) == []


def test_a_diverged_run_keeps_what_came_before(tmp_path: Path) -> None:
    job = tiny.job(epochs=3)
    run, weight = tiny.begin(job, tmp_path), next(job.task.network.parameters())
    with pytest.raises(Diverged):
        for event in train(job.task, job.recipe, run, job.execution):
            if isinstance(event, Advance) and event.step == 9:
                assert weight.grad is not None
                weight.grad.fill_(float("inf"))
    assert [path.name for path in checkpoints.saved(run.checkpoints)] == ["6"]
    assert finite(run) and run.weights.exists()


# Time and rate ------------------------------------------------------------------------------------


class Clock:
    """A clock that only training moves: `cost` seconds a step, which may change on the way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *costs: float) -> None:
        self.now, self.taken, self.costs = 1000.0, 0, costs
        for module in (training, feeding):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now))
            monkeypatch.setattr(module, "steps", self.steps)

    def steps(self, learner: Learner, *arguments: Any) -> Iterator[Step]:
        for step in steps(learner, *arguments):
            self.now += self.costs[min(self.taken // 40, len(self.costs) - 1)]
            self.taken += 1
            yield step


@pytest.mark.parametrize(
    ("costs", "stop"),
    [((1.0,), None), ((1.0, 0.5), None), ((0.5, 1.0), None), ((2.0, 0.4), None), ((1.0, 0.5), 30)],
)
def test_a_time_budget_ends_the_schedule_near_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, costs: tuple[float, ...], stop: int | None
) -> None:
    """On machines that become faster or slower on the way, in one session or two."""
    clock, budget = Clock(monkeypatch, *costs), 100.0
    changes = {"time": budget, "epochs": None, "batch": 8, "schedule": "one-cycle"}
    changes |= {"processes": 1, "fused": True, "compile": False}  # nothing to probe before

    def job() -> prepare.Job:
        return tiny.job(tiny.digits(160, 20), **changes)

    run = tiny.begin(job(), tmp_path)
    began, pause = clock.now + feeding.PROBE * costs[0], 0.0
    if stop:
        with pytest.raises(Stopped):
            tiny.fit(job(), run, stop)
        pause = 1e6  # which does not count
        clock.now += pause
    events = tiny.fit(job(), run)
    assert clock.now - pause - began == pytest.approx(budget, rel=0.05)

    last = [event for event in events if isinstance(event, Advance)][-1]
    assert last.step == tiny.outcome(run)["newest"]
    rates = [row["learning_rate"] for row in run.metrics() if row["split"] == "train"]
    assert rates[-1] <= 0.1 * max(rates)
    assert max(rates) <= 0.05


def test_the_probe_leaves_the_network_alone(tmp_path: Path) -> None:
    job = tiny.job(epochs=1)
    before = {name: value.clone() for name, value in job.task.network.state_dict().items()}
    seconds = feeding.step_seconds(job.task, job.recipe, job.execution)
    after = job.task.network.state_dict()
    assert 0 < seconds < 10
    assert all(torch.equal(before[name], after[name]) for name in before)


def rates_of(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The rate of every step, as the optimizer has it."""
    rates: list[float] = []

    def watched(learner: Learner, *arguments: Any) -> Iterator[Step]:
        for step in steps(learner, *arguments):
            rates.append(learner.optimizer.param_groups[0]["lr"])
            yield step

    monkeypatch.setattr(training, "steps", watched)
    return rates


def test_a_warm_up_by_error_ends_once_and_stays_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth of the rate until the running training error is low enough, then all of it."""
    changes = {"warmup_error": 0.93, "warmup": 0.0, "schedule": "constant", "epochs": 6}
    job = tiny.job(**changes)
    run = tiny.begin(job, tmp_path)
    rates = rates_of(monkeypatch)
    tiny.fit(job, run)
    switch = rates.index(0.05)
    assert 2 < switch < len(rates) - 2
    assert rates == pytest.approx([0.005] * switch + [0.05] * (len(rates) - switch))

    again = tiny.begin(job, tmp_path)
    with pytest.raises(Stopped):
        tiny.fit(tiny.job(**changes), again, switch + 1)
    rates.clear()
    tiny.fit(tiny.job(**changes), again)
    assert set(rates) == {0.05}
