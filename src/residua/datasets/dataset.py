"""A data set: named splits of labelled images, and the numbers that identify it.

A split holds its images as one tensor (uint8 "n h w 3") or as the paths of files that are decoded
when asked for. Two digests tell whether two copies are the same data:

    content       the multiset of (split, class, height, width, pixels): the same for one data set
                  stored as binary records, as Python pickles or as a folder of PNG files
    fingerprint   content for images in memory; for files their names, sizes and bytes, so that
                  listing a large folder decodes nothing
"""

import hashlib
import os
import random
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from residua import images
from residua.errors import BadData, Refused
from residua.resources import require
from residua.words import listed

Pixels = NDArray[np.uint8]  # (h, w, 3), RGB

ROLES = ("train", "validation", "test")
SAMPLE = 10_000  # files decoded to measure the statistics of a split
WHOLE_BYTES = 256_000_000  # files of a larger split are sampled for its fingerprint
FINGERPRINT_FILES = 512


@dataclass(frozen=True, eq=False)
class Split:
    """Images with labels: a tensor uint8 (n, h, w, 3) or paths, labels int64 (n,).

    `kept` gives the picture of a position where the files need not be decoded (`datasets.cache`).
    """

    images: Tensor | tuple[Path, ...]
    labels: Tensor
    names: tuple[str, ...] | None = None
    kept: Callable[[int], Pixels] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def in_memory(self) -> bool:
        return isinstance(self.images, Tensor)

    def name(self, index: int) -> str:
        """What a person calls the image: its relative path, or split and position."""
        return self.names[index] if self.names is not None else str(index)

    def pixels(self, index: int) -> Pixels:
        """One image (h, w, 3), decoded if it is a file; BadData if it cannot be."""
        if isinstance(self.images, Tensor):
            return self.images[index].numpy()
        return images.read(self.images[index]) if self.kept is None else self.kept(index)

    def select(self, indices: Tensor | Sequence[int]) -> "Split":
        """The images at `indices`, in that order and under their own names."""
        order = torch.as_tensor(indices, dtype=torch.int64)
        rows = order.tolist()
        names = tuple(self.name(row) for row in rows)
        if isinstance(self.images, Tensor):
            return Split(self.images[order], self.labels[order], names)
        kept = None if (of := self.kept) is None else lambda index: of(rows[index])
        return Split(tuple(self.images[row] for row in rows), self.labels[order], names, kept)

    def evenly(self, most: int | None) -> "Split":
        """At most so many of the images, from all over the split; all of them where it is None."""
        if most is None or most >= len(self):
            return self
        return self.select([index * len(self) // most for index in range(most)])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Splits of labelled images; `notes` tell what was decided while loading, and why."""

    name: str
    source: str
    classes: tuple[str, ...]
    splits: dict[str, Split]
    fingerprint: str
    notes: tuple[str, ...] = ()
    divided: bool = True  # it came with a test split; otherwise one was held out
    seed: int = 0  # that drew it

    def describe(self) -> dict[str, Any]:
        """What a run records about its data, as plain values."""
        train = self.splits["train"].images
        return {
            "name": self.name,
            "source": self.source,
            "classes": len(self.classes),
            "images": {role: len(split) for role, split in self.splits.items()},
            "size": list(train.shape[1:3]) if isinstance(train, Tensor) else None,
            "fingerprint": self.fingerprint,
            "seed": self.seed,
        }


def together(splits: Sequence[Split]) -> Split:
    """All images of several splits as one."""
    names = tuple(split.name(index) for split in splits for index in range(len(split)))
    labels = torch.cat([split.labels for split in splits])
    pixels = [split.images for split in splits if isinstance(split.images, Tensor)]
    if pixels:
        return Split(torch.cat(pixels), labels, names)
    paths = (path for split in splits for path in split.images if isinstance(path, Path))
    return Split(tuple(paths), labels, names)


def digest(pixels: Pixels) -> bytes:
    """The SHA-256 of one decoded image: equal exactly when height, width and pixels are."""
    height, width = pixels.shape[:2]
    hasher = hashlib.sha256(b"%d %d " % (height, width))
    hasher.update(np.ascontiguousarray(pixels).data)
    return hasher.digest()


def digests(split: Split) -> list[bytes]:
    """`digest` of every image, in order; files are decoded one after another."""
    return [digest(split.pixels(index)) for index in range(len(split))]


def content_of(rows: Iterable[tuple[str, str, bytes]]) -> str:
    """The content hash of rows (split, class name, image digest), in whatever order they come."""
    hasher = hashlib.sha256()
    for role, label, image in sorted(rows):
        _add(hasher, role, label)
        hasher.update(image)
    return hasher.hexdigest()


def content(splits: Mapping[str, Split], classes: Sequence[str]) -> str:
    """The content hash of decoded images: the same data has it in whatever format it is stored."""
    return content_of(
        (role, classes[label], image)
        for role, split in splits.items()
        for label, image in zip(split.labels.tolist(), digests(split), strict=True)
    )


def fingerprint(splits: Mapping[str, Split], classes: Sequence[str], full: bool = False) -> str:
    """Identify the data: content in memory, else names, sizes and bytes of the files.

    Above 256 MB only a sample of 512 files, drawn by name, is read unless `full`.
    """
    if all(split.in_memory for split in splits.values()):
        return content(splits, classes)
    rows = sorted(_files(splits, classes))
    readable = [row for row in rows if row[3] >= 0]
    if not full and sum(row[3] for row in readable) > WHOLE_BYTES:
        readable = random.Random(0).sample(readable, min(FINGERPRINT_FILES, len(readable)))
    hasher = hashlib.sha256()
    for role, label, name, size, _ in rows:
        _add(hasher, role, label, name, str(size))
    for *_, path in readable:
        hasher.update(_file_digest(path))
    return hasher.hexdigest()


def _files(
    splits: Mapping[str, Split], classes: Sequence[str]
) -> Iterator[tuple[str, str, str, int, Path]]:
    """Rows (split, class, name, bytes, path); bytes is -1 for what is not a regular file."""
    for role, split in splits.items():
        if isinstance(split.images, Tensor):
            raise Refused("a data set is either in memory or in files, not both", where=role)
        labels = split.labels.tolist()
        for index, path in enumerate(split.images):
            try:
                found = os.stat(path)
                size = found.st_size if stat.S_ISREG(found.st_mode) else -1
            except OSError:
                size = -1
            yield role, classes[labels[index]], split.name(index), size, path


def _file_digest(path: Path) -> bytes:
    """SHA-256 of a file; a file that cannot be read has a digest of its own (`check` names it)."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return hashlib.sha256(b"unreadable").digest()


def _add(hasher: "hashlib._Hash", *texts: str) -> None:
    """Hash texts with their lengths, so that ("a", "bc") and ("ab", "c") differ."""
    for text in texts:
        encoded = text.encode("utf-8", "surrogateescape")
        hasher.update(b"%d:" % len(encoded))
        hasher.update(encoded)


def hold_out(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """Split into (rest, held), class by class, in an order drawn by hashing seed and image.

    A file is known by its name and an image in memory by its pixels. Each class of n images gives
    the nearest whole number to `fraction` * n, at least 1 and at most n - 1. Adding an image
    moves at most one other, of its own class. Equal images stay together.

    Raises:
        Refused: the fraction is none.
        BadData: a class has a single image.
        OutOfResources: there is no memory for a copy of the images.
    """
    if not 0 < fraction < 1:
        raise Refused(f"cannot hold out {fraction} of the images", fix="choose between 0 and 1")
    by_class: dict[int, list[int]] = {}
    for index, label in enumerate(split.labels.tolist()):
        by_class.setdefault(label, []).append(index)
    single = [split.name(members[0]) for members in by_class.values() if len(members) < 2]
    if single:
        raise BadData(
            f"{len(single)} class(es) have one image, which cannot be both learned and held out",
            where=listed(single),
            fix="add images to these classes or remove the classes",
        )
    if isinstance(split.images, Tensor):
        what = "to hold images out, all are copied, which takes"
        require(split.images.nbytes, what, "add --validation 0")
    keys = _keys(split, seed)
    held: list[int] = []
    for members in by_class.values():
        members.sort(key=lambda index: keys[index])
        held += members[: _cut([keys[index] for index in members], fraction)]
    inside = set(held)
    rest = [index for index in range(len(split)) if index not in inside]
    return split.select(rest), split.select(sorted(held))


def _keys(split: Split, seed: int) -> list[bytes]:
    """A reproducible random number for every image."""
    start = f"{seed}:".encode()
    if split.in_memory:
        return [hashlib.sha256(start + image).digest() for image in digests(split)]
    names = (split.name(index) for index in range(len(split)))
    return [hashlib.sha256(start + name.encode("utf-8", "replace")).digest() for name in names]


def _cut(keys: Sequence[bytes], fraction: float) -> int:
    """How many of a class's sorted keys to hold out; equal keys (equal images) are not parted."""
    wanted = max(1, min(len(keys) - 1, int(fraction * len(keys) + 0.5)))
    places = [k for k in range(1, len(keys)) if keys[k - 1] != keys[k]]
    return min(places, key=lambda k: abs(k - wanted), default=wanted)


def statistics(
    split: Split, view: Callable[[Pixels], Pixels] | None = None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel over all pixels, in 0..1.

    `view` maps an image to what the network sees, such as `Preprocessing.view`. Of more than
    10,000 files a fixed random sample is decoded; images in memory are all used.
    """
    counts = np.zeros((3, 256))  # how often each channel has each value: exact, whatever the size
    for block in _blocks(split, view):
        for channel in range(3):
            counts[channel] += np.bincount(block[..., channel].ravel(), minlength=256)
    if not counts.any():
        raise BadData("a split without images has no statistics", fix="add images")
    shares = counts / counts.sum(axis=1, keepdims=True)
    values = np.arange(256) / 255
    mean = shares @ values
    deviation = np.sqrt((shares * np.square(values - mean[:, None])).sum(axis=1))
    return tuple(mean.tolist()), tuple(deviation.tolist())


def _blocks(split: Split, view: Callable[[Pixels], Pixels] | None) -> Iterator[Pixels]:
    if isinstance(split.images, Tensor) and view is None:
        yield from (block.numpy() for block in split.images.split(1000))
        return
    chosen: Sequence[int] = range(len(split))
    if not split.in_memory and len(split) > SAMPLE:
        chosen = sorted(random.Random(0).sample(chosen, SAMPLE))
    for index in chosen:
        pixels = split.pixels(index)
        yield pixels if view is None else view(pixels)


def pixel_mean(split: Split) -> NDArray[np.float64]:
    """The mean image (h, w, 3) of a split in memory, in 0..1 (2016a, section 4.2)."""
    if not isinstance(split.images, Tensor):
        raise Refused(
            "a mean image needs images of one size in memory",
            fix="use channel means, or decode the split to one size first",
        )
    total = sum(
        (block.sum(dim=0, dtype=torch.int64) for block in split.images.split(1000)),
        start=torch.zeros(split.images.shape[1:], dtype=torch.int64),
    )
    return total.numpy() / (255 * max(len(split), 1))


def slug(name: str) -> str:
    """A name fit for a run directory: lower case letters, digits and single hyphens."""
    return re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") or "data"


class Fault(NamedTuple):
    """One thing that is wrong with a data set, and what to do about it."""

    what: str
    fix: str


def refuse(faults: Sequence[Fault], where: str) -> NoReturn:
    """Raise one BadData for everything that is wrong, so that nobody fixes one thing per run."""
    if len(faults) == 1:
        raise BadData(faults[0].what, where, faults[0].fix)
    lines = "".join(f"\n  {number}. {fault.what}" for number, fault in enumerate(faults, 1))
    fixes = dict.fromkeys(fault.fix for fault in faults)
    raise BadData(f"{len(faults)} problems{lines}", where, "; ".join(fixes))
