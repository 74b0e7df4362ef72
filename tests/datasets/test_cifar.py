"""CIFAR in each layout: the same content, and a clear error for everything that is not CIFAR."""

import os
import pickle
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from residua import datasets, images
from residua.datasets import cifar, dataset
from residua.datasets.dataset import Dataset, content
from residua.errors import BadData

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PER_BATCH = 10


def make_batches(count: int, seed: int = 0) -> list[tuple[NDArray[np.uint8], list[int]]]:
    draw = np.random.default_rng(seed)
    return [
        (
            draw.integers(0, 256, (PER_BATCH, 3072), dtype=np.uint8),
            draw.permutation(PER_BATCH).tolist(),
        )
        for _ in range(count)
    ]


BATCHES = make_batches(6)
NAMES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


def write_binary(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, (planes, labels) in zip(NAMES, BATCHES, strict=True):
        rows = np.concatenate([np.array(labels, np.uint8)[:, None], planes], axis=1)
        (folder / f"{name}.bin").write_bytes(rows.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(CLASSES) + "\n\n")
    return folder


def write_python(folder: Path, protocol: int = 2) -> Path:
    folder.mkdir(parents=True)
    for name, (planes, labels) in zip(NAMES, BATCHES, strict=True):
        batch = {b"data": planes, b"labels": labels, b"batch_label": name.encode()}
        (folder / name).write_bytes(pickle.dumps(batch, protocol))
    meta = {"label_names": list(CLASSES), "num_vis": 3072, "num_cases_per_batch": PER_BATCH}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol))
    return folder


def write_png(folder: Path, data: Dataset) -> Path:
    for role, split in data.splits.items():
        for index, label in enumerate(split.labels.tolist()):
            path = folder / role / data.classes[label] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(images.encode_png(split.pixels(index)))
    return folder


def pack(folder: Path, path: Path) -> Path:
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
        archive.add(folder, "cifar-10-batches")
    return path


def test_pixels_and_labels_are_where_they_belong(tmp_path: Path) -> None:
    data = datasets.load(write_binary(tmp_path / "c"))
    train = data.splits["train"]
    assert isinstance(train.images, torch.Tensor)
    assert train.images.shape == (50, 32, 32, 3)
    assert train.images.dtype == torch.uint8 and train.images.is_contiguous()
    assert (data.name, data.classes, train.labels.dtype) == ("cifar-10", CLASSES, torch.int64)
    planes, labels = BATCHES[2]
    assert train.labels[20:30].tolist() == labels
    assert np.array_equal(train.pixels(23), planes[3].reshape(3, 32, 32).transpose(1, 2, 0))
    assert train.name(23) == "train/23"
    assert data.notes == (
        "train has 50 images; the official has 50,000",
        "test has 10 images; the official has 10,000",
    )


def test_every_layout_has_the_same_content(tmp_path: Path) -> None:
    binary = write_binary(tmp_path / "data" / "cifar-10-batches-bin")
    python = write_python(tmp_path / "python")
    expected = datasets.load(binary)
    paths = [
        tmp_path / "data",
        python,
        *(write_python(tmp_path / f"python{protocol}", protocol) for protocol in (0, 1, 3, 4, 5)),
        pack(binary, tmp_path / "binary.tar.gz"),
        pack(python, tmp_path / "python.tgz"),
        pack(python, tmp_path / "python.tar"),
    ]
    for path in paths:
        data = datasets.load(path)
        assert (data.fingerprint, data.name) == (expected.fingerprint, "cifar-10"), path
    png = datasets.load(write_png(tmp_path / "png", expected))
    assert png.classes == CLASSES
    assert content(png.splits, png.classes) == expected.fingerprint


def test_a_folder_with_one_archive(tmp_path: Path) -> None:
    source = write_binary(tmp_path / "source")
    (tmp_path / "home").mkdir()
    pack(source, tmp_path / "home" / "cifar-10-binary.tar.gz")
    assert datasets.load(tmp_path / "home").fingerprint == datasets.load(source).fingerprint


def write_100(folder: Path, binary: bool) -> Path:
    folder.mkdir()
    names = [f"class{index}" for index in range(100)]
    for name, (planes, _) in zip(("train", "test"), make_batches(2, seed=1), strict=True):
        fine = list(range(90, 100))
        if binary:
            two = np.stack([np.full(10, 7), fine], axis=1).astype(np.uint8)
            (folder / f"{name}.bin").write_bytes(np.concatenate([two, planes], axis=1).tobytes())
        else:
            batch = {"data": planes, "fine_labels": fine, "coarse_labels": [7] * 10}
            (folder / name).write_bytes(pickle.dumps(batch, 2))
    if binary:
        (folder / "fine_label_names.txt").write_text("\n".join(names))
    else:
        (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names}, 2))
    return folder


def test_cifar_100_is_read_with_its_fine_labels(tmp_path: Path) -> None:
    binary = datasets.load(write_100(tmp_path / "b", binary=True))
    python = datasets.load(write_100(tmp_path / "p", binary=False))
    assert binary.fingerprint == python.fingerprint
    assert binary.name == "cifar-100" and len(binary.classes) == 100
    assert binary.splits["test"].labels.tolist() == list(range(90, 100))


def test_a_registered_name_is_looked_for_in_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = datasets.load(write_binary(tmp_path / "data" / "cifar10" / "cifar-10-batches-bin"))
    assert datasets.load("cifar10").fingerprint == expected.fingerprint
    write_100(tmp_path / "data" / "fashion-mnist", binary=True)
    (tmp_path / "data" / "cifar10").rename(tmp_path / "data" / "cifar100")
    with pytest.raises(BadData, match="this is cifar-10, not cifar100"):
        datasets.load("cifar100")
    with pytest.raises(BadData, match="missing: train-images-idx3-ubyte"):
        datasets.load("fashion-mnist")


def test_missing_files_are_named(tmp_path: Path) -> None:
    folder = write_binary(tmp_path / "c")
    (folder / "data_batch_2.bin").unlink()
    (folder / "batches.meta.txt").unlink()
    with pytest.raises(BadData, match=r"lacks data_batch_2\.bin, batches\.meta\.txt"):
        datasets.load(folder)


@pytest.mark.parametrize("cut", [1, 3072])
def test_a_file_that_is_cut_off(tmp_path: Path, cut: int) -> None:
    folder = write_binary(tmp_path / "c")
    path = folder / "data_batch_4.bin"
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(BadData, match=r"whole number of records(.|\n)*data_batch_4\.bin"):
        datasets.load(folder)


def test_an_empty_file(tmp_path: Path) -> None:
    folder = write_binary(tmp_path / "c")
    (folder / "test_batch.bin").write_bytes(b"")
    with pytest.raises(BadData, match="0 bytes"):
        datasets.load(folder)


def test_a_label_out_of_range(tmp_path: Path) -> None:
    folder = write_binary(tmp_path / "c")
    path = folder / "data_batch_4.bin"
    data = bytearray(path.read_bytes())
    data[5 * 3073] = 255
    path.write_bytes(data)
    with pytest.raises(BadData, match=r"label 255(.|\n)*data_batch_4\.bin, image 5"):
        datasets.load(folder)


@pytest.mark.parametrize(
    "batch",
    [
        {"data": np.zeros((2, 3072), np.uint8), "labels": [1]},
        {"data": np.zeros((2, 3072), np.uint8), "labels": [1, -1]},
        {"data": np.zeros((2, 3072), np.uint8), "labels": [1, 10**30]},
        {"data": np.zeros((2, 3072), np.uint8), "labels": ["a", "b"]},
        {"data": np.zeros((2, 3072), np.uint8)},
        {"data": np.zeros((2, 100), np.uint8), "labels": [1, 2]},
        {"data": np.zeros(6144, np.uint8), "labels": [1, 2]},
        {"labels": [1, 2]},
    ],
)
def test_a_pickled_batch_that_is_wrong(tmp_path: Path, batch: dict[str, object]) -> None:
    folder = write_python(tmp_path / "c")
    (folder / "data_batch_1").write_bytes(pickle.dumps(batch, 2))
    with pytest.raises(BadData, match="data_batch_1"):
        datasets.load(folder)


class Evil:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["data_batch_3", "batches.meta"])
def test_a_hostile_pickle_runs_nothing(tmp_path: Path, protocol: int, name: str) -> None:
    folder = write_python(tmp_path / "c")
    (folder / name).write_bytes(pickle.dumps({"data": Evil(tmp_path / "canary")}, protocol))
    with pytest.raises(BadData, match="asks for"):
        datasets.load(folder)
    assert not (tmp_path / "canary").exists()


def test_class_names_must_be_ten(tmp_path: Path) -> None:
    folder = write_binary(tmp_path / "c")
    (folder / "batches.meta.txt").write_text("cat\ndog\ncat\n")
    with pytest.raises(BadData, match="2 class names where cifar-10 has 10"):
        datasets.load(folder)


def test_an_archive_of_other_things(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "readme").write_text("hello")
    with pytest.raises(BadData, match="no CIFAR batches"):
        datasets.load(pack(tmp_path / "x", tmp_path / "x.tar.gz"))
    with pytest.raises(BadData, match="no CIFAR batches"):
        cifar.load(tmp_path / "x")


def test_the_real_cifar_10(shared_data: Path, tmp_path: Path) -> None:
    start = time.monotonic()
    data = datasets.load(shared_data / "cifar-10-binary.tar.gz")
    seconds = time.monotonic() - start
    train = data.splits["train"]
    assert (len(train), len(data.splits["test"]), data.classes) == (50_000, 10_000, CLASSES)
    assert not data.notes
    mean, deviation = dataset.statistics(train)
    assert [round(value, 5) for value in mean] == [0.49140, 0.48216, 0.44653]
    assert [round(value, 4) for value in deviation] == [0.2470, 0.2435, 0.2616]
    assert torch.bincount(train.labels).tolist() == [5000] * 10
    _, held = dataset.hold_out(train, 0.1, seed=0)
    assert torch.bincount(held.labels).tolist() == [500] * 10
    assert seconds < 10, "3 s on a machine of its own"
    few = {role: split.select(range(60)) for role, split in data.splits.items()}
    subset = Dataset("few", "few", data.classes, few, content(few, data.classes))
    png = datasets.load(write_png(tmp_path / "png", subset))
    assert content(png.splits, png.classes) == subset.fingerprint
