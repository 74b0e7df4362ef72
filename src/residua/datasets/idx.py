"""The IDX files of MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017).

A file is a magic number (two zero bytes, 8 for unsigned bytes, the number of axes), the length of
each axis as a big-endian 32-bit integer, and the bytes. Four files make a data set: images and
labels, train and t10k (the test), each plain or compressed by gzip. Gray becomes RGB.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from residua.datasets.dataset import Dataset, Split, content
from residua.errors import BadData

LIMIT = 400_000_000  # bytes of one file; Fashion-MNIST has 47 MB
PARTS = {"train": "train", "test": "t10k"}
FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# The files do not say which data set they are; their first ten training labels do.
KNOWN = {
    (9, 0, 0, 3, 0, 2, 7, 2, 5, 5): ("fashion-mnist", FASHION),
    (5, 0, 4, 1, 9, 2, 1, 3, 1, 4): ("mnist", tuple("0123456789")),
}
FIX = "download the four files again"


def find(folder: Path) -> dict[str, Path]:
    """The IDX files in a folder, as "train-images" -> path; empty when there are none."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        stem = path.name.lower().removesuffix(".gz").replace(".", "-")
        for part in PARTS.values():
            for kind, axes in (("images", 3), ("labels", 1)):
                if stem == f"{part}-{kind}-idx{axes}-ubyte" and path.is_file():
                    found.setdefault(f"{part}-{kind}", path)
    return found


def load(folder: Path) -> Dataset:
    """Load the four IDX files of a folder; BadData names what is missing or wrong."""
    files = find(folder)
    missing = [
        f"{part}-{kind}-idx{axes}-ubyte"
        for part in PARTS.values()
        for kind, axes in (("images", 3), ("labels", 1))
        if f"{part}-{kind}" not in files
    ]
    if missing:
        raise BadData(f"missing: {', '.join(missing)}", str(folder), FIX)
    splits = {role: _split(role, part, files) for role, part in PARTS.items()}
    labels = splits["train"].labels
    plain = tuple(str(number) for number in range(int(labels.max()) + 1))
    name, classes = KNOWN.get(tuple(labels[:10].tolist()), ("idx", plain))
    for role, split in splits.items():
        largest = int(split.labels.max())
        if largest >= len(classes):
            raise BadData(
                f"label {largest} in {role} where there are {len(classes)} classes",
                str(files[f"{PARTS[role]}-labels"]),
                FIX,
            )
    source = str(folder.resolve())
    return Dataset(name, source, classes, splits, content(splits, classes))


def _split(role: str, part: str, files: dict[str, Path]) -> Split:
    gray = _read(files[f"{part}-images"], axes=3)
    labels = _read(files[f"{part}-labels"], axes=1)
    if len(gray) != len(labels):
        raise BadData(
            f"{len(gray):,} images but {len(labels):,} labels",
            f"{files[f'{part}-images']} and {files[f'{part}-labels'].name}",
            FIX,
        )
    images = torch.from_numpy(np.repeat(gray[..., None], 3, axis=3))  # (n, h, w, 3)
    names = tuple(f"{role}/{index}" for index in range(len(labels)))
    return Split(images, torch.from_numpy(labels.astype(np.int64)), names)


def _read(path: Path, axes: int) -> NDArray[np.uint8]:
    """The array of one file; its length must be exactly what its header says."""
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not zipped:
                return _parse(raw, path, axes)
            with gzip.GzipFile(fileobj=raw) as file:
                return _parse(file, path, axes)
    except (OSError, EOFError, zlib.error) as error:
        raise BadData(f"damaged or cut off: {error}", str(path), FIX) from error


def _parse(file: BinaryIO | gzip.GzipFile, path: Path, axes: int) -> NDArray[np.uint8]:
    header = file.read(4 + 4 * axes)
    if len(header) < 4 + 4 * axes or header[:4] != bytes((0, 0, 8, axes)):
        raise BadData(f"not an IDX file of bytes with {axes} axes", str(path), FIX)
    shape = tuple(np.frombuffer(header, dtype=">u4", offset=4).tolist())
    size = math.prod(shape)
    if not 0 < size <= LIMIT:
        raise BadData(f"an array of {' x '.join(map(str, shape))} bytes", str(path), FIX)
    data = file.read(size + 1)
    if len(data) != size:
        more = "more" if len(data) > size else f"{len(data):,}"
        raise BadData(f"{more} bytes where its header says {size:,}", str(path), FIX)
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)
