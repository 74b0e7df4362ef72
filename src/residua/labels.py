"""Labels that may be wrong, found by a network that has not seen them: confident learning.

Northcutt and others 2021 (arXiv:1911.00068), sections 3.1 and 3.2. A class's threshold is the mean
score that its pictures give it, which allows for a network that is surer of some classes than of
others. A picture that reaches another class's threshold, and that class's score is the highest of
those it reaches, is counted as labelled so and belonging there.

A suspect is a picture to look at, not a wrong label: a network that is sure and wrong looks the
same. Scores must be those of pictures that it was not trained on; it agrees with labels it learned.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from residua.errors import Refused

Counts = NDArray[np.int64]

FEW = 20  # pictures of a class: with fewer, its threshold is little more than chance


class Suspect(NamedTuple):
    """A picture whose label is doubted."""

    image: int  # its place among the scores
    given: int  # class
    suggested: int
    margin: float  # score of the suggested class minus that of the given one, 0..1


class Labels(NamedTuple):
    """The suspects, the most doubtful first, and how the classes are likely mixed up."""

    suspects: list[Suspect]
    joint: Counts  # (given class, likely class) pictures that reach a threshold
    estimated: float  # wrong labels among all pictures, were the network's confident answers true
    images: int
    uncertain: tuple[int, ...]  # classes with fewer than FEW pictures, and some

    def __str__(self) -> str:
        if not self.suspects:
            return f"no label of {self.images:,} images is doubted"
        found = len(self.suspects)
        text = (
            f"{found:,} of {self.images:,} labels {'is' if found == 1 else 'are'} doubted: look at "
            "them; the network may be wrong instead"
        )
        if self.uncertain:
            few = len(self.uncertain)
            text += (
                f" ({few} {'class has' if few == 1 else 'classes have'} fewer than {FEW} images: "
                "little is known of them)"
            )
        return text


def suspects(scores: ArrayLike, labels: ArrayLike) -> Labels:
    """Doubt labels (n) by out-of-sample scores (n, classes).

    Ranked by margin. Only pictures that the network would answer otherwise are doubted, so that
    every margin is above 0.

    Raises:
        Refused: scores and labels do not fit together.
    """
    table, given = np.asarray(scores, np.float64), np.asarray(labels, np.int64)
    if table.ndim != 2 or given.shape != table.shape[:1]:
        raise Refused(f"scores {table.shape} and labels {given.shape} do not fit together")
    n, classes = table.shape
    if not n or not np.isfinite(table).all():
        raise Refused("scores must be finite numbers of one image or more")
    if not 0 <= given.min() <= given.max() < classes:
        raise Refused(f"a label is none of the {classes} classes of the scores")
    count = np.bincount(given, minlength=classes)
    own = table[np.arange(n), given]
    with np.errstate(invalid="ignore"):
        threshold = np.bincount(given, own, minlength=classes) / count  # nan without pictures
    reached = table >= threshold - 1e-12  # never where it is nan
    among = np.where(reached, table, -1)
    likely = among.argmax(1)
    likely = np.where(among[np.arange(n), given] == among.max(1), given, likely)  # of equals
    confident = reached.any(1)
    joint = np.zeros((classes, classes), np.int64)
    np.add.at(joint, (given[confident], likely[confident]), 1)
    margin = table[np.arange(n), likely] - own
    doubted = np.flatnonzero(confident & (likely != given) & (margin > 0))
    doubted = doubted[np.argsort(-margin[doubted], kind="stable")]
    return Labels(
        [Suspect(int(i), int(given[i]), int(likely[i]), float(margin[i])) for i in doubted],
        joint,
        _estimated(joint, count),
        n,
        tuple(int(kind) for kind in np.flatnonzero((count > 0) & (count < FEW))),
    )


def _estimated(joint: Counts, count: NDArray[np.intp]) -> float:
    """Spread the counts over all pictures of each given class (equation 3 of the paper)."""
    rows = joint.sum(1)
    wrong = (rows - np.diag(joint)) / np.maximum(rows, 1)
    return float(wrong @ count)


def named(found: Labels, images: Sequence[str], classes: Sequence[str]) -> list[dict[str, object]]:
    """The suspects as rows of a table: name, label, suggested, margin."""
    return [
        {
            "name": images[suspect.image],
            "label": classes[suspect.given],
            "suggested": classes[suspect.suggested],
            "margin": round(suspect.margin, 6),
        }
        for suspect in found.suspects
    ]
