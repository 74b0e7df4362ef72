"""A run from its directory to its report, and taken up again."""

import csv
import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from residua import api, datasets, settings, testing
from residua.errors import BadData, Locked, Refused
from residua.evaluate import read as read_evaluation
from residua.evaluate import read_numbers
from residua.events import Advance
from residua.execution import execution
from residua.prepare import prepare
from residua.protocols import Protocol
from residua.recipes import Recipe
from residua.runs import RunDirectory
from residua.workflow import Finished, follow, keep, reopen


def test_a_run_directory_is_complete(finished: api.Run) -> None:
    for name in (
        "recipe.json",
        "metrics.jsonl",
        "weights.safetensors",
        "evaluations/single.json",
        "predictions.csv",
        "report.html",
        "CARD.md",
        "figures/curves.png",
        "figures/curves.svg",
        "figures/curves.csv",
        "figures/confusion.png",
        "figures/worst.png",
    ):
        assert (finished.path / name).stat().st_size > 0, name
    info = finished.info
    assert info["status"] == "done"
    assert info["data"]["images"] == {"train": 1437, "test": 360}
    assert (info["seed"], info["threads"], info["device"]) == (0, 1, "cpu")
    assert info["parameters"] == sum(w.numel() for w in finished.network().parameters())
    assert info["started"] <= info["ended"] and info["seconds"] > 0
    errors = {r["epoch"]: r["error"] for r in finished.metrics if r["split"] == "validation"}
    assert info["best"]["error"] == min(errors.values()) == errors[info["best"]["epoch"]]


def test_the_test_images_are_read_once_and_the_run_says_so(finished: api.Run) -> None:
    (read,) = finished.info["test_reads"]
    table = json.loads((finished.path / "evaluations" / "single.json").read_text())
    assert read["error"] == table["error"] and read["weights"] == table["weights"]
    assert read["why"] == "the end of training"
    assert table["weights"] == tiny.sha256(finished.path / "weights.safetensors")
    assert table["data"] == finished.info["data"]["fingerprint"]


def test_predictions_recount_the_error(finished: api.Run) -> None:
    text = (finished.path / "predictions.csv").read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    table = json.loads((finished.path / "evaluations" / "single.json").read_text())
    assert sum(row["label"] != row["prediction"] for row in rows) == table["wrong"]
    assert (len(rows), table["total"]) == (360, 360)
    assert table["error"] < 0.4  # two short epochs learn something


def test_the_recipe_file_repeats_the_run(finished: api.Run, tmp_path: Path) -> None:
    """`residua train DATA --config recipe.json`, to the same bits."""
    name, values = settings.read_config(finished.path / "recipe.json")
    job = prepare("digits", name or "", [("recipe.json", values)])
    run = tiny.begin(job, tmp_path)
    tiny.fit(job, run)
    assert tiny.outcome(run) == tiny.outcome(finished.directory)


def stopped_run(parent: Path, source: Any, at: int = 4, **changes: Any) -> RunDirectory:
    """A run in `parent` that was abandoned after step `at`."""
    job = tiny.job(source, **{"epochs": 1, "batch": 4, "size": 12, "checkpoint_every": 1} | changes)
    run = tiny.begin(job, parent)
    events = follow(job, run)
    for event in events:
        if isinstance(event, Advance) and event.step == at:
            break
    events.close()  # type: ignore[attr-defined]
    assert run.info()["status"] == "stopped"
    return run


def resumed(run: RunDirectory) -> Finished:
    directory, job = reopen(run.path)
    *_, last = follow(job, directory)
    assert isinstance(last, Finished)
    return last


def test_a_stopped_run_is_taken_up_and_ends_like_another(tmp_path: Path) -> None:
    source = tiny.folder(tmp_path / "colors", splits=("train", "test"))
    runs = []
    for name, at in (("one", 3), ("two", 5)):
        run = stopped_run(tmp_path / name, source, at)
        before = run.info()["seconds"]
        tested = resumed(run).evaluation
        assert tested is not None and tested.total == 30
        assert run.info()["status"] == "done" and run.info()["seconds"] > before
        assert len(run.info()["test_reads"]) == 1
        runs.append(run)
    assert tiny.outcome(runs[0]) == tiny.outcome(runs[1])


CHANGES: dict[str, Callable[[Path], Any]] = {
    "added": lambda red: (red / "new.png").write_bytes((red / "0.png").read_bytes()),
    "removed": lambda red: (red / "0.png").unlink(),
    "renamed": lambda red: (red / "0.png").rename(red / "00.png"),
    "relabelled": lambda red: (red / "0.png").rename(red.parent / "green" / "x.png"),
    "edited": lambda red: edit(red / "0.png"),
    "class renamed": lambda red: red.rename(red.parent / "rouge"),
}


def edit(path: Path) -> None:
    """Other bytes of the same length, and the old time."""
    data, times = bytearray(path.read_bytes()), path.stat()
    data[-20] ^= 1  # in the checksum of the last chunk or before it
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("change", CHANGES)
def test_changed_data_is_refused(tmp_path: Path, change: str) -> None:
    source = tiny.folder(tmp_path / "colors", splits=("train", "test"))
    run = stopped_run(tmp_path / "runs", source)
    CHANGES[change](
        source / "test" / "red" if change != "class renamed" else source / "train" / "red"
    )
    with pytest.raises((Refused, BadData)) as refused:
        reopen(run.path)
    assert str(source) in refused.value.where
    if change in ("added", "removed"):
        assert "images was" in refused.value.where


def test_a_run_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    source = tiny.folder(tmp_path / "colors", splits=("train", "test"))
    run = stopped_run(tmp_path / "runs", source)
    pid = os.fork()
    if pid == 0:
        try:
            with run.lock():
                (tmp_path / "held").touch()
                while not (tmp_path / "done").exists():
                    pass
        finally:
            os._exit(0)
    while not (tmp_path / "held").exists():
        pass
    before = run.info()
    try:
        with pytest.raises(Locked, match=f"process {pid}"):
            resumed(run)
    finally:
        (tmp_path / "done").touch()
        os.waitpid(pid, 0)
    assert run.info() == before


def test_an_error_leaves_its_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tiny.folder(tmp_path / "colors", splits=("train", "test"))
    job = tiny.job(source, epochs=1, batch=4, size=12, in_memory=False)
    run = tiny.begin(job, tmp_path / "runs")
    assert run.info()["status"] == "new"
    assert isinstance(job.task.train.images, tuple)
    job.task.train.images[0].write_bytes(b"")
    with pytest.raises(BadData):
        list(follow(job, run))
    assert run.info()["status"] == "failed"


def test_a_run_records_which_file_was_in_which_split(tmp_path: Path) -> None:
    """As a table that can be trained on, and that gives the same splits."""
    source = tiny.folder(tmp_path / "colors")
    job = tiny.job(source, size=12)
    run = tiny.begin(job, tmp_path / "runs")
    table = datasets.load(run.path / "splits.csv")
    assert table.describe()["images"] == {role: len(split) for role, split in job.splits.items()}
    for role, split in job.splits.items():
        paths = split.images if isinstance(split.images, tuple) else ()
        assert table.splits[role].images == tuple(sorted(paths)) or set(
            table.splits[role].images  # type: ignore[arg-type]
        ) == set(paths)


def test_a_folder_whose_name_is_not_unicode_trains(tmp_path: Path) -> None:
    source = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    tiny.folder(source, splits=("train", "test"))
    run = stopped_run(tmp_path / "runs", source)
    assert resumed(run).evaluation is not None
    assert run.info()["data"]["source"] == str(source)


def test_a_network_is_tested_alike_whatever_the_order_of_classes(finished: api.Run) -> None:
    data, weights = datasets.load("digits"), finished.weights()
    turned = tuple(reversed(data.classes))
    places = torch.tensor([turned.index(name) for name in data.classes])
    splits = {
        role: replace(split, labels=places[split.labels]) for role, split in data.splits.items()
    }
    run_on = execution(Recipe(threads=1))
    one, two = (
        testing.evaluate([weights], source, "test", run_on)[0]
        for source in (data, replace(data, classes=turned, splits=splits))
    )
    assert one.to_dict() | {"seconds": 0} == two.to_dict() | {"seconds": 0}
    assert one.error == finished.info["test_reads"][0]["error"]


@pytest.mark.parametrize(("batch", "workers"), [(1, 0), (7, 2), (500, 0)])
def test_an_evaluation_does_not_depend_on_batches_and_workers(
    finished: api.Run, batch: int, workers: int
) -> None:
    run_on, data = execution(Recipe(threads=1)), datasets.load("digits")
    asking = testing.Asking(workers=workers, batch=batch)
    tested, _ = testing.evaluate([finished.weights()], data, "test", run_on, asking)
    stored = json.loads((finished.path / "evaluations" / "single.json").read_text())
    assert tested.to_dict()["confusion"] == stored["confusion"]
    assert (tested.wrong, tested.names[0]) == (stored["wrong"], data.splits["test"].name(0))


def test_an_evaluation_is_kept_with_its_images_and_can_be_read_again(finished: api.Run) -> None:
    data = datasets.load("digits")
    tested = read_evaluation(finished.path / "evaluations" / "single.json")
    assert tested.total == 360 and tested.data == data.fingerprint
    again, _ = testing.evaluate([finished.weights()], data, "test", execution(Recipe(threads=1)))
    assert (tested.predictions == again.predictions).all() and tested.names == again.names


def test_each_reading_of_the_test_images_is_recorded_once_with_its_protocol(
    tmp_path: Path,
) -> None:
    """Other protocols leave the predictions and figures of the single view alone."""
    source = tiny.folder(tmp_path / "colors", splits=("train", "test"))
    run = stopped_run(tmp_path / "runs", source)
    resumed(run)
    data, weights = datasets.load(source), api.Run(run).weights()
    before = (run.path / "predictions.csv").read_bytes()
    for protocol in (Protocol("ten-crop"), Protocol("multi-scale"), Protocol("ten-crop")):
        asking = testing.Asking(protocol)
        tested, _ = testing.evaluate(
            [weights], data, "test", execution(Recipe(threads=1, device="cpu")), asking
        )
        keep(tested, run, data, "a look")
        assert read_evaluation(run.path / "evaluations" / f"{protocol.slug}.json").total == 30
    reads = run.info()["test_reads"]
    assert [(read["protocol"], read["why"]) for read in reads] == [
        ("single", "the end of training"), ("ten-crop", "a look"), ("multi-scale", "a look"),
    ]  # fmt: skip
    assert all(read["weights"] == weights.sha256 for read in reads)
    assert (run.path / "predictions.csv").read_bytes() == before


def test_copies_in_the_test_images_are_recorded(tmp_path: Path) -> None:
    source = tiny.folder(tmp_path / "colors", size=24, splits=("train", "test"))
    for name in ("red/1.png", "blue/4.png"):
        (source / "test" / name).write_bytes((source / "train" / name).read_bytes())
    run = stopped_run(tmp_path / "runs", source)
    tested = resumed(run).evaluation
    assert tested is not None
    numbers = read_numbers(run.path / "evaluations" / "single.json")
    leaked = numbers["leaked"]
    assert leaked["images"] == ["test/blue/4.png", "test/red/1.png"] and leaked["exact"] == 2
    assert leaked["without"]["total"] == 28 and numbers["total"] == 30
    assert numbers["wrong"] == tested.wrong
