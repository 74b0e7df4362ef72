"""What may vary in a study: the factors of an experiment, as plain values.

Each study takes some of them. What is left open (None) is chosen so that the study ends within its
budget.
"""

import math
from dataclasses import dataclass, fields

from residua.errors import Refused
from residua.recipes import setting


@dataclass(frozen=True)
class Factors:
    """The factors of all studies, and how much of each."""

    families: tuple[str, ...] | None = setting(None, "kinds of network, such as plain,residual")
    networks: tuple[str, ...] | None = setting(None, "networks by their names")
    depths: tuple[int, ...] | None = setting(None, "weighted layers, such as 20,56")
    widths: tuple[float, ...] | None = setting(None, "channels, in multiples of the usual ones")
    biases: tuple[float, ...] | None = setting(None, "where the gates of highway networks start")
    shares: tuple[float, ...] | None = setting(None, "of the training images, such as 0.1,1")
    seeds: int | None = setting(None, "how many draws of weights and order, from seed 0 on")
    epochs: float | None = setting(None, "passes over the training images")
    images: int | None = setting(None, "training images at most")
    batch: int | None = setting(None, "images in a step")
    learning_rate: float | None = setting(None, "peak learning rate")
    size: int | None = setting(None, "height and width of the images, in pixels")
    augment: bool | None = setting(None, "learn from random views, not from the images as they are")
    blocks: tuple[str, ...] | None = setting(None, "blocks to drop alone, such as stage2.0")
    removed: tuple[int, ...] | None = setting(None, "how many blocks to remove at random, or swap")
    lengths: tuple[int, ...] | None = setting(None, "of paths, in branches")
    tested: int | None = setting(None, "test images at most")
    points: int | None = setting(None, "across a plane, an odd number")
    sample: int | None = setting(None, "training images over which a loss is averaged")

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            for number in value if isinstance(value, tuple) else (value,):
                low, high = RANGES.get(each.name, ANY)
                if isinstance(number, int | float) and not low <= number <= high:
                    raise Refused(
                        f"{each.name.replace('_', ' ')} must be between {low:g} and {high:g}",
                        where=f"received {number!r}",
                        fix="leave it out, and the budget decides",
                    )


ANY = (-math.inf, math.inf)
RANGES: dict[str, tuple[float, float]] = {
    "depths": (1, 100_000),
    "widths": (0.01, 100),
    "biases": (-20, 20),
    "shares": (1e-6, 1),
    "seeds": (1, 1000),
    "epochs": (1e-6, 1e6),
    "images": (1, 1e9),
    "batch": (1, 1e6),
    "learning_rate": (0, 1e6),
    "size": (1, 4096),
    "points": (5, 1001),
    "sample": (1, 1e9),
}
FACTORS = {each.name: each for each in fields(Factors)}
# What every study takes that trains networks.
TRAINING = ("seeds", "epochs", "images", "batch", "learning_rate", "size", "augment")
