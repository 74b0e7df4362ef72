"""A study from its question to its report: budgets, kills, changed data."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from residua import api, inquiry
from residua.datasets import load
from residua.datasets.dataset import Dataset, Split
from residua.errors import BadData, Locked, Refused
from residua.factors import Factors
from residua.inquiry import Concluded, budget_of
from residua.question import Budget
from residua.runs import STUDY, RunDirectory
from residua.trials import affordable

SMALL = {"families": ("plain", "residual"), "depths": (8, 14), "seeds": 1, "epochs": 1.0}
WORDS = ("--families", "plain,residual", "--depths", "8,14", "--seeds", "2", "--epochs", "2")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """A few of the digits."""
    data = load("digits")
    few = {role: split.select(range(0, len(split), 6)) for role, split in data.splits.items()}
    return replace(data, splits=few)


@pytest.fixture(scope="module")
def done(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> api.Studied:
    runs = tmp_path_factory.mktemp("runs")
    return api.study("degradation", digits, budget="1m", workers=2, runs=runs, **SMALL)


def test_a_study_leaves_rows_figures_and_a_page(done: api.Studied) -> None:
    info = done.info
    assert info["status"] == "done"
    assert len(info["rows"]) == info["cells"] == 4
    for row in info["rows"]:
        assert row["status"] == "done"
        assert row["train_error"] == row["train_wrong"] / row["train_images"]
        assert row["curve"][-1][0] == 1
    for key in ("table", "figure"):
        assert (done.path / info[key]).is_file()
    assert (done.path / info["table"]).read_text().startswith("family,depth,seed,status")
    page = (done.path / "report.html").read_text()
    assert info["question"] in page and "Not enough evidence" in page
    assert not list((done.path / "cells").glob("*/"))
    assert not (done.path.parent / "latest").exists()  # which is a run


def test_one_seed_is_not_enough_evidence(done: api.Studied) -> None:
    assert done.info["holds"] is None
    assert "5 seeds are the fewest" in done.info["verdict"]


def test_workers_change_no_number(done: api.Studied, digits: Dataset, tmp_path: Path) -> None:
    alone = api.study("degradation", digits, budget="1m", workers=1, runs=tmp_path, **SMALL)
    assert alone.info["rows"] == done.info["rows"]


def test_a_study_that_is_done_is_told_again(done: api.Studied) -> None:
    run = RunDirectory.open(done.path, STUDY)
    before = run.info()["rows"]
    page = done.report()
    assert page == done.path / "report.html"
    assert run.info()["rows"] == before


def test_a_study_is_not_a_run(done: api.Studied) -> None:
    with pytest.raises(BadData, match=r"no run\.json"):
        api.Run.open(done.path)
    with pytest.raises(BadData, match=r"no study\.json"):
        api.Studied.open(done.path / "cells")


def test_changed_data_is_refused(tmp_path: Path) -> None:
    found = inquiry.prepare("degradation", "digits", SMALL, budget_of("1m", 1))
    run = inquiry.begin(found, tmp_path, ["residua"])
    run.update({"data": run.info()["data"] | {"fingerprint": "other"}})
    with pytest.raises(Refused, match="the data has changed"):
        inquiry.reopen(run.path)


def test_two_processes_do_not_work_on_one_study(tmp_path: Path, digits: Dataset) -> None:
    found = inquiry.prepare("degradation", digits, SMALL, budget_of("1m", 1))
    run = inquiry.begin(found, tmp_path, ["residua"])
    program = (
        "import sys, time; from pathlib import Path; from residua.runs import RunDirectory\n"
        "with RunDirectory(Path(sys.argv[1])).lock(): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(run.path)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(Locked):
            list(inquiry.follow(found, run))
        holder.kill()


@pytest.mark.parametrize(
    ("name", "given", "what"),
    [
        ("degradatoin", {}, "no study named"),
        ("degradation", {"depths": (21,)}, "21"),
        ("degradation", {"families": ("plane",)}, "plane"),
        ("degradation", {"seeds": "many"}, "seeds must be a whole number"),
        ("degradation", {"depth": (20,)}, 'no setting named "depth"'),
        ("degradation", {"networks": ("plain20-cifar",)}, "has no factor networks"),
        ("degradation", {"seeds": 0}, "seeds"),
        ("degradation", {"epochs": -1}, "epochs"),
    ],
)
def test_what_cannot_be_asked(name: str, given: dict[str, object], what: str) -> None:
    with pytest.raises(Refused, match=what) as refused:
        inquiry.prepare(name, "digits", given, budget_of("1m", 1))
    assert refused.value.fix or refused.value.where


@pytest.mark.parametrize("budget", ["soon", "0", "-5m", ""])
def test_what_is_no_budget(budget: str) -> None:
    with pytest.raises(Refused, match="a budget is a time"):
        budget_of(budget, None)


def test_more_workers_than_cores_are_refused() -> None:
    with pytest.raises(Refused, match="so many cores"):
        budget_of("1m", 10_000)


def test_an_open_budget_is_filled(digits: Dataset) -> None:
    long = inquiry.prepare("degradation", digits, {}, budget_of("2d", 1)).factors
    assert long.families == ("plain", "residual", "highway") and long.depths == (20, 56, 110)
    assert long.seeds == 10 and long.epochs == 30
    short = inquiry.prepare("degradation", digits, {}, budget_of("5s", 1)).factors
    assert short.seeds == 5 and short.depths == (8, 32)
    assert (short.epochs or 0) * (short.images or 0) < (long.epochs or 0) * (long.images or 0)
    full = inquiry.prepare("degradation", digits, {}, budget_of("full", 1)).factors
    assert full.depths == (20, 32, 44, 56, 110)


def test_of_many_images_fewer_are_taken_before_fewer_passes(digits: Dataset) -> None:
    subject = inquiry.subject_of(digits, Factors(), None, None)
    many = Split(torch.zeros(50_000, 1, 1, 3, dtype=torch.uint8), torch.zeros(50_000).long())
    subject = replace(subject, train=many)
    hour = Budget("1h", 3600.0, 4)

    def chosen(each: float) -> tuple[Factors, bool]:
        return affordable(subject, Factors(), hour, each)

    cheap, enough = chosen(1e-3)
    assert enough and (cheap.epochs, cheap.images, cheap.seeds) == (30, 50_000, 8)
    usual, enough = chosen(5e-3)
    assert enough and (usual.epochs, usual.images, usual.seeds) == (30, 17_280, 5)
    dear, enough = chosen(1.2e-2)
    assert enough and (dear.epochs, dear.images, dear.seeds) == (21, 10_285, 5)
    short, enough = chosen(1.5e-2)
    assert not enough and (short.epochs, short.images, short.seeds) == (20, 8_640, 5)
    dearest, enough = chosen(1.0)
    assert not enough and (dearest.images or 0) * (dearest.epochs or 0) * 5 <= hour.work
    assert {each.augment for each in (cheap, usual, dear, dearest)} == {False}
    full, enough = affordable(subject, Factors(), Budget("full", None, 4), 1.0)
    assert enough and full.augment and (full.epochs, full.images, full.batch) == (164, 50_000, 128)
    given, enough = affordable(subject, Factors(epochs=3.0, images=9_000), hour, 1e-2)
    assert enough and (given.epochs, given.images) == (3, 9_000)


def rows_after_kills(folder: Path, pauses: list[float]) -> list[dict[str, object]]:
    """A study killed after each of the pauses and taken up again; its rows."""
    base = [sys.executable, "-m", "residua"]
    words = ["study", "degradation", "digits", *WORDS, "--workers", "2", "--runs", str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [*base, *words]
    for pause in pauses:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
        while not list(folder.glob("*/study.json")) and process.poll() is None:
            time.sleep(0.05)
        command = [*base, "resume", str(next(folder.glob("*-1")))]
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    rows: list[dict[str, object]] = json.loads(
        (folder / "digits-degradation-1" / STUDY).read_text()
    )["rows"]
    return rows


def test_a_killed_study_ends_with_the_same_table(tmp_path: Path) -> None:
    undisturbed = rows_after_kills(tmp_path / "whole", [])
    assert rows_after_kills(tmp_path / "killed", [4.0, 4.6, 3.8]) == undisturbed
    assert len(undisturbed) == 8


def test_it_concludes_with_rows_in_the_order_of_the_cells(digits: Dataset, tmp_path: Path) -> None:
    found = inquiry.prepare("degradation", digits, SMALL, budget_of("1m", 2))
    run = inquiry.begin(found, tmp_path, ["residua"])
    *_, last = inquiry.follow(found, run)
    assert isinstance(last, Concluded)
    assert [(row["family"], row["depth"]) for row in last.rows] == [
        ("plain", 8), ("residual", 8), ("plain", 14), ("residual", 14),
    ]  # fmt: skip
