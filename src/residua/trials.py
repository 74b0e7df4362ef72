"""Networks trained for a study, one core each, and what they get wrong.

Errors are those of the finished network in evaluation mode, on images without augmentation, those
of the training images included. What a training loop counts on its way is of a network that still
changes, on views that vary, normalized by their own batch.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from residua import checkpoints, networks
from residua.datasets.dataset import Split
from residua.events import Epoch
from residua.factors import Factors
from residua.feeding import Task, step_seconds
from residua.networks.graph import graph
from residua.networks.network import Network
from residua.question import Budget, Subject
from residua.recipes import Recipe
from residua.runs import RunDirectory
from residua.seeds import FEWEST
from residua.training import measure, train

WATCHED = 2_000  # images of a split whose error is followed on the way
POINTS = 12  # of a curve
WARM = 110  # layers from which the papers warm up (He et al. 2016a, section 4.2)
SLOWER = 1.25  # a core is when the others compute, too
FEW = 5_000  # images: below it batches are smaller, and passes no more than of a budget
PASSES, PAPER_PASSES = 30, 164  # 164 of 50,000 images are the papers' 64,000 steps of 128
LEAST, SOME = 20.0, 10_000  # passes, over how many of many images, to tell something
MOST = 10  # seeds: more tell little more


class Mark(NamedTuple):
    """A training paused after an epoch, the network in evaluation mode."""

    epoch: int
    epochs: int  # in all
    network: Network


def recipe_of(subject: Subject, factors: Factors, name: str, seed: int) -> Recipe:
    """The subject's recipe with a study's factors, for one network."""
    given = ("epochs", "batch", "learning_rate")
    values = {key: getattr(factors, key) for key in given if getattr(factors, key) is not None}
    values |= {} if factors.augment in (True, None) else {"crop": "none", "flip": False}
    warmup = 0.8 if networks.parse(name)[1] >= WARM else 0.0
    recipe = replace(subject.recipe, network=name, seed=seed, warmup_error=warmup)
    return replace(recipe, steps=None, time=None, **values) if values else recipe


def built(subject: Subject, recipe: Recipe) -> Network:
    """The network of a recipe with its first weights."""
    return networks.build(recipe.network or "", len(subject.classes), seed=recipe.seed)


def task_of(subject: Subject, network: Network) -> Task:
    return Task(network, subject.classes, subject.look, subject.train, None)


def trained(subject: Subject, network: Network, recipe: Recipe, folder: Path) -> Iterator[Mark]:
    """Train a network in a folder, from wherever it was left, and pause after each epoch.

    The network is changed in place; at the last mark it is what the training ends with, which
    `finished` reads again from the folder.

    Raises:
        Diverged: the loss or a weight is not finite.
    """
    run = RunDirectory(folder)
    for each in (run.path, run.checkpoints):
        each.mkdir(exist_ok=True)
    epochs = math.ceil(recipe.epochs or 1)
    for event in train(task_of(subject, network), recipe, run, subject.execution):
        if isinstance(event, Epoch):
            network.eval()
            yield Mark(event.number, epochs, network)


def finished(folder: Path) -> Network:
    """The network that a training left in a folder."""
    return checkpoints.read_weights(RunDirectory(folder).weights).build()


def error_on(subject: Subject, network: Network, split: Split) -> tuple[int, int]:
    """How many images of a split a network gets wrong, and of how many."""
    network.to(subject.execution.device)  # one that was read again is on the processor
    _, wrong = measure(network, split, subject.look, subject.execution)
    return wrong, len(split)


def errors(subject: Subject, network: Network) -> dict[str, Any]:
    """The errors of a network on all training and all test images, as columns of a row."""
    row: dict[str, Any] = {}
    for role, split in (("train", subject.train), ("test", subject.test)):
        wrong, total = error_on(subject, network, split)
        row |= {f"{role}_error": wrong / total, f"{role}_wrong": wrong, f"{role}_images": total}
    return row


def outcome(subject: Subject, network: Network, recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Train a network; its errors at the end, and from time to time as a curve.

    Returns:
        parameters, what `errors` gives, and curve: rows (epoch, training error, test error) over
        the same images, 2,000 at most of each split.
    """
    run = RunDirectory(folder)
    some = [subject.train.evenly(WATCHED), subject.test.evenly(WATCHED)]
    for mark in trained(subject, network, recipe, folder):
        if mark.epoch % max(1, mark.epochs // POINTS) and mark.epoch < mark.epochs:
            continue
        values = [wrong / total for wrong, total in (error_on(subject, network, s) for s in some)]
        # In the run's metrics, so that a resumed training finds them, and drops what it repeats.
        step = {"step": step_of(run), "split": "watched", "epoch": mark.epoch}
        run.record(step | {"train_error": values[0], "test_error": values[1]})
    network = finished(folder)
    rows = [row for row in run.metrics() if row.get("split") == "watched"]
    curve = [[row["epoch"], row["train_error"], row["test_error"]] for row in rows]
    weights = sum(weight.numel() for weight in network.parameters())
    return {"parameters": weights, **errors(subject, network), "curve": curve}


def step_of(run: RunDirectory) -> int:
    """The step of the newest row of a run's metrics."""
    return int(run.metrics()[-1]["step"])


def multiply_adds(subject: Subject, name: str) -> int:
    """What a network computes for one image, forward."""
    network = networks.weightless(name, len(subject.classes))
    return graph(network, (network.channels, subject.look.size, subject.look.size)).multiply_adds


def image_seconds(subject: Subject, name: str, factors: Factors) -> float:
    """Seconds that one core takes to train on one image, measured on a few steps."""
    recipe = recipe_of(subject, factors, name, 0)
    task = task_of(subject, built(subject, recipe))
    batch = min(recipe.batch or 1, len(subject.train))
    return SLOWER * step_seconds(task, recipe, subject.execution, probe=4, patience=2.0) / batch


def fullest(
    subject: Subject,
    budget: Budget,
    choices: Sequence[Factors],
    names: Callable[[Factors], Sequence[str]],
) -> Factors:
    """The first of several choices that a budget can afford, or else the last, filled in.

    Args:
        subject: gives the images.
        budget: how much work there may be.
        choices: the best one first.
        names: of the networks that a choice trains, as often as it trains them.
    """
    costs: dict[str, float] = {}
    for choice in choices:
        for name in names(choice):
            if name not in costs:
                costs[name] = image_seconds(subject, name, choice)
        each = sum(costs[name] for name in names(choice))
        filled, enough = affordable(subject, choice, budget, each)
        if enough:
            break
    return filled


def affordable(
    subject: Subject, factors: Factors, budget: Budget, each: float
) -> tuple[Factors, bool]:
    """Fill in the seeds, epochs and images that a budget allows.

    Args:
        subject: gives the images.
        factors: what was given is kept.
        budget: how much work there may be.
        each: core-seconds for one training image in all cells of one seed.

    Returns:
        The factors, and whether they are enough: five seeds, and of many images at least 20 passes
        over 10,000. Fewer images tell more than fewer passes, after which no network has learned
        them; and images learned as they are, not in random views, are learned in fewer passes.
    """
    short = budget.seconds is not None
    images = factors.images or len(subject.train)
    small = images < FEW
    batch = factors.batch or (64 if small or short else 128)
    usual = PASSES if small or short else PAPER_PASSES
    least = factors.epochs or (usual if small else LEAST)
    seeds = factors.seeds or FEWEST
    some = images if small or factors.images else min(images, SOME)
    affords = budget.work / (each * some * seeds)  # passes
    epochs = factors.epochs or max(least, math.floor(min(usual, affords)))
    if factors.seeds is None and short:
        seeds = min(MOST, max(seeds, math.floor(budget.work / (each * images * epochs))))
    if factors.images is None and short:
        afforded = math.floor(budget.work / (each * seeds * epochs))
        images = min(images, max(batch, afforded))
    filled = replace(
        factors,
        seeds=seeds,
        epochs=float(epochs),
        images=images,
        batch=batch,
        learning_rate=factors.learning_rate or 0.1 * batch / 128,  # He et al. 2016a, section 4.2
        augment=not short if factors.augment is None else factors.augment,
    )
    return filled, least <= affords
