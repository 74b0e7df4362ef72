"""What a training learns from, and how it reaches the processes that learn.

Batches go to this process, or their positions to a team whose members gather their own parts.
"""

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
import torch

from residua.batches import Batch, training
from residua.datasets.dataset import Split
from residua.execution import Execution, hold_memory
from residua.images import Preprocessing
from residua.learner import Learner, make_learner
from residua.networks.network import Network
from residua.recipes import Recipe
from residua.steps import steps
from residua.team import Work, team

Feed = Callable[[int, int], Iterator[Batch]]  # epoch, first step -> its batches from there on
PROBE = 12  # steps that are timed to plan a time budget


@dataclass(frozen=True)
class Task:
    """What is trained, and on what."""

    network: Network
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    train: Split
    validation: Split | None


@contextmanager
def feeding(learner: Learner, task: Task, recipe: Recipe) -> Iterator[Feed]:
    """Feed batches to this process, or to several that share each step until the block ends."""
    if learner.execution.roomy:
        hold_memory()
    if learner.execution.processes == 1:
        yield alone(task, recipe, learner.execution.device)
        return
    with team(learner, Work(task.train, task.preprocessing, recipe)) as made:
        learner.together = made.backward
        yield made.batches
        learner.together = None


def alone(task: Task, recipe: Recipe, device: torch.device) -> Feed:
    """Whole batches for this process."""
    return lambda epoch, start: training(
        task.train, task.preprocessing, recipe, epoch, device, start
    )


def step_seconds(
    task: Task,
    recipe: Recipe,
    execution: Execution,
    probe: int = PROBE,
    patience: float = math.inf,
) -> float:
    """How long a step takes, measured on a copy so that the network itself is not touched.

    Measures `probe` steps, fewer if they take longer than `patience` seconds.
    """
    learner = make_learner(deepcopy(task.network), recipe, execution)
    learner.network.train()
    execution.wait()
    times = [time.monotonic()]
    with feeding(learner, task, recipe) as feed:
        for _ in steps(learner, islice(endless(feed), probe), recipe, lambda step: 0.0):
            execution.wait()
            times.append(time.monotonic())
            if len(times) > 3 and times[-1] - times[0] > patience:
                break
    taken = np.diff(times)
    return float(np.median(taken[min(2, len(taken) - 1) :]))  # the first steps warm up


def endless(feed: Feed) -> Generator[Batch, None, None]:
    """Training batches of one epoch after another."""
    for epoch in count():
        yield from feed(epoch, 0)
