"""A split decoded once: every file becomes the pixels that the network sees, in one tensor.

Training reads each image once an epoch; where the decoded split fits in memory, decoding it once
saves all later decoding. Nothing is skipped: one list names every file that cannot be read.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import torch
from torch import Tensor

from residua.datasets.dataset import Split
from residua.errors import BadData
from residua.images import Preprocessing
from residua.resources import require
from residua.words import count, listed

BLOCK = 64  # images a worker takes at a time


def in_memory(split: Split, preprocessing: Preprocessing, workers: int = 1) -> Split:
    """The split with its views in a tensor uint8 (n, size, size, 3); BadData lists bad files."""
    size = preprocessing.size
    if isinstance(split.images, Tensor) and split.images.shape[1:3] == (size, size):
        return split
    needed = len(split) * size * size * 3
    require(needed, f"{count(len(split))} images of {size} pixels take", "choose a smaller --size")
    pixels = torch.empty((len(split), size, size, 3), dtype=torch.uint8)
    rows = pixels.numpy()  # the same memory

    def fill(block: range) -> list[tuple[str, str]]:
        bad = []
        for index in block:
            try:
                rows[index] = preprocessing.view(split.pixels(index))
            except BadData as error:
                bad.append((split.name(index), error.what))
        return bad

    blocks = [range(at, min(at + BLOCK, len(split))) for at in range(0, len(split), BLOCK)]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        bad = list(chain.from_iterable(pool.map(fill, blocks)))
    if bad:
        raise unreadable(bad)
    return Split(pixels, split.labels, tuple(map(split.name, range(len(split)))))


def unreadable(bad: Sequence[tuple[str, str]]) -> BadData:
    """The error that lists every image that cannot be read, (name, what) each."""
    return BadData(
        f"{len(bad)} image(s) cannot be read",
        where=listed([f"{name} ({what})" for name, what in bad], limit=len(bad)),
        fix="remove them or copy them again; `residua check` lists all that is wrong",
    )
