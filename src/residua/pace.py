"""How fast a training goes here, and whether the fast way is the faster one.

Rates are in images a second. A short probe decides between what `execution` promises and the plain
way: one process, the network as it is written. It never decides by less than a tenth, which
machines differ by from one second to the next, and the fast way is given up only if it loses twice:
another program may have come between.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

from residua.batches import steps_per_epoch
from residua.errors import OutOfResources
from residua.execution import Execution, execution, fitted, using_threads
from residua.feeding import Task, alone, endless, step_seconds
from residua.recipes import Recipe
from residua.schedule import planned

PLAIN: Mapping[str, Any] = {"processes": 1, "fused": False, "compile": False}
TURNS = 2  # that the fast way has to lose
PROBE = 8  # steps, of which two warm up
LONG = 1000  # steps from which on a probe costs less than it may save
MARGIN = 1.1
PATIENCE = 20.0  # seconds


class Pace(NamedTuple):
    """Images a second of the parts of a training."""

    loader: float  # gathered, cut and normalized, in all processes together
    both: float  # learned from, with everything that a training does
    plain: float  # the same in the plain way

    @property
    def bottleneck(self) -> str:
        """What to make faster first: a loader that is not well ahead holds the step up."""
        return "loader" if self.loader < 1.5 * self.both else "step"


def pace(task: Task, recipe: Recipe, run_on: Execution) -> Pace:
    """Measure the parts of a training."""
    batch = recipe.batch or len(task.train)
    both = batch / step_seconds(task, recipe, run_on)
    recipe_, plain_ = plainly(task, recipe, PLAIN)
    plain = batch / step_seconds(task, recipe_, plain_, patience=PATIENCE)
    return Pace(loading(task, recipe, run_on), both, plain)


def loading(task: Task, recipe: Recipe, run_on: Execution) -> float:
    """Images a second that come to the device, in all processes together."""
    batches = endless(alone(task, recipe, run_on.device))
    with using_threads(run_on.threads if run_on.processes == 1 else 1):
        next(batches)
        began, images = time.monotonic(), 0
        for batch in islice(batches, PROBE):
            images += len(batch.indices)
        seconds = time.monotonic() - began
        batches.close()
    return run_on.processes * images / seconds


def plainly(task: Task, recipe: Recipe, changes: Mapping[str, Any]) -> tuple[Recipe, Execution]:
    """The recipe with fast ways given up, and where it then runs."""
    changed = replace(recipe, **changes)
    return changed, fitted(execution(changed), task.network, changed)


def quickest(
    task: Task, recipe: Recipe, run_on: Execution, asked: Recipe
) -> tuple[Recipe, Execution, str]:
    """The recipe with the ways that prove faster here.

    Args:
        task, recipe, run_on: what is trained, with the fast ways chosen automatically.
        asked: the recipe before that; what it settles stays.

    Returns:
        The recipe, where it runs, and why a fast way was given up ("" where none was).
    """
    given_up = {
        name: plain
        for name, plain in PLAIN.items()
        if getattr(asked, name) is None and getattr(recipe, name) != plain
    }
    length = steps_per_epoch(task.train, recipe.batch or len(task.train))
    if planned(recipe, length, 0.02).steps < LONG:
        if "compile" not in given_up:
            return recipe, run_on, ""
        return *plainly(task, recipe, {"compile": False}), "too few steps to compile for"
    if not given_up:
        return recipe, run_on, ""
    recipe_, plain_ = plainly(task, recipe, given_up)
    for _ in range(TURNS):
        try:
            fast = step_seconds(task, recipe, run_on, PROBE)
        except (RuntimeError, OutOfResources) as error:  # such as a compiler that fails
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            return recipe_, plain_, f"the fast way failed: {reason}"
        # On a busy machine the plain way may take a hundred times as long; two are answer enough.
        slow = step_seconds(task, recipe_, plain_, PROBE, patience=2 * PROBE * fast)
        if fast <= MARGIN * slow:
            return recipe, run_on, ""
    return recipe_, plain_, f"the plain way is {fast / slow:.1f} times as fast here"
