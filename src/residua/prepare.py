"""Decide everything about a training, and write nothing: what `--dry-run` shows."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from residua import datasets, images, networks, settings
from residua.augment import size_at
from residua.automatic import SMALL, Facts, automatic
from residua.batches import evaluation, steps_per_epoch
from residua.checkpoints import Weights
from residua.datasets.cache import cached, side
from residua.datasets.dataset import Dataset, Split, hold_out, pixel_mean, statistics
from residua.datasets.inspect import recommend
from residua.datasets.looks import looks
from residua.datasets.memory import in_memory
from residua.errors import BadData, Refused
from residua.execution import Execution, execution, fast_bf16, fitted
from residua.feeding import Task, step_seconds
from residua.images import Preprocessing
from residua.networks.graph import graph
from residua.networks.initialize import whiten
from residua.networks.network import Network
from residua.networks.norms import steady
from residua.networks.weights import of_classes
from residua.pace import PLAIN, quickest
from residua.pretrained import is_pretrained
from residua.published import HUB, Start, start_from
from residua.recipes import Recipe
from residua.resources import cores, free_memory
from residua.rewrites.native import library
from residua.schedule import planned
from residua.words import listed

PROBED = 256  # files whose size is read to choose the network's
SAMPLED = 2_048  # images at most whose patches say what is correlated
CACHE = ".cache"  # beside the runs; deleting it is safe
CROP_RATIO = 0.875  # of a photograph's shorter side that the center crop keeps


@dataclass(frozen=True)
class Job:
    """Everything about a training, decided."""

    dataset: Dataset
    recipe: Recipe
    name: str  # of the recipe that the settings lie over
    sources: Mapping[str, str]  # where each setting came from
    task: Task
    execution: Execution
    splits: dict[str, Split]  # as they are used: validation is held out of train
    start: Weights | None  # what it begins with, where that is not random
    notes: tuple[str, ...] = ()  # what was taken on trust


def prepare(
    source: str | Path | Dataset,
    name: str = "auto",
    layers: Sequence[tuple[str, Any]] = (),
    runs: Path = Path("runs"),
) -> Job:
    """Decide everything about a training.

    Args:
        source: a data set, its path or its name.
        name: of a recipe.
        layers: settings over it, as `settings.resolve` takes them.
        runs: where a cache of decoded pictures goes, if one is asked for.

    Raises:
        Refused: a setting is wrong or impossible here.
        BadData: the data cannot be used.
    """
    recipe, sources = settings.resolve(name, layers)
    elsewhere = recipe.init is None or recipe.init.startswith(HUB) or is_pretrained(recipe.init)
    if recipe.init is not None and not elsewhere:
        # a run may be resumed from another folder
        recipe = replace(recipe, init=str(Path(recipe.init).resolve()))
    dataset = datasets.load(source, recipe.seed)
    refuse_unreadable(dataset)
    start = initial_weights(recipe)
    if start is not None:
        recipe = replace(recipe, network=None) if start.foreign else recipe
        recipe, inherited = inherit(recipe, start.weights)
        sources |= inherited
    asked = recipe
    recipe, reasons = automatic(recipe, facts(dataset, recipe))
    sources |= {key: f"automatic: {reason}" for key, reason in reasons.items()}
    refuse_absent(recipe)
    name = settings.named(name, layers)
    job = complete(dataset, recipe, name, sources, start and start.weights, runs)
    faster, run_on, slow = quickest(job.task, recipe, job.execution, asked)
    changed = [key for key in PLAIN if getattr(faster, key) != getattr(recipe, key)]
    sources = sources | dict.fromkeys(changed, f"automatic: {slow}")
    notes = (*(start.notes if start else ()), *((slow,) if slow else ()))
    return replace(job, recipe=faster, execution=run_on, sources=sources, notes=notes)


def refuse_absent(recipe: Recipe) -> None:
    """Raise Refused where more threads or processes are asked for than there are cores."""
    for name in ("threads", "processes"):
        if (getattr(recipe, name) or 1) > cores():
            raise Refused(
                f"this machine does not have so many cores for its {name}",
                where=f"received --{name} {getattr(recipe, name)}",
                fix=f"it has {cores()}",
            )


def complete(
    dataset: Dataset,
    recipe: Recipe,
    name: str,
    sources: Mapping[str, str],
    start: Weights | None,
    runs: Path,
) -> Job:
    """Build what a completed recipe asks for."""
    classes = dataset.classes
    network = networks.build(
        recipe.network or "", len(classes), seed=recipe.seed, zero_init=recipe.zero_init
    )
    size = recipe.size or 0
    least = min((size_at((share,), size, 0.0) for share in recipe.grow), default=size)
    network.check((1, network.channels, least, least))
    if start is not None:
        adopt(network, start, classes)
    train_split, validation = selection_split(dataset, recipe)
    run_on = fitted(execution(recipe), network, recipe)  # in the memory that images leave
    normed = any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    if normed and min(recipe.batch or 1, len(train_split)) == 1 and size <= network.stride:
        raise Refused(
            "batch norm needs more than one value of each channel",
            where=f"{recipe.network}, one image of {size}x{size} pixels in a step",
            fix="take more images in a step, or larger ones",
        )
    splits = {"train": train_split} | ({"validation": validation} if validation else {})
    splits |= {role: split for role, split in dataset.splits.items() if role not in splits}
    look = Preprocessing(size, recipe.fit or "crop", resized(size))
    if start is not None and start.preprocessing.size == size:
        look = replace(start.preprocessing, fit=look.fit)
    if recipe.cache:
        train_split = cached(train_split, side(size, recipe.crop), runs / CACHE, cores())
    if recipe.in_memory:
        train_split = in_memory(train_split, look, run_on.threads)
        validation = in_memory(validation, look, run_on.threads) if validation else None
    if start is None:
        look = measured(look, train_split, recipe)
    elif start.preprocessing.size != size:
        look = replace(look, mean=start.preprocessing.mean, std=start.preprocessing.std)
    if recipe.whiten in ("start", "frozen") and start is None:
        whiten(network, sample(train_split, look), frozen=recipe.whiten == "frozen")
    task = Task(network, classes, look, train_split, validation)
    return Job(dataset, recipe, name, sources, task, run_on, splits, start)


def sample(split: Split, look: Preprocessing) -> Tensor:
    """Some images from all over a split, as the network takes them (n, 3, size, size)."""
    some = split.select(range(0, len(split), -(-len(split) // SAMPLED)))
    batches = evaluation(some, look, len(some), torch.device("cpu"))
    return next(batches).images


def refuse_unreadable(dataset: Dataset) -> None:
    """Read every file once, so that training does not end at a bad one hours later.

    Raises:
        BadData: some cannot be decoded; the message counts all and names the first.
    """
    bad = [
        f"{split.name(index)} ({look.note})"
        for split in dataset.splits.values()
        if not split.in_memory
        for index, look in enumerate(looks(split, cores()))
        if look.fault
    ]
    if bad:
        raise BadData(
            f"{len(bad)} image(s) cannot be read: {listed(bad, 5)}",
            where=dataset.source,
            fix=f"remove them or copy them again; residua check {dataset.source} lists all",
        )


def facts(dataset: Dataset, recipe: Recipe) -> Facts:
    """What the automatic choices look at."""
    train_split = dataset.splits["train"]
    size, fit, why = recommend(shapes(train_split))
    return Facts(
        data=dataset.name,
        images=len(train_split),
        size=size,
        fit=fit,
        why=why,
        cores=cores(),
        cuda=torch.cuda.is_available(),
        bf16=fast_bf16(),
        unfused=unfused(),
        memory=free_memory(),
        depth=networks.parse(recipe.network)[1] if recipe.network else 0,
        patches=recipe.network is not None and networks.parse(recipe.network)[0].patches,
        steady=recipe.network is None
        or steady(networks.weightless(recipe.network, len(dataset.classes))),
    )


def unfused() -> str:
    """Why norm, addition and ReLU are not one operation here, "" where they are."""
    if torch.cuda.is_available():
        return "a GPU compiles instead"
    found, note = library()
    return "" if found else note


def shapes(split: Split) -> Counter[tuple[int, int]]:
    """How many images have which (height, width), from the headers of some where they are files."""
    if isinstance(split.images, Tensor):
        height, width = split.images.shape[1:3]
        return Counter({(height, width): len(split)})
    found: Counter[tuple[int, int]] = Counter()
    stride = max(1, len(split) // PROBED)
    for path in split.images[::stride]:
        try:
            header = images.probe(images.file_bytes(path))
        except BadData:
            continue  # reading it in training, or `check`, says so
        found[header.height, header.width] += 1
    return found


def initial_weights(recipe: Recipe) -> Start | None:
    """The weights that `init` names: a file of ours, a run, or what others published."""
    return None if recipe.init is None else start_from(recipe.init, recipe.network)


def inherit(recipe: Recipe, start: Weights) -> tuple[Recipe, dict[str, str]]:
    """Take the network, size and fit of the initial weights where the recipe leaves them open.

    Raises:
        Refused: the recipe names another network.
    """
    own = networks.parse(start.network)
    if recipe.network is not None and networks.parse(recipe.network) != own:
        raise Refused(
            f"the weights are those of {start.network}, not of {recipe.network}",
            where=f"--init {recipe.init}",
            fix=f"leave out --network, or give --network {start.network}",
        )
    look = start.preprocessing
    values: dict[str, Any] = {"network": start.network, "size": look.size, "fit": look.fit}
    values = {key: value for key, value in values.items() if getattr(recipe, key) is None}
    return replace(recipe, **values), dict.fromkeys(values, f"weights {recipe.init}")


def adopt(network: Network, start: Weights, classes: tuple[str, ...]) -> None:
    """Copy the initial weights into the network, but where classes differ not what tells them.

    That is the last layer of each head; hidden layers of a head are copied.
    """
    tensors = dict(start.tensors)
    if start.classes != classes:
        own = network.state_dict()
        tensors |= {name: own[name] for name in of_classes(network)}
    network.load_state_dict(tensors)


def selection_split(dataset: Dataset, recipe: Recipe) -> tuple[Split, Split | None]:
    """The images to learn from and those to select by, which are never the test images."""
    train_split = dataset.splits["train"]
    if "validation" in dataset.splits:
        return train_split, dataset.splits["validation"]
    if not recipe.validation:
        return train_split, None
    return hold_out(train_split, recipe.validation, recipe.seed)


def resized(size: int) -> int:
    """The shorter side before the center crop (256 for 224); small images are used whole."""
    return size if size <= SMALL else round(size / CROP_RATIO)


def measured(preprocessing: Preprocessing, split: Split, recipe: Recipe) -> Preprocessing:
    """Add the mean and deviation of the training images."""
    if recipe.normalize == "channel":
        mean, std = statistics(split, preprocessing.view)
        # An image set of one color has no deviation to divide by.
        return replace(preprocessing, mean=mean, std=tuple(max(value, 1e-3) for value in std))
    pixels = pixel_mean(split).ravel()
    return replace(preprocessing, mean=tuple(round(float(value), 5) for value in pixels))


class Estimate(NamedTuple):
    """What a training will need."""

    parameters: int
    multiply_adds: int  # of one image, forward
    steps: int
    seconds: float
    memory: int  # bytes, of the activations, weights and optimizer


def estimate(job: Job) -> Estimate:
    """Time a few steps of the training on a copy, and count the rest."""
    recipe, size = job.recipe, job.task.preprocessing.size
    drawn = graph(job.task.network, (job.task.network.channels, size, size))
    seconds = step_seconds(job.task, recipe, job.execution)
    batch = recipe.batch or len(job.task.train)
    steps = planned(recipe, steps_per_epoch(job.task.train, batch), seconds).steps
    values = sum(math.prod(node.shape) for node in drawn.nodes) * batch
    bytes_each = 4 if recipe.precision == "fp32" else 2
    memory = values * bytes_each + 16 * drawn.parameters  # weight, gradient, momentum, average
    return Estimate(drawn.parameters, drawn.multiply_adds, steps, steps * seconds, memory)
