"""Data sets: by name, or whatever a path turns out to hold.

digits                     bundled with scikit-learn
cifar10 cifar100           looked for in ./data/<name>, where `residua download` puts them
fashion-mnist              the same
a folder or an archive     of CIFAR, binary or Python
a folder                   of IDX files, or of images by class
a CSV                      of path,label[,split]
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from residua.datasets import cifar, digits, folder, idx, table, tar
from residua.datasets.dataset import (
    Dataset,
    Split,
    content,
    fingerprint,
    hold_out,
    pixel_mean,
    shown,
    statistics,
)
from residua.errors import BadData, Refused, suggestion

__all__ = [
    "DATASETS",
    "Dataset",
    "Split",
    "content",
    "fingerprint",
    "hold_out",
    "load",
    "pixel_mean",
    "statistics",
]

HOME = Path("data")


def _stored(name: str, read: Callable[[Path], Dataset]) -> Dataset:
    """A data set from its folder in ./data."""
    place = HOME / name
    if not place.exists():
        raise Refused(f"{name} is not here", str(place.absolute()), f"residua download {name}")
    data = read(place)
    if data.name.replace("-", "") != name.replace("-", ""):
        fix = f"move it elsewhere, then residua download {name}"
        raise BadData(f"this is {data.name}, not {name}", str(place), fix)
    return data


DATASETS: dict[str, Callable[[], Dataset]] = {
    "digits": digits.load,
    "cifar10": partial(_stored, "cifar10", cifar.load),
    "cifar100": partial(_stored, "cifar100", cifar.load),
    "fashion-mnist": partial(_stored, "fashion-mnist", idx.load),
}


def load(source: str | Path | Dataset, seed: int = 0) -> Dataset:
    """The data set of a registered name or a path; `seed` draws a test split where there is none.

    Raises Refused for a name that is neither, BadData for data that cannot be used.
    """
    if isinstance(source, Dataset):
        return source
    if isinstance(source, str) and source in DATASETS:
        return DATASETS[source]()
    path = Path(source)
    try:
        if path.is_dir():
            return _folder(path, seed)
        if path.is_file():
            return _file(path, seed)
        exists = os.path.lexists(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadData(f"cannot be read: {reason}", shown(str(path)), "check the path") from error
    if exists:
        raise BadData("not a file or a folder", shown(str(path)), "give a folder, CSV or archive")
    raise _nothing(str(source))


def _folder(path: Path, seed: int) -> Dataset:
    if idx.find(path):
        return idx.load(path)
    return cifar.load(path) if cifar.find(path) else folder.load(path, seed)


def _file(path: Path, seed: int) -> Dataset:
    if tar.is_archive(path):
        return cifar.load(path)
    if path.name.lower().endswith(folder.SUFFIXES):
        raise BadData("one image is no data set", str(path), "give the folder of all images")
    with path.open("rb") as file:
        start = file.read(4096)
    if start.startswith(b"PK"):
        raise BadData("a zip archive", str(path), "unpack it and give the folder")
    if start.startswith(b"PAR1"):
        raise BadData("a parquet file", str(path), "save its images to a folder, one per class")
    if b"\0" in start and not start.startswith((b"\xff\xfe", b"\xfe\xff")):
        fix = "give a folder of images, a CSV of path,label, or the CIFAR archive"
        raise BadData("not a table and not an archive", str(path), fix)
    return table.load(path, seed)


def _nothing(source: str) -> Refused:
    """The error for a name that is neither registered nor a path, with the nearest that is."""
    parent = Path(source).parent
    try:
        near = [str(parent / name) for name in os.listdir(parent) if not name.startswith(".")]
    except (OSError, ValueError):
        near = []
    fix = suggestion(source, [*DATASETS, *near])
    known = f"give a folder, CSV or archive, or one of: {', '.join(DATASETS)}"
    return Refused(f'no data set or path "{shown(source)}"', fix=shown(fix) or known)
