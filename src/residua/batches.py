"""Batches for a network: one iterator, whether the images lie in memory or on disk.

Images in memory at the network's size are gathered by one indexed read, on the device, where they
stay; all others are decoded, cut and resized by worker processes ahead of need. Everything after
that, the random view included, is the same tensor code, so where images lie and how many workers
there are changes no bit. Nothing here waits for a GPU.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from residua import augment
from residua.datasets.dataset import Pixels, Split
from residua.errors import BadData, OutOfResources
from residua.images import Preprocessing
from residua.interrupt import deaf
from residua.recipes import Recipe

Views = list[Pixels]  # (h, w, 3) each, of one picture
Show = Callable[[Pixels], Views]
# Which of an image's random numbers decide what.
PAD, FLIP, COLOR, BOX = slice(0, 2), 2, slice(3, 6), slice(6, 10)
NUMBERS = 10
RESIDENT_SHARE = 4  # images stay on a GPU where they take at most one part in so many of it
_resident: WeakKeyDictionary[Split, dict[torch.device, Tensor]] = WeakKeyDictionary()


class Batch(NamedTuple):
    """Images as the network takes them (b, 3, h, w), labels (b), positions in the split (b)."""

    images: Tensor
    labels: Tensor
    indices: Tensor


def steps_per_epoch(split: Split, batch: int) -> int:
    """Whole batches only, so that every step of a schedule sees as many images."""
    return max(1, len(split) // batch)


def order(split: Split, recipe: Recipe, epoch: int) -> list[Tensor]:
    """The positions (b) of each batch of an epoch: a shuffle drawn from seed and epoch alone."""
    key = hashlib.sha256(f"order/{recipe.seed}/{epoch}".encode()).digest()[:7]
    generator = torch.Generator().manual_seed(int.from_bytes(key, "big"))
    shuffled = torch.randperm(len(split), generator=generator)
    size = recipe.batch or len(split)
    return list(shuffled.split(size))[: steps_per_epoch(split, size)]


def training(
    split: Split,
    preprocessing: Preprocessing,
    recipe: Recipe,
    epoch: int,
    device: torch.device,
    start: int = 0,
    part: tuple[int, int] = (0, 1),
) -> Iterator[Batch]:
    """Yield the batches of one epoch from step `start` on, shuffled and augmented.

    Order and views follow from the recipe's seed and the epoch alone. Of every batch only the part
    (which, of how many) is read and yielded: together the parts are what the whole is.
    """
    chunks = order(split, recipe, epoch)[start:]
    which, parts = part
    chunks = [chunk.unflatten(0, (parts, -1))[which] for chunk in chunks]
    source = Source(split, preprocessing, recipe, epoch)
    mean, std = statistics(preprocessing, device)
    labels, places = split.labels.to(device), moved(chunks, device)
    gathered = gather(source, chunks, recipe.workers or 0, device)
    for indices, place, pixels in zip(chunks, places, gathered, strict=True):
        u = augment.uniforms(recipe.seed, epoch, place, NUMBERS)
        if recipe.crop == "pad":
            pixels = augment.pad_crop(pixels, u[:, PAD])
        elif recipe.crop == "shift":
            pixels = augment.shift(pixels, u[:, PAD])
        if recipe.flip and recipe.alternate:
            pair = augment.uniforms(recipe.seed, epoch - epoch % 2, place, NUMBERS)[:, FLIP]
            pixels = augment.flip(pixels, augment.alternated(pair, epoch))
        elif recipe.flip:
            pixels = augment.flip(pixels, u[:, FLIP])
        if recipe.color == "jitter":
            pixels = augment.jitter(pixels.float().div_(255), u[:, COLOR])
        elif recipe.color == "pca":
            pixels = augment.pca_color(pixels.float().div_(255), u[:, COLOR])
        yield Batch(augment.normalize(pixels, mean, std), labels[place], indices)


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
    labels, places = split.labels.to(device), moved(chunks, device)
    gathered = gather(Source(split, preprocessing), chunks, workers, device)
    for indices, place, pixels in zip(chunks, places, gathered, strict=True):
        yield Batch(augment.normalize(pixels, mean, std), labels[place], indices)


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

    def __getitems__(self, indices: list[int]) -> list[Pixels | BadData]:
        """The views of a whole batch: their random numbers are drawn together."""
        u = augment.uniforms(self.seed, self.epoch, torch.tensor(indices), NUMBERS)[:, BOX]
        return [self.view(index, row) for index, row in zip(indices, u.tolist(), strict=True)]

    def view(self, index: int, u: Sequence[float]) -> Pixels | BadData:
        """One view; where it is random, u (4) says what it shows."""
        try:
            pixels = self.split.pixels(index)
        except BadData as error:
            return error  # raised by `gather`: an exception from a worker loses its parts
        if self.crop is None:
            return self.preprocessing.view(pixels)
        size, (height, width) = self.preprocessing.size, pixels.shape[:2]
        if self.crop == "area":
            box = augment.area_box(width, height, u)
        else:
            box = augment.scale_box(width, height, size, u)
        return augment.resized(pixels, size, box)


def gather(
    source: Source, chunks: Sequence[Tensor], workers: int, device: torch.device
) -> Iterator[Tensor]:
    """Yield pixels (b, size, size, 3) on the device, chunk by chunk of positions (b)."""
    if (ready := source.ready) is not None:
        stored = resident(source.split, ready, device)
        for indices in moved(chunks, stored.device):
            yield sent(stored.index_select(0, indices), device)
        return
    for views in loaded(source, chunks, workers, together):
        yield sent(torch.from_numpy(views), device)


def resident(split: Split, stored: Tensor, device: torch.device) -> Tensor:
    """The split's images on the device: moved there once, and kept while the split lives.

    Itself where the device has no room to spare.
    """
    if stored.device.type == device.type:
        return stored
    held = _resident.setdefault(split, {})
    if device not in held:
        if stored.nbytes > torch.cuda.mem_get_info(device)[0] // RESIDENT_SHARE:
            return stored
        held[device] = stored.to(device)
    return held[device]


def moved(chunks: Sequence[Tensor], device: torch.device) -> Sequence[Tensor]:
    """The chunks on the device, copied there together: a copy in each step would wait for it."""
    if device.type == "cpu" or not chunks:
        return chunks
    return torch.cat(list(chunks)).to(device).split([len(chunk) for chunk in chunks])


def sent(pixels: Tensor, device: torch.device) -> Tensor:
    """A batch on the device; from pinned memory it is copied while the processor goes on."""
    if device.type == "cuda" and pixels.device.type == "cpu":
        pixels = pixels.pin_memory()
    return pixels.to(device, non_blocking=True)


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
    """The loader's items; its workers end with their parent, which a signal may let finish."""
    with deaf():
        return iter(loader)
