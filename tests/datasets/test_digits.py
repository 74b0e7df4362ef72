"""The bundled digits."""

import numpy as np
import torch
from sklearn.datasets import load_digits

from residua import datasets
from residua.datasets.dataset import digests


def test_the_split_is_fixed() -> None:
    data = datasets.load("digits")
    train, test = data.splits["train"], data.splits["test"]
    assert (len(train), len(test)) == (1437, 360)
    assert torch.bincount(test.labels).tolist() == [36, 36, 36, 36, 37, 36, 36, 36, 35, 36]
    assert data.fingerprint == "acca74eeab3bee9ac701d218c5cf99f72441a3de18f6d185684dfb2c15b3f4ed"
    assert data.classes == tuple("0123456789")
    assert set(digests(train)).isdisjoint(digests(test))


def test_pixels_are_those_of_the_source() -> None:
    source = load_digits()
    split = datasets.load("digits").splits["test"]
    assert isinstance(split.images, torch.Tensor)
    assert split.images.shape[1:] == (8, 8, 3) and split.images.is_contiguous()
    for index in range(0, 360, 50):
        number = int(split.name(index).removeprefix("digits/"))
        assert int(split.labels[index]) == source.target[number]
        expected = np.rint(source.images[number] * 255 / 16)
        assert np.array_equal(split.pixels(index), np.stack([expected] * 3, axis=2))
    assert int(split.images.max()) == 255
