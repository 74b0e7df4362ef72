"""Batches for a network: one iterator, whether the images lie in memory or on disk.

Images in memory at the network's size are gathered by one indexed read; all others are decoded,
cut and resized by worker processes ahead of need. Everything after that, the random view included,
is the same tensor code, so where images lie and how many workers there are changes no bit.
"""

import hashlib
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from residua import augment, images
from residua.datasets.dataset import Pixels, Split
from residua.errors import BadData, OutOfResources
from residua.images import Preprocessing
from residua.interrupt import SIGNALS
from residua.recipes import Recipe

Views = list[Pixels]  # (h, w, 3) each, of one picture
Show = Callable[[Pixels], Views]
# Which of an image's random numbers decide what.
PAD, FLIP, COLOR, BOX = slice(0, 2), 2, slice(3, 6), slice(6, 10)
NUMBERS = 10


class Batch(NamedTuple):
    """Images as the network takes them (b, 3, h, w), labels (b), positions in the split (b)."""

    images: Tensor
    labels: Tensor
    indices: Tensor


def steps_per_epoch(split: Split, batch: int) -> int:
    """Whole batches only, so that every step of a schedule sees as many images."""
    return max(1, len(split) // batch)


def training(
    split: Split,
    preprocessing: Preprocessing,
    recipe: Recipe,
    epoch: int,
    device: torch.device,
    start: int = 0,
) -> Iterator[Batch]:
    """Yield the batches of one epoch from step `start` on, shuffled and augmented.

    Order and views follow from the recipe's seed and the epoch alone.
    """
    key = hashlib.sha256(f"order/{recipe.seed}/{epoch}".encode()).digest()[:7]
    generator = torch.Generator().manual_seed(int.from_bytes(key, "big"))
    order = torch.randperm(len(split), generator=generator)
    size = recipe.batch or len(split)
    chunks = list(order.split(size))[: steps_per_epoch(split, size)][start:]
    source = Source(split, preprocessing, recipe, epoch)
    mean, std = statistics(preprocessing, device)
    for pixels, indices in gather(source, chunks, recipe.workers or 0, device):
        u = augment.uniforms(recipe.seed, epoch, indices, NUMBERS).to(device)
        if recipe.crop == "pad":
            pixels = augment.pad_crop(pixels, u[:, PAD])
        if recipe.flip:
            pixels = augment.flip(pixels, u[:, FLIP])
        floats = pixels.float() / 255
        if recipe.color == "jitter":
            floats = augment.jitter(floats, u[:, COLOR])
        elif recipe.color == "pca":
            floats = augment.pca_color(floats, u[:, COLOR])
        labels = split.labels[indices].to(device, non_blocking=True)
        yield Batch(augment.normalize(floats, mean, std), labels, indices)


def evaluation(
    split: Split,
    preprocessing: Preprocessing,
    batch: int,
    device: torch.device,
    workers: int = 0,
) -> Iterator[Batch]:
    """Yield every image once, in the split's order, as `preprocessing` shows it."""
    chunks = list(torch.arange(len(split)).split(batch))
    mean, std = statistics(preprocessing, device)
    for pixels, indices in gather(Source(split, preprocessing), chunks, workers, device):
        labels = split.labels[indices].to(device, non_blocking=True)
        yield Batch(augment.normalize(pixels.float() / 255, mean, std), labels, indices)


def statistics(preprocessing: Preprocessing, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean, (3) or (size, size, 3), and deviation (3), as tensors."""
    mean = torch.tensor(preprocessing.mean, device=device)
    if len(preprocessing.mean) > 3:
        mean = mean.view(preprocessing.size, preprocessing.size, 3)
    return mean, torch.tensor(preprocessing.std, device=device)


class Source(Dataset[Pixels | BadData]):
    """One view (size, size, 3) for each position of a split, cut at random where a recipe says."""

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        recipe: Recipe | None = None,
        epoch: int = 0,
    ) -> None:
        self.split, self.preprocessing, self.epoch = split, preprocessing, epoch
        self.crop = recipe.crop if recipe is not None and recipe.crop in ("area", "scale") else None
        self.seed = recipe.seed if recipe is not None else 0

    @property
    def ready(self) -> Tensor | None:
        """All views at once, (n, size, size, 3), where the split already holds them."""
        stored, size = self.split.images, self.preprocessing.size
        if isinstance(stored, Tensor) and self.crop is None and stored.shape[1:3] == (size, size):
            return stored
        return None

    def __getitem__(self, index: int) -> Pixels | BadData:
        try:
            pixels = self.split.pixels(index)
        except BadData as error:
            return error  # raised by `gather`: an exception from a worker loses its parts
        if self.crop is None:
            return self.preprocessing.view(pixels)
        size, (height, width) = self.preprocessing.size, pixels.shape[:2]
        u = augment.uniforms(self.seed, self.epoch, torch.tensor([index]), NUMBERS)[0, BOX].tolist()
        if self.crop == "area":
            box = augment.area_box(width, height, u)
        else:
            box = augment.scale_box(width, height, size, u)
        return images.resize(pixels, size, size, box)


def gather(
    source: Source, chunks: Sequence[Tensor], workers: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield pixels (b, size, size, 3) on the device, and positions (b), chunk by chunk."""
    if (ready := source.ready) is not None:
        for indices in chunks:
            yield ready[indices.to(ready.device)].to(device, non_blocking=True), indices
        return
    for views, indices in zip(loaded(source, chunks, workers, together), chunks, strict=True):
        yield torch.from_numpy(views).to(device), indices


def shown(
    split: Split, shows: Sequence[Show], chunk: int, workers: int = 0
) -> Iterator[tuple[list[list[Views] | BadData], NDArray[np.int64]]]:
    """Yield pictures, `chunk` at a time, as each of `shows` shows them, and their positions.

    Each picture is decoded once. One that cannot be read is yielded as the error that says why.
    """
    chunks = list(torch.arange(len(split)).split(chunk))
    positions = (indices.numpy() for indices in chunks)
    return zip(loaded(Shown(split, shows), chunks, workers, list), positions, strict=True)


class Shown(Dataset[list[Views] | BadData]):
    """For each position of a split the views of each of `shows`."""

    def __init__(self, split: Split, shows: Sequence[Show]) -> None:
        self.split, self.shows = split, shows

    def __getitem__(self, index: int) -> list[Views] | BadData:
        try:
            pixels = self.split.pixels(index)
        except BadData as error:
            return error
        return [show(pixels) for show in self.shows]


def loaded(
    source: Dataset[Any],
    chunks: Sequence[Tensor],
    workers: int,
    collate: Callable[[list[Any]], Any],
) -> Iterator[Any]:
    """Yield the items of each chunk as `collate` puts them together, read ahead by workers.

    Raises:
        BadData: what `collate` returned is one.
        OutOfResources: a worker process ended.
    """
    workers = min(workers, len(chunks))
    loader = DataLoader(
        source,
        batch_sampler=[indices.tolist() for indices in chunks],
        num_workers=workers,
        collate_fn=collate,
        generator=torch.Generator(),  # else it draws from the one that layers such as dropout use
        multiprocessing_context="fork" if workers else None,
    )
    try:
        for items in started(loader):
            if isinstance(items, BadData):
                raise items
            yield items
    except RuntimeError as error:
        raise OutOfResources(
            "a process that decodes images ended", where=str(error), fix="resume with --workers 0"
        ) from error


def together(views: Sequence[Pixels | BadData]) -> Pixels | BadData:
    """One array (b, size, size, 3), or the first error among the views.

    An array travels through a pipe. Tensors would travel through shared memory, of which
    containers often have too little.
    """
    whole = [view for view in views if not isinstance(view, BadData)]
    bad = [view for view in views if isinstance(view, BadData)]
    return bad[0] if bad else np.stack(whole)


def started(loader: DataLoader[Any]) -> Iterator[Any]:
    """The loader's items, its workers deaf to signals that ask to stop.

    A signal often goes to all processes at once. The workers end with their parent, which may still
    need them to finish a step.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # workers inherit it
    try:
        return iter(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
