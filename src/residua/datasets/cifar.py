"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in every layout in which they are published.

A binary record is a label (for CIFAR-100 the coarse, then the fine one) and 3,072 pixel bytes:
the planes R, G and B of 32 x 32, row by row. A Python batch is a pickled dictionary whose "data"
has the same 3,072 bytes per row. Either comes as a folder or as a .tar or .tar.gz archive, and is
recognized by the names of the files in it. CIFAR-100 is read with its 100 fine labels.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from residua.datasets import pickles, tar
from residua.datasets.dataset import Dataset, Split, content
from residua.errors import BadData

SIDE = 32
PIXELS = 3 * SIDE * SIDE
Labels = NDArray[np.int64]  # (n,)
Planes = NDArray[np.uint8]  # (n, 3072)


class Layout(NamedTuple):
    """The files of one published version, and how many images the official ones hold."""

    name: str
    classes: int
    binary: bool
    train: tuple[str, ...]
    test: str
    meta: str
    images: tuple[int, int]

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train, self.test, self.meta)


_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
LAYOUTS = (
    Layout(
        "cifar-10",
        10,
        True,
        tuple(f"{batch}.bin" for batch in _BATCHES),
        "test_batch.bin",
        "batches.meta.txt",
        (50_000, 10_000),
    ),
    Layout("cifar-10", 10, False, _BATCHES, "test_batch", "batches.meta", (50_000, 10_000)),
    Layout(
        "cifar-100",
        100,
        True,
        ("train.bin",),
        "test.bin",
        "fine_label_names.txt",
        (50_000, 10_000),
    ),
    Layout("cifar-100", 100, False, ("train",), "test", "meta", (50_000, 10_000)),
)
NAMES = frozenset(name for layout in LAYOUTS for name in layout.files)
ARCHIVES = (".tar.gz", ".tgz", ".tar")
FOLDERS = 20  # searched for batches; an image folder may have thousands


def find(path: Path) -> Path | None:
    """The folder or archive at or just below `path` that looks like CIFAR, or None."""
    if path.is_file():
        return path if tar.is_archive(path) else None
    children = sorted(path.iterdir())
    folders = [child for child in children if child.is_dir()]
    for folder in (path, *folders[:FOLDERS]):
        if _layout(name for name in NAMES if (folder / name).is_file()):
            return folder
    archives = [child for child in children if child.name.endswith(ARCHIVES)]
    return archives[0] if len(archives) == 1 and archives[0].is_file() else None


def load(path: Path) -> Dataset:
    """Load CIFAR from a folder or an archive; BadData names what is missing or wrong."""
    found = find(path)
    if found is None:
        raise BadData("no CIFAR batches found", str(path), "give the folder or archive of CIFAR")
    layout, files = _open_archive(found) if found.is_file() else _open_folder(found)
    missing = [name for name in layout.files if name not in files]
    if missing:
        raise BadData(
            f"{layout.name} lacks {', '.join(missing)}", str(found), "download it again, complete"
        )
    classes = _classes(layout, files[layout.meta](), f"{found}/{layout.meta}")
    splits: dict[str, Split] = {}
    notes: list[str] = []
    for role, names, official in zip(
        ("train", "test"), (layout.train, (layout.test,)), layout.images, strict=True
    ):
        splits[role] = _split(layout, role, {name: files.pop(name) for name in names}, found)
        if len(splits[role]) != official:
            notes.append(f"{role} has {len(splits[role]):,} images; the official has {official:,}")
    source = str(path.resolve())
    return Dataset(layout.name, source, classes, splits, content(splits, classes), tuple(notes))


Files = dict[str, Callable[[], bytes]]


def _layout(names: Iterable[str]) -> Layout | None:
    """The layout most of whose files are there; two are needed, so that gaps can be named."""
    present = set(names)
    counts = [len(present.intersection(layout.files)) for layout in LAYOUTS]
    return LAYOUTS[counts.index(max(counts))] if max(counts) >= 2 else None


def _open_folder(folder: Path) -> tuple[Layout, Files]:
    files = {name: (folder / name).read_bytes for name in NAMES if (folder / name).is_file()}
    layout = _layout(files)
    if layout is None:
        raise BadData("the CIFAR batches are gone", str(folder), "try again")
    return layout, files


def _open_archive(path: Path) -> tuple[Layout, Files]:
    folders: dict[str, dict[str, bytes]] = {}
    for member, data in tar.members(path):
        folder, _, name = member.rpartition("/")
        if name in NAMES:
            folders.setdefault(folder, {})[name] = data
    for folder in sorted(folders):
        layout = _layout(folders[folder])
        if layout is not None:
            return layout, {name: partial(bytes, data) for name, data in folders[folder].items()}
    raise BadData(
        "the archive holds no CIFAR batches",
        str(path),
        "unpack it and give the folder of images, or a CSV of path,label",
    )


def _classes(layout: Layout, data: bytes, where: str) -> tuple[str, ...]:
    if layout.binary:
        names = [line.strip() for line in data.decode("utf-8", "replace").splitlines()]
        names = [name for name in names if name]
    else:
        key = "label_names" if layout.classes == 10 else "fine_label_names"
        value = pickles.read(data, where).get(key, [])
        names = [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
    if len(set(names)) != layout.classes or len(names) != layout.classes:
        raise BadData(
            f"{len(set(names))} class names where {layout.name} has {layout.classes}",
            where,
            "use the official file",
        )
    return tuple(names)


def _split(layout: Layout, role: str, files: Files, root: Path) -> Split:
    read = _binary if layout.binary else _pickled
    batches: list[tuple[Planes, Labels]] = []
    for name in list(files):
        planes, labels = read(layout, files.pop(name)(), f"{root}/{name}")
        wrong = np.flatnonzero((labels < 0) | (labels >= layout.classes))
        if len(wrong):
            raise BadData(
                f"label {labels[wrong[0]]} where {layout.name} has {layout.classes} classes",
                f"{root}/{name}, image {wrong[0]} (and {len(wrong) - 1:,} more)",
                "use the official file",
            )
        batches.append((planes, labels))
    targets = torch.from_numpy(np.concatenate([labels for _, labels in batches]))
    pixels = torch.empty(len(targets), SIDE, SIDE, 3, dtype=torch.uint8)
    rest = pixels
    while batches:  # each is let go as it is copied: no more than one is held twice
        planes, labels = batches.pop(0)
        _interleave(planes, rest[: len(labels)])
        rest = rest[len(labels) :]
    return Split(pixels, targets, tuple(f"{role}/{index}" for index in range(len(targets))))


def _interleave(planes: Planes, pixels: Tensor) -> None:
    """Write planes (n, 3 * h * w) into pixels (n, h, w, 3)."""
    for channel in range(3):
        plane = planes.reshape(-1, 3, SIDE, SIDE)[:, channel]
        pixels.numpy()[..., channel] = plane


def _binary(layout: Layout, data: bytes, where: str) -> tuple[Planes, Labels]:
    record = PIXELS + (1 if layout.classes == 10 else 2)
    if not data or len(data) % record:
        raise BadData(
            f"{len(data):,} bytes is not a whole number of records of {record:,} bytes",
            where,
            "the file is cut off or of another kind: download it again",
        )
    rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, record)
    return rows[:, -PIXELS:], rows[:, -PIXELS - 1].astype(np.int64)


def _pickled(layout: Layout, data: bytes, where: str) -> tuple[Planes, Labels]:
    batch = pickles.read(data, where)
    key = "labels" if layout.classes == 10 else "fine_labels"
    planes, labels = batch.get("data"), batch.get(key)
    if not isinstance(planes, np.ndarray) or planes.ndim != 2 or planes.shape[1] != PIXELS:
        raise BadData(f'"data" is not an array of n x {PIXELS} bytes', where, pickles.FIX)
    if not isinstance(labels, (list, np.ndarray)) or len(labels) != len(planes):
        raise BadData(f'"{key}" is not one label for each image', where, pickles.FIX)
    if not all(isinstance(label, (int, np.uint8)) and -256 < label < 256 for label in labels):
        raise BadData(f'"{key}" holds something other than labels', where, pickles.FIX)
    return planes, np.asarray(labels, dtype=np.int64)
