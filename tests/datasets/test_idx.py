"""IDX files, plain and compressed, right and wrong."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from residua import datasets
from residua.errors import BadData

FASHION = [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
MNIST = [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
PIXELS = np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)


def encode(array: NDArray[np.uint8]) -> bytes:
    return (
        bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + bytes(array)
    )


def write(folder: Path, labels: list[int], zipped: bool = False, dot: str = "-") -> Path:
    folder.mkdir(exist_ok=True)
    for part in ("train", "t10k"):
        for kind, array in (("images", PIXELS), ("labels", np.array(labels, np.uint8))):
            data = encode(array)
            name = f"{part}-{kind}{dot}idx{array.ndim}-ubyte" + (".gz" if zipped else "")
            (folder / name).write_bytes(gzip.compress(data) if zipped else data)
    return folder


def test_fashion_mnist_is_recognized_by_its_labels(tmp_path: Path) -> None:
    plain = datasets.load(write(tmp_path / "a", FASHION))
    zipped = datasets.load(write(tmp_path / "b", FASHION, zipped=True))
    dotted = datasets.load(write(tmp_path / "c", FASHION, dot="."))
    assert plain.fingerprint == zipped.fingerprint == dotted.fingerprint
    assert plain.name == "fashion-mnist" and plain.classes[9] == "Ankle boot"
    train = plain.splits["train"]
    assert train.labels.tolist() == FASHION
    assert np.array_equal(train.pixels(3), np.stack([PIXELS[3]] * 3, axis=2))


def test_mnist_and_others(tmp_path: Path) -> None:
    assert datasets.load(write(tmp_path / "a", MNIST)).name == "mnist"
    other = datasets.load(write(tmp_path / "b", [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]))
    assert (other.name, other.classes) == ("idx", ("0", "1", "2"))


def test_missing_files_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", MNIST)
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(BadData, match="missing: t10k-labels-idx1-ubyte"):
        datasets.load(folder)


IMAGES = encode(PIXELS)
WRONG = {
    "cut off": IMAGES[:-1],
    "too long": IMAGES + b"x",
    "another magic number": b"\0\0\x0d\3" + IMAGES[4:],
    "header only in part": IMAGES[:7],
    "empty": b"",
    "no images": encode(PIXELS[:0]),
    "fewer images than labels": encode(PIXELS[:9]),
    "of 79 exabytes": b"\0\0\x08\3" + b"\xff" * 12,
    "gzip cut off": gzip.compress(IMAGES)[:-12],
    "gzip damaged": gzip.compress(IMAGES)[:40] + b"\xff" * 60,
    "gzip bomb": gzip.compress(IMAGES + bytes(10_000_000)),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files_are_refused(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "a", MNIST)
    (folder / "train-images-idx3-ubyte").write_bytes(WRONG[name])
    with pytest.raises(BadData, match="train-images-idx3-ubyte"):
        datasets.load(folder)


def test_a_label_without_a_class(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", MNIST)
    labels = np.array([255, *MNIST[1:]], np.uint8)
    (folder / "t10k-labels-idx1-ubyte").write_bytes(encode(labels))
    with pytest.raises(BadData, match="label 255 in test where there are 10 classes"):
        datasets.load(folder)
