"""A run from its directory to its report.

begin       make the directory of a new run, or
reopen      take one up again
follow      train in it, test once, draw and report
"""

import csv
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from residua import checkpoints, datasets, plots, report, settings
from residua.datasets.dataset import Dataset, Split
from residua.environment import environment
from residua.errors import Diverged, Refused, Stopped
from residua.evaluate import Evaluation
from residua.evaluate import write as write_evaluation
from residua.events import Event
from residua.execution import Execution
from residua.interrupt import Interrupt
from residua.prepare import Job, complete
from residua.runs import DONE, RunDirectory
from residua.testing import Asking, evaluate, leaks
from residua.training import train

WORST = 24  # mistakes on the picture sheet
LAST = "the end of training"  # why the test split is read once
INIT = "init.safetensors"  # what a run began with: the source may change or go


class Finished(NamedTuple):
    """The run is complete; the evaluation is None where the data has no test split."""

    evaluation: Evaluation | None


def begin(job: Job, parent: Path, command: Sequence[str]) -> RunDirectory:
    """Make the directory of a new run."""
    recipe, task = job.recipe, job.task
    run = RunDirectory.create(parent, job.dataset.name, task.network.name)
    run.write_json("recipe.json", settings.as_json(recipe, job.sources, job.name))
    if not job.dataset.splits["train"].in_memory:
        run.write_text("splits.csv", splits_table(job))
    if job.start is not None:
        checkpoints.write_weights(run.path / INIT, job.start)
    run.update(
        {
            "status": "new",
            "command": list(command),
            **environment(),
            "device": str(job.execution.device),
            "precision": job.execution.precision,
            "threads": job.execution.threads,
            "processes": job.execution.processes,
            "fused": job.execution.fused,
            "compiled": job.execution.compiled,
            "kept": job.execution.plan.keep if job.execution.plan else "all",
            "data": job.dataset.describe(),
            "notes": [*job.dataset.notes, *job.notes],
            "seed": recipe.seed,
            "parameters": sum(weight.numel() for weight in task.network.parameters()),
            "started": now(),
            "test_reads": [],
        }
    )
    return run


def splits_table(job: Job) -> str:
    """Which file is in which split, as a CSV that `residua train` takes for data."""
    file = io.StringIO()
    table = csv.writer(file)
    table.writerow(("path", "label", "split"))
    for role, split in job.splits.items():
        paths = split.images if not split.in_memory else split.names
        for path, label in zip(paths or (), split.labels.tolist(), strict=True):
            table.writerow((path, job.dataset.classes[label], role))
    return file.getvalue()


def reopen(path: Path) -> tuple[RunDirectory, Job]:
    """Take up a run where it stopped.

    Raises:
        BadData: `path` is not a run.
        Refused: the data has changed since.
    """
    run = RunDirectory.open(path)
    name, stored = settings.read_config(run.path / "recipe.json")
    recipe, _ = settings.resolve(name or "auto", [("recipe.json", stored)])
    sources, info = run.read_json("recipe.json").get("sources", {}), run.info()
    dataset = datasets.load(info["data"]["source"], info["data"]["seed"])
    if dataset.fingerprint != info["data"]["fingerprint"]:
        raise Refused(
            "the data has changed since the run began",
            where=f"{dataset.source}: {differences(info['data'], dataset.describe())}",
            fix="restore it, or train anew",
        )
    start = None
    if (run.path / INIT).exists():
        start = checkpoints.read_weights(run.path / INIT)
    elif recipe.init is not None:  # a run of version 0.1 kept no copy
        start = checkpoints.open_weights(Path(recipe.init))
    return run, complete(dataset, recipe, name or "auto", sources, start, path.parent)


def differences(before: dict[str, Any], after: dict[str, Any]) -> str:
    """What a person can see of a change between two descriptions of a data set."""
    changed = [
        f"{key} was {before.get(key)} and is {after[key]}"
        for key in after
        if key != "fingerprint" and before.get(key) != after[key]
    ]
    return "; ".join(changed) or "the same number of images, but not the same content"


def follow(
    job: Job,
    run: RunDirectory,
    interrupt: Interrupt | None = None,
    log: TextIO | None = None,
) -> Iterator[Event | Finished]:
    """Train in a run directory, test once, draw and report, telling what happens on the way.

    Raises:
        Locked: another process writes there.
        Diverged, Stopped, OutOfResources: the run says so in its status, and can be resumed.
    """
    with run.lock():
        began = time.monotonic()
        before = run.info().get("seconds", 0.0)

        def ended(status: str) -> dict[str, Any]:
            seconds = round(before + time.monotonic() - began, 1)  # of all sessions
            return {"status": status, "ended": now(), "seconds": seconds}

        run.update({"status": "running"})
        try:
            yield from train(job.task, job.recipe, run, job.execution, interrupt, log)
            tested = test_once(job, run)
        except BaseException as error:
            run.update(ended(status_after(error)))
            raise
        run.update(ended(DONE) | {"best": best(run)})
        rows = run.metrics()
        plots.save(partial(plots.curves, rows), run.figures, "curves", rows)
        write_report(run)
    yield Finished(tested)


def status_after(error: BaseException) -> str:
    match error:
        case Stopped() | KeyboardInterrupt() | GeneratorExit():
            return "stopped"
        case Diverged():
            return "diverged"
        case _:
            return "failed"


def test_once(job: Job, run: RunDirectory) -> Evaluation | None:
    """Ask the selected weights about the test split, where the data has one."""
    if "test" not in job.dataset.splits:
        return None
    weights = checkpoints.read_weights(run.weights)
    asking = Asking(workers=job.recipe.workers or 0)
    tested, _ = evaluate([weights], job.dataset, "test", plain(job.execution), asking)
    keep(tested, run, job.dataset, LAST)
    return tested


def best(run: RunDirectory) -> dict[str, Any] | None:
    """The epoch of the lowest validation error, the later one of equals."""
    rows = [row for row in run.metrics() if row["split"] == "validation"]
    lowest = min(rows, key=lambda row: (row["error"], -row["epoch"]), default=None)
    return lowest and {"epoch": lowest["epoch"], "error": lowest["error"]}


def plain(run_on: Execution) -> Execution:
    """The same device in float32, in which a count does not depend on the batch size."""
    return replace(run_on, precision="fp32")


def is_own(run: RunDirectory, dataset: Dataset) -> bool:
    """Whether a data set is the one that the run was trained on."""
    return bool(run.info()["data"]["fingerprint"] == dataset.fingerprint)


def keep(
    tested: Evaluation,
    run: RunDirectory,
    dataset: Dataset,
    why: str,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write an evaluation into the run, and that its test split was read.

    Returns `more`, which was found about it before, with what is found here.
    """
    about = {**(more or {}), **(leaks(tested, dataset) if tested.split == "test" else {})}
    write_evaluation(tested, run.evaluations, about)
    note_reading(tested, run, why)
    if tested.protocol.name == "single":  # what follows is of what the network is used for
        draw_answers(tested, run, dataset.splits[tested.split])
    return about


def note_reading(tested: Evaluation, run: RunDirectory, why: str) -> None:
    """Write into the run that its test split was read, if it was, and what was seen of it."""
    info = run.info()
    reads = info.get("test_reads", [])
    read = {
        "why": why,
        "protocol": tested.protocol.slug,
        "weights": tested.weights[0],
        "error": tested.error,
        "early": why != LAST and info.get("status") != DONE,  # what follows may be chosen by it
    }
    if tested.split == "test" and read not in reads:  # a resumed run reads the same again
        run.update({"test_reads": [*reads, read]})


def draw_answers(tested: Evaluation, run: RunDirectory, split: Split) -> None:
    """Write what was answered to each image, and draw what was confused."""
    rows = tested.rows()
    file = io.StringIO()
    table = csv.DictWriter(file, list(rows[0]))
    table.writeheader()
    table.writerows(rows)
    run.write_text("predictions.csv", file.getvalue())
    draw = partial(plots.confusion, tested.confusion, tested.classes)
    plots.save(draw, run.figures, "confusion")
    draw_mistakes(tested, run, split)


def draw_mistakes(tested: Evaluation, run: RunDirectory, split: Split) -> None:
    """Draw the pictures that cost most."""
    wrong = np.flatnonzero(~tested.right & tested.readable)
    worst = wrong[np.argsort(-tested.losses[wrong], kind="stable")][:WORST]
    titles = [
        plots.mistake(
            tested.classes[tested.labels[index]],
            tested.classes[tested.predictions[index]],
            float(tested.scores[index].max()),
        )
        for index in worst
    ]
    pictures = [split.pixels(int(index)) for index in worst]
    plots.save(partial(plots.worst, pictures, titles), run.figures, "worst")


def write_report(run: RunDirectory) -> Path:
    """Write the run's card and page from what the directory holds."""
    run.write_text("CARD.md", report.card(run))
    run.write_text("report.html", report.page(run))
    return run.path / "report.html"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
