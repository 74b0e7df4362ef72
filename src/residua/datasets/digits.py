"""The 1,797 handwritten digits that come with scikit-learn: data for a first run without network.

They are the test part of the UCI set of handwritten digits (Alpaydin and Kaynak 1998): 8 x 8
pixels with values from 0 to 16, scaled here to 0..255 and repeated for the three channels. Every
fifth digit, in an order of classes and then of image digests, is a test image: 1,437 and 360.
"""

import numpy as np
import torch

from residua.datasets.dataset import Dataset, Split, content, digests

CLASSES = tuple("0123456789")


def load() -> Dataset:
    """The digits with their fixed split, 1,437 images for training and 360 for the test."""
    from sklearn.datasets import load_digits  # slow to import, and needed only here

    bundle = load_digits()
    gray = np.rint(bundle.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8)
    images = torch.from_numpy(gray).unsqueeze(-1).expand(-1, -1, -1, 3).contiguous()
    labels = torch.from_numpy(bundle.target.astype(np.int64))
    whole = Split(images, labels, tuple(f"digits/{index}" for index in range(len(labels))))
    keys = digests(whole)
    order = sorted(range(len(whole)), key=lambda index: (int(labels[index]), keys[index]))
    held = set(order[::5])
    rest = [index for index in range(len(whole)) if index not in held]
    splits = {"train": whole.select(rest), "test": whole.select(sorted(held))}
    return Dataset("digits", "digits", CLASSES, splits, content(splits, CLASSES))
