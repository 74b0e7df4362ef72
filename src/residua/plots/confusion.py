"""Which classes are taken for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory
from numpy.typing import ArrayLike, NDArray

from residua.errors import Refused
from residua.plots.frame import ARROW, WIDTH
from residua.theme import Inks, printable, styled

Floats = NDArray[np.float64]

NUMBERED = 12  # classes up to which a confusion matrix shows its counts
NAMED = 30  # classes up to which it shows their names
PAIRS = 6  # confusions that it shows in words when there are more classes than NUMBERED


def confused_pairs(
    matrix: ArrayLike, classes: Sequence[str], limit: int = PAIRS
) -> list[tuple[str, str, int]]:
    """Return (true class, predicted class, count) of the most frequent confusions, worst first."""
    counts = _square(matrix, classes)
    counts[np.diag_indices(len(classes))] = 0
    order = np.argsort(-counts, axis=None, kind="stable")[:limit]
    places = [divmod(int(index), len(classes)) for index in order]
    return [(classes[i], classes[j], int(counts[i, j])) for i, j in places if counts[i, j] > 0]


def _square(matrix: ArrayLike, classes: Sequence[str]) -> Floats:
    """Return the matrix as (true, predicted) counts; `Refused` unless it is square and named."""
    counts = np.array(matrix, dtype=np.float64)
    if counts.shape != (len(classes), len(classes)) or not len(classes):
        raise Refused(
            f"a confusion matrix of shape {counts.shape} does not fit {len(classes)} classes",
            fix="give one row and one column for each class",
        )
    return counts


def confusion(matrix: ArrayLike, classes: Sequence[str], theme: str = "light") -> Figure:
    """Draw counts (true, predicted): right answers in one color, confusions in another.

    A cell's strength is its share of the true class. Few classes show their counts, many the most
    frequent confusions in words.
    """
    counts = _square(matrix, classes)
    n = len(classes)
    with styled(theme) as colors:
        side = min(WIDTH, 2.6 + 0.4 * n)
        below = 0.0 if n <= NUMBERED else 1.2
        figure = Figure(figsize=(side, side + below))
        axes, *text = figure.subplots(
            1 + (below > 0), 1, squeeze=False, height_ratios=(side, below)[: 1 + (below > 0)]
        )[:, 0]
        cells = _cells(counts, colors)
        axes.imshow(cells, interpolation="none", aspect="auto")
        axes.spines[:].set_visible(False)
        axes.set(xlabel="predicted", ylabel="true")
        _name_classes(axes, classes)
        if n <= NAMED:
            for edge in np.arange(0.5, n - 1):
                axes.axhline(edge, color=colors.paper, linewidth=1.2)
                axes.axvline(edge, color=colors.paper, linewidth=1.2)
        if text:
            _write_pairs(text[0], confused_pairs(counts, classes))
        else:
            _write_counts(axes, counts, cells)
        return figure


def _cells(counts: Floats, colors: Inks) -> Floats:
    """Return the colors (n, n, 3) of the cells; a single confusion is made visible too."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    paper, grid, right, wrong = (
        np.array(to_rgb(c)) for c in (colors.paper, colors.grid, *colors.series[:2])
    )
    strength = np.where(counts > 0, 0.3 + 0.7 * np.sqrt(share), 0)[..., None]
    diagonal = np.eye(len(counts), dtype=bool)[..., None]
    strength = np.where(diagonal, 0.9 * share[..., None], strength)
    return (1 - strength) * (2 * paper + grid) / 3 + strength * np.where(diagonal, right, wrong)


def _name_classes(axes: Axes, classes: Sequence[str]) -> None:
    n = len(classes)
    if n > NAMED:
        axes.tick_params(length=0)
        return
    wide = max(len(name) for name in classes) * n > 55
    axes.set_xticks(range(n), [printable(name, 16) for name in classes], rotation=90 if wide else 0)
    axes.set_yticks(range(n), [printable(name, 20) for name in classes])
    axes.tick_params(length=0, labelsize=10 if n <= NUMBERED else 7.5)


def _write_counts(axes: Axes, counts: Floats, cells: Floats) -> None:
    """Write the counts that are not zero, dark on light cells and light on dark ones."""
    size = 10 if counts.max() < 1000 else 8
    luminance = cells @ np.array([0.299, 0.587, 0.114])
    for i, j in np.argwhere(counts > 0):
        color = "#ffffff" if luminance[i, j] < 0.52 else "#101318"
        axes.text(j, i, f"{counts[i, j]:.0f}", ha="center", va="center", fontsize=size, color=color)


def _write_pairs(axes: Axes, pairs: Sequence[tuple[str, str, int]]) -> None:
    """List the most frequent confusions, across the whole figure."""
    axes.set_axis_off()
    place = blended_transform_factory(axes.figure.transFigure, axes.transAxes)
    for index, (true, predicted, count) in enumerate(pairs):
        names = f"{printable(true, 28)}{ARROW}{printable(predicted, 28)}"
        for x, text, align in ((0.08, f"{count}", "right"), (0.1, names, "left")):
            y = 1 - index / PAIRS
            written = axes.text(x, y, text, transform=place, ha=align, va="top", fontsize=9)
            written.set_in_layout(False)  # else the matrix would shrink to make room for it
