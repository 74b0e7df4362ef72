"""Near duplicates: copies of a picture that were re-encoded, resized, mirrored, slightly cropped or
made brighter, within a data set or between what is learned and what is tested.

    1. describe   discrete cosine transform c of the luminance L at 32 x 32, its 70 coefficients of
                  a frequency f = |(u, v)| below 9, each times f. Photographs have amplitudes of
                  about 1 / f (Field 1987), so the products are alike in size and two unrelated
                  pictures are nearly orthogonal: d = f c / |f c|
    2. search     all pairs with d . d' above 0.8, in blocks of two matrix products. Mirroring
                  turns the sign of the coefficients that are odd across, hence the likeness to a
                  picture or its mirror image, whichever is more, is even + |odd|
    3. verify     shift and stretch one picture onto the other by least squares (Lucas & Kanade
                  1981) and correlate their fine detail in each of 16 tiles. A copy agrees in all
                  of them; two ships under one sky, or two pictures in one frame, do not

Only pictures that can be told apart take part: at least 16 pixels on the shorter side and some
detail. Pictures of a kind of which all look much alike, such as digits, need better agreement.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from residua.datasets.dataset import Split
from residua.datasets.fitting import agreement, exposures, fitted, light, roughness, tints
from residua.datasets.looks import GRAIN, SIDE, Look, looks

Indices = NDArray[np.int64]

BAND = 9  # coefficients of lower frequency describe a picture
ALIKE = 0.8  # likeness of descriptors from which on a pair is verified
COPY = 0.92  # agreement of the detail of a copy
CROWD = 1 / 500  # more than 8, and than this part of all, like a picture: it is one of a kind
STRANGERS = 0.01  # pictures of a kind that may pass for a copy of each
NEIGHBORS = 8  # pairs verified of each picture
BUDGET = 20_000  # pairs verified in all, or one for each picture where that is more
SMALLEST = 16  # pixels on the shorter side
ROUGH = 2.0  # deviation of the Laplacian, in gray levels; less has a gradient or a vignette
TINT = 30.0  # deviation of the colors of a copy, in levels
ROWS, COLUMNS = 512, 1024  # of one block of the search, which a cache holds
BATCH = 256  # pairs verified together


class Pair(NamedTuple):
    """Two pictures of which one is a copy of the other, and what was changed, as far as seen."""

    first: int
    second: int
    likeness: float  # correlation of the detail, at most 1
    changes: tuple[str, ...]


class Leak(NamedTuple):
    """An image to be tested by that is also learned from."""

    test: int  # its number in that split
    train: int  # the number of the likest training image
    kind: str  # "exact" or "near"
    changes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Gallery:
    """What is compared of n images; one that cannot be read has an empty digest and size 0."""

    digests: tuple[bytes, ...]
    sketches: Tensor  # uint8 (n, 1056), as `looks.sketches` makes them
    sizes: Tensor  # int64 (n, 2): height, width

    def __len__(self) -> int:
        return len(self.digests)


def gallery(seen: Iterable[Look]) -> Gallery:
    """Collect looks that left sketches."""
    blank = bytes(SIDE**2 + 2 * GRAIN**2)
    digests, sizes, drawn = [], [], bytearray()
    for look in seen:
        digests.append(look.digest)
        sizes.append(look.size)
        drawn += look.sketch or blank
    sketches = torch.frombuffer(drawn or bytearray(1), dtype=torch.uint8)
    sketches = sketches[: len(drawn)].view(len(digests), len(blank))
    return Gallery(tuple(digests), sketches, torch.tensor(sizes, dtype=torch.int64).view(-1, 2))


def leaked(train: Split, test: Split, workers: int = 1) -> list[Leak]:
    """The images of `test` that have an exact or near copy in `train`, in order.

    Every image of both is read once, files in `workers` threads; the search uses the threads of
    torch. An image with copies of both kinds is exact; of several copies the likest is named.
    """
    return leaks(*(gallery(looks(split, workers, sketched=True)) for split in (train, test)))


def leaks(train: Gallery, test: Gallery) -> list[Leak]:
    """`leaked` for galleries, which can be kept: they depend on nothing but the images."""
    known = {digest: at for at, digest in reversed(list(enumerate(train.digests))) if digest}
    found = {
        at: Leak(at, known[digest], "exact", ())
        for at, digest in enumerate(test.digests)
        if digest in known
    }
    for pair in sorted(copies(test, train), key=lambda pair: -pair.likeness):
        found.setdefault(pair.first, Leak(pair.first, pair.second, "near", pair.changes))
    return [found[at] for at in sorted(found)]


def copies(pictures: Gallery, others: Gallery | None = None) -> list[Pair]:
    """Near copies among pictures, or of pictures in others: at most 8 of each, in order.

    Pairs of equal pixels are left out: their digests tell.
    """
    with _pool() as pool:
        left = _described(pictures, pool)
        right = left if others is None else _described(others, pool)
        found = _candidates(left, right, pool)
        others = pictures if others is None else others
        batches = (
            _Candidates(*(column[at : at + BATCH] for column in found))
            for at in range(0, len(found.first), BATCH)
        )
        verify = partial(_verified, pictures, others)
        pairs = list(chain.from_iterable(pool.map(verify, batches)))
    digests = pictures.digests, others.digests
    return sorted(pair for pair in pairs if digests[0][pair.first] != digests[1][pair.second])


@contextmanager
def _pool() -> Iterator[ThreadPoolExecutor]:
    """As many threads as torch has, in each of which torch has one.

    The work is thousands of small operations. Threads that meet after each of them wait for the
    slowest, on a busy machine for most of the time; and results would depend on their number.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


class _Described(NamedTuple):
    """Descriptors, in two parts, of the pictures that can be told apart."""

    rows: Indices  # their numbers (m,)
    even: Tensor  # float32 (m, 38)
    odd: Tensor  # float32 (m, 32): their sign is turned by mirroring


def _described(pictures: Gallery, pool: ThreadPoolExecutor) -> _Described:
    """Descriptors of unit length."""
    starts = range(0, max(len(pictures), 1), ROWS)
    parts = pool.map(partial(_described_block, pictures), starts)
    rows, even, odd = (torch.cat(part) for part in zip(*parts, strict=True))
    return _Described(rows.numpy(), even, odd)


def _described_block(pictures: Gallery, at: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same of 512 pictures."""
    step = torch.arange(BAND, dtype=torch.float32)
    frequency = torch.hypot(step[:, None], step)
    inside = (frequency > 0) & (frequency < BAND)
    odd = (torch.arange(BAND) % 2 == 1).expand(BAND, BAND)
    waves = torch.cos(torch.pi * step[:, None] * (torch.arange(SIDE) + 0.5) / SIDE)  # (9, 32)
    waves[0] /= 2**0.5  # orthogonal, all of one length
    pixels = light(pictures.sketches[at : at + ROWS])
    large = pictures.sizes[at : at + ROWS].amin(dim=1) >= SMALLEST
    clear = (large & (roughness(pixels) >= ROUGH)).nonzero()[:, 0]
    weighted = (waves @ pixels[clear] @ waves.T) * frequency  # (m, 9, 9)
    scale = torch.linalg.vector_norm(weighted[:, inside], dim=1, keepdim=True)
    return at + clear, weighted[:, inside & ~odd] / scale, weighted[:, inside & odd] / scale


class _Candidates(NamedTuple):
    """Pairs to be verified."""

    first: Tensor  # int64 (n,)
    second: Tensor
    like: Tensor  # float32: of the descriptors
    mirrored: Tensor  # bool: the second is
    least: Tensor  # float32: what the likeness of a copy must be, more among many of a kind


def _candidates(left: _Described, right: _Described, pool: ThreadPoolExecutor) -> _Candidates:
    """The likest pairs, at most 8 of each on the left; only (i, j > i) where both are the same."""
    blocks, crowd = [], np.zeros((2, max(len(left.rows), len(right.rows))), np.int64)
    starts = range(0, max(len(left.rows), 1), ROWS)
    for at, found in zip(starts, pool.map(partial(_block, left, right), starts), strict=True):
        pairs, rows, columns = found
        blocks.append(pairs)
        crowd[0, at : at + len(rows)] = rows
        crowd[1, : len(columns)] += columns
    crowd = np.tile(crowd.sum(axis=0), (2, 1)) if left is right else crowd
    row, column, like, mirrored = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    least = np.maximum(
        _least(crowd[0], len(right.rows))[row], _least(crowd[1], len(left.rows))[column]
    )
    kept = np.sort(np.argsort(-like, kind="stable")[: max(BUDGET, len(left.rows))])
    values = (left.rows[row], right.rows[column], like, mirrored, least)
    return _Candidates(*(torch.from_numpy(column[kept]) for column in values))


def _least(crowd: Indices, pictures: int) -> NDArray[np.float32]:
    """How like a copy must be where so many of the pictures are like each, by their descriptors.

    Pictures of one kind (digits, say) vary in about 8 ways, so of C within the distance that
    ALIKE is, C (d / distance)^8 are within d; d^2 / 2 = 1 - like, and STRANGERS are let through.
    """
    near = (STRANGERS / np.maximum(crowd, 1)) ** 0.25 * (1 - ALIKE)
    crowded = crowd > max(NEIGHBORS, CROWD * pictures)
    return np.where(crowded, 1 - near, 0).astype(np.float32)


def _block(
    left: _Described, right: _Described, at: int
) -> tuple[tuple[NDArray[Any], ...], Indices, Indices]:
    """The likest of 512 pictures: (row, column, like, mirrored), and the like of rows, columns."""
    even, odd = left.even[at : at + ROWS], left.odd[at : at + ROWS]
    rows, columns = torch.zeros(len(even)), torch.zeros(len(right.rows))
    parts = []
    for to in range(at if left is right else 0, len(right.rows), COLUMNS):
        turned = odd @ right.odd[to : to + COLUMNS].T
        like = turned.abs().addmm_(even, right.even[to : to + COLUMNS].T)
        if left is right and to == at:
            like[torch.ones(like.shape, dtype=torch.bool).tril()] = 0
        if (
            not like.numel() or like.amax() <= ALIKE
        ):  # the rule, and twice as fast as looking for the exceptions
            continue
        row, column = (like > ALIKE).nonzero(as_tuple=True)
        rows += torch.bincount(row, minlength=len(rows))
        columns[to : to + COLUMNS] += torch.bincount(column, minlength=like.shape[1])
        if len(row) > NEIGHBORS * len(like):
            best, column = like.topk(min(NEIGHBORS, like.shape[1]), dim=1)
            row, place = (best > ALIKE).nonzero(as_tuple=True)
            column = column[row, place]
        parts.append((row + at, column + to, like[row, column], turned[row, column] < 0))
    if not parts:
        parts = [(rows[:0].long(), rows[:0].long(), rows[:0], rows[:0] > 0)]
    found = tuple(torch.cat(part).numpy() for part in zip(*parts, strict=True))
    order = np.lexsort((found[1], -found[2], found[0]))
    found = tuple(values[order] for values in found)
    likest = np.arange(len(order)) - np.searchsorted(found[0], found[0]) < NEIGHBORS
    pairs = tuple(values[likest] for values in found)
    return pairs, rows.long().numpy(), columns.long().numpy()


def _verified(pictures: Gallery, others: Gallery, pairs: _Candidates) -> list[Pair]:
    """The pairs of which one is a copy of the other."""
    ours, theirs = pictures.sketches[pairs.first], others.sketches[pairs.second]
    a, b = light(ours), light(theirs)
    b = torch.where(pairs.mirrored[:, None, None], b.flip(2), b)
    move = fitted(a, b)
    size, other = pictures.sizes[pairs.first], others.sizes[pairs.second]
    sides = torch.minimum(size.amin(dim=1), other.amin(dim=1))
    likeness = agreement(a, b, move, sides)
    tint, gray = tints(ours, theirs, pairs.mirrored)
    copy = (likeness >= pairs.least.clamp(min=COPY)) & (pairs.like >= pairs.least)
    copy &= (tint < TINT) | gray
    cropped = (move[:, 0::2].abs() + move[:, 1::2].abs()).amax(dim=1) > 0.02 * SIDE
    changes = {
        "mirrored": pairs.mirrored,
        "resized": (size != other).any(dim=1) & ~cropped,
        "cropped": cropped,
        "made gray": gray & (tint >= 2),
        "recolored": ~gray & (tint >= 8),
        "brightened or darkened": exposures(a, b),
    }
    marks = torch.stack(list(changes.values()), dim=1)
    copied = []
    for at in copy.nonzero()[:, 0].tolist():
        seen = tuple(name for name, mark in zip(changes, marks[at].tolist(), strict=True) if mark)
        first, second = int(pairs.first[at]), int(pairs.second[at])
        copied.append(Pair(first, second, round(float(likeness[at]), 4), seen))
    return copied
