"""Networks asked about every image of a split, each image decoded once for all of them."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from residua import distributed
from residua.batches import shown
from residua.datasets.dataset import Pixels, Split
from residua.errors import BadData

Floats = NDArray[np.float32]


class Member(Protocol):
    """A network that is asked, alone or with others."""

    classes: tuple[str, ...]

    def views(self, pixels: Pixels) -> list[Pixels]:
        """What it looks at of a picture (h, w, 3)."""

    def scores_of(self, pictures: Sequence[Sequence[Pixels]]) -> Floats:
        """Scores (n, classes) of pictures of which the views are given."""


class Scored(NamedTuple):
    """The scores of every image in order, and which images could be read."""

    members: tuple[Floats, ...]  # (n, classes) each; zeros where unreadable
    readable: NDArray[np.bool_]  # (n)


def score(members: Sequence[Member], split: Split, chunk: int, workers: int = 0) -> Scored:
    """Ask every member about every image, `chunk` images at a time.

    Where several processes run together (torchrun), each takes every n-th image, and all return
    the whole.

    Raises:
        BadData: there are no images, none can be read, or a score is not a number.
    """
    if not len(split):
        raise BadData("there are no images to evaluate on")
    mine = distributed.share(len(split))
    found = empty(members, len(mine))
    shows = [member.views for member in members]
    for pictures, positions in shown(split.select(mine), shows, chunk, workers):
        whole = [picture for picture in pictures if not isinstance(picture, BadData)]
        found.readable[positions] = [not isinstance(picture, BadData) for picture in pictures]
        rows = positions[found.readable[positions]]
        if whole:
            for index, member in enumerate(members):
                found.members[index][rows] = member.scores_of([views[index] for views in whole])
    return merged(distributed.gathered(found), empty(members, len(split)))


def empty(members: Sequence[Member], total: int) -> Scored:
    """Room for the scores of `total` images."""
    scores = (np.zeros((total, len(member.classes)), np.float32) for member in members)
    return Scored(tuple(scores), np.zeros(total, np.bool_))


def merged(parts: Sequence[Scored], whole: Scored) -> Scored:
    """Put what each process found, every n-th image, into `whole`."""
    for rank, part in enumerate(parts):
        whole.readable[rank :: len(parts)] = part.readable
        for scores, found in zip(whole.members, part.members, strict=True):
            scores[rank :: len(parts)] = found
    if not whole.readable.any():
        raise BadData("none of the images can be read")
    if not all(np.isfinite(scores).all() for scores in whole.members):
        raise BadData("the network's scores are not numbers", fix="train it again")
    return whole
