"""Training: follow a recipe in a run directory, from wherever the last session left it.

What `train` leaves in the directory is all that it does, and it goes on from what it finds there.
It yields what happens on the way, for whoever wants to show it.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any, TextIO

import torch
from torch import nn
from torch.nn import functional as F

from residua import checkpoints
from residua.augment import size_at
from residua.automatic import SMALL
from residua.batches import Batch, evaluation, steps_per_epoch
from residua.checkpoints import Weights
from residua.datasets.dataset import Split
from residua.errors import Diverged
from residua.events import Advance, Epoch, Event, Note, Saved
from residua.execution import Execution, using_threads
from residua.feeding import Feed, Task, alone, endless, feeding, step_seconds
from residua.images import Preprocessing
from residua.interrupt import Interrupt, stopped
from residua.learner import Learner, make_learner, precise_norms
from residua.optimizers import learning_rate
from residua.recipes import Recipe
from residua.runs import RunDirectory
from residua.schedule import Plan, planned
from residua.steps import REMEDY, steps

SMOOTHING = 0.98  # of the running training error that ends a warm-up: about 50 steps


@dataclass
class Position:
    """Where a training stands, apart from its tensors; what a checkpoint's manifest holds."""

    plan: Plan
    step: int = 0
    seconds: float = 0.0  # spent so far, pauses between sessions left out
    warming: bool = False  # the warm-up by training error has not ended
    error: float = 1.0  # running training error while it lasts
    best: dict[str, Any] | None = None  # epoch and validation error of the selected weights
    seen: int = 0  # images of this epoch so far, their summed loss, and how many were wrong
    loss: float = 0.0
    wrong: int = 0

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Position":
        return cls(**values | {"plan": Plan(**values["plan"])})


@dataclass
class Training:
    """A training under way."""

    task: Task
    recipe: Recipe
    run: RunDirectory
    learner: Learner
    interrupt: Interrupt
    position: Position
    log: TextIO | None  # of the images of each step
    feed: Feed

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(self.task.train, self.recipe.batch or len(self.task.train))

    def rate(self, step: int) -> float:
        """The learning rate at a step, a tenth of it while the warm-up by training error lasts."""
        full = learning_rate(self.recipe, self.position.plan.at(step))
        return full / 10 if self.position.warming else full

    def size(self, step: int) -> int:
        """Height and width of the images of a step, 0 for that of the network's input."""
        grow, full = self.recipe.grow, self.task.preprocessing.size
        return size_at(grow, full, self.position.plan.at(step)) if grow else 0


def train(
    task: Task,
    recipe: Recipe,
    run: RunDirectory,
    execution: Execution,
    interrupt: Interrupt | None = None,
    log: TextIO | None = None,
) -> Iterator[Event]:
    """Follow a completed recipe in a run directory, from its newest checkpoint if it has one.

    Leaves a row of metrics and a checkpoint for each epoch and, at the end, the selected weights.
    Writes a line "step<tab>image" for each image that a step learns from to `log`, if given.

    Raises:
        Diverged: the loss or a weight is not finite; nothing of it was saved.
        Stopped: `interrupt` asked for it; the last step is saved.
        OutOfResources: a file could not be written.
    """
    interrupt = interrupt or Interrupt()
    learner = make_learner(task.network, recipe, execution)
    found, notes = checkpoints.latest(run.checkpoints)
    yield from map(Note, notes)
    if found is not None:
        position = Position.from_dict(found.position)
        learner.restore(found.weights, found.state)
        run.rewind(found.step)
        yield Note(f"continuing from step {found.step}")
    else:
        run.rewind(-1)
        torch.manual_seed(recipe.seed)  # for layers such as dropout
        position = Position(Plan(1), warming=bool(recipe.warmup_error))
    if found is None:
        seconds = step_seconds(task, recipe, execution) if recipe.time else 0.0
        length = steps_per_epoch(task.train, recipe.batch or len(task.train))
        position.plan = planned(recipe, length, seconds)
    with interrupt.deferred(), feeding(learner, task, recipe) as feed:
        job = Training(task, recipe, run, learner, interrupt, position, log, feed)
        while position.step < position.plan.steps:
            yield from one_epoch(job)
    finish(job)


def one_epoch(job: Training) -> Iterator[Event]:
    """Go on to the end of the epoch, stopping on the way to save, to replan, or for good."""
    position, recipe = job.position, job.recipe
    number, start = divmod(position.step, job.steps_per_epoch)
    batches = job.feed(number, start)
    end = (number + 1) * job.steps_per_epoch
    while position.step < min(end, position.plan.steps):
        yield from leg(job, batches, min(end, next_stop(job)))
        over = position.step >= min(end, position.plan.steps)
        every = recipe.checkpoint_every
        if not (over or job.interrupt.requested or (every and position.step % every == 0)):
            continue
        if broken := job.learner.broken():  # before anything of it is kept
            raise diverged(job, broken)
        if over:
            yield close_epoch(job, number + 1)
        yield save(job)
        if job.interrupt.requested:
            raise stopped()


def next_stop(job: Training) -> int:
    """The next step at which something besides training is to be done."""
    position, every = job.position, job.recipe.checkpoint_every
    stops = [position.plan.steps]
    if every:
        stops.append((position.step // every + 1) * every)
    if job.recipe.time:
        stops.append(position.plan.next_look)
    return min(stops)


def leg(job: Training, batches: Iterator[Batch], end: int) -> Iterator[Advance]:
    """Train up to step `end`, or to the step at which an interrupt comes."""
    position, plan, execution = job.position, job.position.plan, job.learner.execution
    first, began, before = position.step, time.monotonic(), position.seconds
    # Summed in the order of the steps, wherever legs end, so that resuming changes no bit.
    loss = torch.tensor(position.loss, dtype=torch.float64, device=execution.device)
    wrong = torch.tensor(position.wrong, device=execution.device)
    images = 0
    job.learner.network.train()
    batches = until(batches, end - first, job)
    for step in steps(job.learner, batches, job.recipe, job.rate, first, job.size):
        loss += step.loss * step.images
        wrong += step.wrong
        images += step.images
        position.step = step.step + 1
        position.seconds = before + time.monotonic() - began
        if position.warming:
            watch_warmup(job, int(step.wrong) / step.images)
        if step.step % execution.check_every == 0:
            speed = images / (time.monotonic() - began)
            left = position.seconds / position.step * (plan.steps - position.step)
            epoch = step.step // job.steps_per_epoch + 1
            yield Advance(position.step, plan.steps, epoch, float(step.loss), speed, left)
    position.loss, position.wrong = float(loss), int(wrong)
    position.seen += images
    position.seconds = before + time.monotonic() - began
    budget = job.recipe.time
    if budget and position.plan.due(position.step):
        position.plan = plan.replanned(position.step, position.seconds, budget)


def until(batches: Iterator[Batch], count: int, job: Training) -> Iterator[Batch]:
    """The next `count` batches, fewer when an interrupt comes."""
    for step, batch in enumerate(islice(batches, count), job.position.step):
        if job.log is not None:
            names = map(job.task.train.name, batch.indices.tolist())
            job.log.writelines(f"{step}\t{name}\n" for name in names)
        yield batch
        if job.interrupt.requested:
            return


def watch_warmup(job: Training, error: float) -> None:
    """End the warm-up once the training error is low enough (He et al. 2016a, section 4.2)."""
    position = job.position
    position.error = SMOOTHING * position.error + (1 - SMOOTHING) * error
    position.warming = position.error >= (job.recipe.warmup_error or 0)


def close_epoch(job: Training, number: int) -> Epoch:
    """Measure the validation error, record the epoch, and select its weights if they are best."""
    position, recipe = job.position, job.recipe
    train_row = {
        "split": "train",
        "step": position.step,
        "epoch": number,
        "loss": position.loss / position.seen,
        "error": position.wrong / position.seen,
        "learning_rate": job.rate(position.step - 1),
        "images_per_second": round(position.step * (recipe.batch or 1) / position.seconds, 1),
        "seconds": round(position.seconds, 3),
    }
    rows, best = [train_row], False
    if job.task.validation is not None:
        began = time.monotonic()
        loss, wrong = measure(
            job.learner.evaluated,
            job.task.validation,
            job.task.preprocessing,
            job.learner.execution,
            recipe.batch or 1,
            recipe.workers or 0,
        )
        error = wrong / len(job.task.validation)
        if not math.isfinite(loss):
            raise diverged(job, "the validation loss")
        position.seconds += time.monotonic() - began
        keys = ("split", "step", "epoch", "loss", "error")
        values = ("validation", position.step, number, loss, error)
        rows.append(dict(zip(keys, values, strict=True)))
        lowest = position.best["error"] if position.best else 2.0
        best = error < lowest
        if error <= lowest:  # of equals the later one, which has learned for longer
            position.best = {"epoch": number, "error": error}
            if recipe.select == "best":
                write_selected(job, rows[-1])
    for row in rows:
        job.run.record(row)
    position.seen, position.loss, position.wrong = 0, 0.0, 0
    return Epoch(number, rows, best)


@torch.inference_mode()
def measure(
    network: nn.Module,
    split: Split,
    preprocessing: Preprocessing,
    execution: Execution,
    batch: int = 1,
    workers: int = 0,
) -> tuple[float, int]:
    """Mean loss of a network on a split and how many images are wrong, in evaluation mode.

    Args:
        batch: images in a step of training: as many fit into memory here.
        workers: processes that decode.
    """
    network.eval()
    loss = torch.zeros((), dtype=torch.float64, device=execution.device)
    wrong = torch.zeros((), dtype=torch.int64, device=execution.device)
    size = max(256, batch) if preprocessing.size <= SMALL else 64
    shown = evaluation(split, preprocessing, size, execution.device, workers)
    with using_threads(execution.threads):
        for shot in shown:
            with execution.autocast():
                logits = network(shot.images).float()
            loss += F.cross_entropy(logits, shot.labels, reduction="sum")
            wrong += (logits.argmax(1) != shot.labels).sum()
    return float(loss) / len(split), int(wrong)


def diverged(job: Training, what: str) -> Diverged:
    where = f"learning rate {job.rate(job.position.step - 1):g}"
    return Diverged(f"{what} is no longer finite at step {job.position.step}", where, REMEDY)


def save(job: Training) -> Saved:
    """Write a checkpoint of this step."""
    position, weights, state = job.position, job.learner.network.state_dict(), job.learner.state()
    path = checkpoints.save(job.run.checkpoints, position.step, weights, state, asdict(position))
    checkpoints.prune(job.run.checkpoints)
    return Saved(position.step, path)


def write_selected(job: Training, metrics: dict[str, Any]) -> None:
    """Make the network of this moment the run's weights."""
    task = job.task
    tensors = {name: value.clone() for name, value in job.learner.evaluated.state_dict().items()}
    weights = Weights(tensors, task.network.name, task.classes, task.preprocessing, metrics)
    checkpoints.write_weights(job.run.weights, weights)


def finish(job: Training) -> None:
    """Settle the selected weights: the last ones if so asked, with precise norms if so asked."""
    recipe, execution = job.recipe, job.learner.execution
    if recipe.select == "last" or job.task.validation is None:
        write_selected(job, {"step": job.position.step})
    if not recipe.precise_norms:
        return
    selected = checkpoints.read_weights(job.run.weights)
    network = execution.place(selected.build())
    many = -(-recipe.precise_norms // (recipe.batch or 1))
    shown = endless(alone(job.task, recipe, execution.device))
    precise_norms(network, islice(shown, many), execution)
    checkpoints.write_weights(job.run.weights, replace(selected, tensors=network.state_dict()))
