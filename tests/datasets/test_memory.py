"""Decoding a split once: the same pixels as one by one, and all bad files in one error."""

from pathlib import Path

import numpy as np
import pytest
import torch
from faults import mixed, place, plant

from residua import datasets
from residua.datasets.dataset import Split
from residua.datasets.memory import in_memory
from residua.errors import BadData, OutOfResources
from residua.images import Preprocessing


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_every_row_is_the_view_of_its_image(tmp_path: Path, fit: str, workers: int) -> None:
    mixed(tmp_path, train=30, test=2)  # 90 images: more than one block for a worker
    split = datasets.load(tmp_path).splits["train"]
    preprocessing = Preprocessing(24, fit, 28)
    stored = in_memory(split, preprocessing, workers)
    assert isinstance(stored.images, torch.Tensor)
    assert stored.images.shape == (90, 24, 24, 3) and stored.images.dtype == torch.uint8
    assert torch.equal(stored.labels, split.labels) and stored.names == split.names
    for index in range(len(split)):
        view = preprocessing.view(split.pixels(index))
        assert np.array_equal(stored.images[index].numpy(), view)
        assert np.array_equal(preprocessing.view(stored.pixels(index)), view)  # viewed once


def test_all_bad_files_are_in_one_error(tmp_path: Path) -> None:
    mixed(tmp_path)
    planted = plant(tmp_path)
    place(tmp_path, "train/cat/line\nbreak.jpg", b"text")
    split = datasets.load(tmp_path).splits["train"]
    bad = set().union(
        *(planted[kind] for kind in ("corrupt", "empty", "not-an-image", "too-large"))
    )
    with pytest.raises(BadData) as caught:
        in_memory(split, Preprocessing(16), 2)
    assert caught.value.what == "6 image(s) cannot be read"
    for name in bad:
        assert (name in caught.value.where) == name.startswith("train")
    assert "\n" not in caught.value.where and r"line\nbreak.jpg" in caught.value.where


def test_a_split_in_memory_is_kept_or_viewed() -> None:
    images = torch.randint(0, 256, (5, 8, 8, 3), dtype=torch.uint8)
    split = Split(images, torch.arange(5))
    assert in_memory(split, Preprocessing(8)) is split
    smaller = in_memory(split, Preprocessing(4), 2)
    assert isinstance(smaller.images, torch.Tensor)
    expected = Preprocessing(4).view(images[3].numpy())
    assert np.array_equal(smaller.images[3].numpy(), expected)


def test_an_empty_split_and_one_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before it is read: memory that was promised may not be there."""
    empty = Split((), torch.empty(0, dtype=torch.int64), ())
    assert len(in_memory(empty, Preprocessing(8))) == 0
    split = Split(torch.zeros(1000, 4, 4, 3, dtype=torch.uint8), torch.zeros(1000).long())
    monkeypatch.setattr("residua.resources.free_memory", lambda: 1000 * 64 * 64 * 3 - 1)
    with pytest.raises(OutOfResources, match="1,000 images of 64 pixels take 13 MB") as refused:
        in_memory(split, Preprocessing(64))
    assert refused.value.where == "13 MB are free"
