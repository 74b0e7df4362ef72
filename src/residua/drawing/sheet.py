"""What all fragments of a column share: its units, and how large things are drawn, in pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

from residua.drawing.units import Unit


@dataclass(frozen=True)
class Sizes:
    """Least widths, heights, distances and type sizes."""

    width: float = 116.0
    height: float = 22.0
    light: float = 16.0  # height of a box without weights
    gap: float = 10.0
    font: float = 12.0
    small: float = 10.0
    side: float = 17.0  # height of a box on an arc
    radius: float = 5.5  # of a circle where ways join
    arrive: float = 2.5  # pixels above such a circle
    leave: float = 6.0  # and below it
    depart: float = -5.5  # where shortcuts leave, above the first box


@dataclass(frozen=True)
class Sheet:
    """The units that fragments show, and their sizes."""

    units: Sequence[Unit]
    sizes: Sizes
