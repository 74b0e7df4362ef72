"""What may vary in a study: the factors of an experiment, as plain values.

Each study takes some of them. What is left open (None) is chosen so that the study ends within its
budget.
"""

from dataclasses import dataclass, fields

from residua.recipes import setting


@dataclass(frozen=True)
class Factors:
    """The factors of all studies, and how much of each."""

    families: tuple[str, ...] | None = setting(None, "kinds of network, such as plain,residual")
    networks: tuple[str, ...] | None = setting(None, "networks by their names")
    depths: tuple[int, ...] | None = setting(None, "weighted layers, such as 20,56")
    widths: tuple[float, ...] | None = setting(None, "channels, in multiples of the usual ones")
    seeds: int | None = setting(None, "how many draws of weights and order, from seed 0 on")
    epochs: float | None = setting(None, "passes over the training images")
    images: int | None = setting(None, "training images at most")
    batch: int | None = setting(None, "images in a step")
    learning_rate: float | None = setting(None, "peak learning rate")
    size: int | None = setting(None, "height and width of the images, in pixels")


FACTORS = {each.name: each for each in fields(Factors)}
