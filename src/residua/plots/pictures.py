"""The worst mistakes, pixel by pixel."""

from collections.abc import Iterable, Sequence
from math import ceil

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from residua.plots.frame import ARROW, MARK
from residua.theme import DPI, printable, styled

TILE = 256  # pixels across one picture of a sheet
COLUMNS = 3  # pictures across a sheet


def mistake(label: str, prediction: str, score: float) -> str:
    """Return the title of a wrongly classified picture: one line, or two when names are long."""
    label, prediction = printable(label, 18), printable(prediction, 12)
    arrow = ARROW if len(label) + len(prediction) <= 10 else f"{MARK}\n{ARROW[2:]}"
    return f"{label}{arrow}{prediction}{MARK} {score:.2f}"


def worst(
    pictures: Sequence[NDArray[np.uint8]], titles: Iterable[str], theme: str = "light"
) -> Figure:
    """Draw a sheet of pictures (h, w, 3) with titles; small ones grow by a whole number.

    In the PNG every pixel of a small picture is a square of the same size, with nothing blurred.
    """
    rows = max(1, ceil(len(pictures) / COLUMNS))
    gap, head = 24, 76  # pixels between pictures, and for two lines of title
    width, height = COLUMNS * (TILE + gap) - gap, rows * (TILE + head + gap)
    with styled(theme):
        figure = Figure(figsize=(width / DPI, height / DPI))
        figure.set_layout_engine("none")  # pictures stand on whole pixels
        for index, (picture, title) in enumerate(zip(pictures, titles, strict=True)):
            row, column = divmod(index, COLUMNS)
            left, top = column * (TILE + gap), head + row * (TILE + head + gap)
            h, w = picture.shape[:2]
            scale: float = TILE / max(h, w)
            scale = int(scale) if scale >= 1 else scale
            size = (round(scale * w) / width, round(scale * h) / height)
            corner = (left / width, 1 - (top + round(scale * h)) / height)
            axes = figure.add_axes((*corner, *size))
            axes.imshow(picture, interpolation="none" if scale >= 1 else "antialiased")
            axes.set_axis_off()
            lines = [printable(line, 24) for line in title.split("\n")]
            axes.set_title("\n".join(lines), fontsize=8, loc="left", pad=4)
        if not pictures:
            figure.text(0.5, 0.5, "no mistakes", ha="center")
        return figure
