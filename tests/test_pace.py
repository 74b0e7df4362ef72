"""How fast a training goes, and falling back to the plain way where that is no slower."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import tiny

from residua import pace
from residua.errors import OutOfResources
from residua.execution import Execution
from residua.feeding import Task
from residua.pace import PLAIN, quickest
from residua.prepare import Job
from residua.recipes import Recipe

LONG = {"steps": pace.LONG, "epochs": None, "batch": 48}
FAST = {"processes": 2, "fused": True, "compile": False}


def long_job(**changes: Any) -> Job:
    """A training of many steps that asks for every fast way."""
    return tiny.job(**LONG | FAST | changes)


def timed(fast: float, plain: float) -> Callable[..., float]:
    """Steps that take this long in the fast and in the plain way."""

    def step_seconds(task: Task, recipe: Recipe, run_on: Execution, *_: int, **__: float) -> float:
        return plain if run_on.processes == 1 else fast

    return step_seconds


def open_ways(job: Job) -> Recipe:
    """The recipe before anything fast was chosen."""
    return replace(job.recipe, **dict.fromkeys(PLAIN))


@pytest.mark.parametrize(("fast", "kept"), [(0.5, True), (1.05, True), (1.2, False), (9.0, False)])
def test_the_plain_way_is_taken_where_the_fast_one_is_slower(
    monkeypatch: pytest.MonkeyPatch, fast: float, kept: bool
) -> None:
    job = long_job()
    monkeypatch.setattr(pace, "step_seconds", timed(fast, 1.0))
    recipe, run_on, why = quickest(job.task, job.recipe, job.execution, open_ways(job))
    assert (run_on.processes, recipe.processes) == ((2, 2) if kept else (1, 1))
    assert recipe.fused == run_on.fused == kept
    assert bool(why) != kept


def test_what_was_asked_for_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    job = long_job()
    monkeypatch.setattr(pace, "step_seconds", timed(9.0, 1.0))
    asked = replace(open_ways(job), processes=2, fused=True, compile=False)
    assert quickest(job.task, job.recipe, job.execution, asked) == (job.recipe, job.execution, "")


def test_a_way_that_is_slow_once_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program came between."""
    job, seconds = long_job(), iter([9.0, 1.0, 0.5, 1.0])
    monkeypatch.setattr(pace, "step_seconds", lambda *_, **__: next(seconds))
    recipe, run_on, why = quickest(job.task, job.recipe, job.execution, open_ways(job))
    assert (recipe, run_on, why) == (job.recipe, job.execution, "")
    assert next(seconds, None) is None


def test_a_fast_way_that_fails_is_given_up_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = long_job()

    def failing(task: Task, recipe: Recipe, run_on: Execution, *_: int, **__: float) -> float:
        if run_on.processes > 1:
            raise OutOfResources("a process ended")
        return 1.0

    monkeypatch.setattr(pace, "step_seconds", failing)
    recipe, _, why = quickest(job.task, job.recipe, job.execution, open_ways(job))
    assert recipe.processes == 1 and "a process ended" in why


def test_a_short_training_is_not_probed_and_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    job = long_job(steps=20, compile=True)
    monkeypatch.setattr(pace, "step_seconds", lambda *_: pytest.fail("it was probed"))
    recipe, run_on, why = quickest(job.task, job.recipe, job.execution, open_ways(job))
    assert (recipe.compile, run_on.compiled, recipe.processes) == (False, False, 2)
    assert "too few steps" in why


def test_rates_are_measured_and_the_slower_part_is_named() -> None:
    job = tiny.job(processes=2, batch=48)
    found = pace.pace(job.task, job.recipe, job.execution)
    assert min(found) > 0
    assert found.bottleneck in ("loader", "step")
    assert pace.Pace(100.0, 90.0, 50.0).bottleneck == "loader"
    assert pace.Pace(1000.0, 90.0, 50.0).bottleneck == "step"
