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
from pathlib import Path
from typing import TYPE_CHECKING

from residua.errors import BadData, Refused, suggestion
from residua.words import harmless

if TYPE_CHECKING:  # names are checked before the seconds that loading torch takes
    from residua.datasets.dataset import Dataset

__all__ = ["DATASETS", "find", "load"]

HOME = Path("data")


def load_digits() -> "Dataset":
    """1,797 handwritten digits of 8 x 8 pixels, bundled with scikit-learn."""
    from residua.datasets import digits

    return digits.load()


def load_cifar10() -> "Dataset":
    """CIFAR-10: 60,000 photographs of 32 x 32 pixels in 10 classes."""
    from residua.datasets import cifar

    return stored("cifar10", cifar.load)


def load_cifar100() -> "Dataset":
    """CIFAR-100: the same in 100 classes."""
    from residua.datasets import cifar

    return stored("cifar100", cifar.load)


def load_fashion_mnist() -> "Dataset":
    """Fashion-MNIST: 70,000 pictures of clothes, 28 x 28 pixels, in 10 classes."""
    from residua.datasets import idx

    return stored("fashion-mnist", idx.load)


DATASETS: dict[str, Callable[[], "Dataset"]] = {
    "digits": load_digits,
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "fashion-mnist": load_fashion_mnist,
}


def stored(name: str, read: Callable[[Path], "Dataset"]) -> "Dataset":
    """A data set from its folder in ./data."""
    place = HOME / name
    if not place.exists():
        raise Refused(f"{name} is not here", str(place.absolute()), f"residua download {name}")
    data = read(place)
    if data.name.replace("-", "") != name.replace("-", ""):
        fix = f"move it elsewhere, then residua download {name}"
        raise BadData(f"this is {data.name}, not {name}", str(place), fix)
    return data


def find(source: str | Path) -> Path | None:
    """The path that `source` names, None for a registered name; nothing is read.

    Raises:
        Refused: it is neither; the message tells the nearest that is.
        BadData: the path is no file and no folder, or cannot be looked at.
    """
    if source in DATASETS:
        return None
    path = Path(source)
    try:
        if path.is_dir() or path.is_file():
            return path
        exists = os.path.lexists(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadData(f"cannot be read: {reason}", harmless(str(path)), "check the path") from error
    if exists:
        raise BadData(
            "not a file or a folder", harmless(str(path)), "give a folder, CSV or archive"
        )
    raise nothing(str(source))


def nothing(source: str) -> Refused:
    """The error for a name that is neither registered nor a path, with the nearest that is."""
    parent = Path(source).parent
    try:
        near = [str(parent / name) for name in os.listdir(parent) if not name.startswith(".")]
    except (OSError, ValueError):
        near = []
    fix = suggestion(source, [*DATASETS, *near])
    known = f"give a folder, CSV or archive, or one of: {', '.join(DATASETS)}"
    return Refused(f'no data set or path "{harmless(source)}"', fix=harmless(fix) or known)


def load(source: "str | Path | Dataset", seed: int = 0) -> "Dataset":
    """The data set of a registered name or a path; `seed` draws a test split where there is none.

    Raises Refused for a name that is neither, BadData for data that cannot be used.
    """
    if not isinstance(source, str | Path):
        return source
    path = find(source)
    if path is None:
        return DATASETS[str(source)]()
    try:
        return load_folder(path, seed) if path.is_dir() else load_file(path, seed)
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadData(f"cannot be read: {reason}", harmless(str(path)), "check the path") from error


def load_folder(path: Path, seed: int) -> "Dataset":
    """IDX files, CIFAR, or images by class."""
    from residua.datasets import cifar, folder, idx

    if idx.find(path):
        return idx.load(path)
    return cifar.load(path) if cifar.find(path) else folder.load(path, seed)


def load_file(path: Path, seed: int) -> "Dataset":
    """An archive of CIFAR or a table."""
    from residua.datasets import cifar, folder, table, tar

    if tar.is_archive(path):
        return cifar.load(path)
    if path.name.lower().endswith(folder.SUFFIXES):
        raise BadData("one image is no data set", str(path), "give the folder of all images")
    with path.open("rb") as stream:
        start = stream.read(4096)
    if start.startswith(b"PK"):
        raise BadData("a zip archive", str(path), "unpack it and give the folder")
    if start.startswith(b"PAR1"):
        raise BadData("a parquet file", str(path), "save its images to a folder, one per class")
    if b"\0" in start and not start.startswith((b"\xff\xfe", b"\xfe\xff")):
        fix = "give a folder of images, a CSV of path,label, or the CIFAR archive"
        raise BadData("not a table and not an archive", str(path), fix)
    return table.load(path, seed)
