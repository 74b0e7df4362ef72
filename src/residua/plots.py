"""The figures of a run: error curves, confusion, reliability and the worst mistakes.

Every function takes plain values and a theme and returns a `Figure`. Error curves follow He et al.
2016a, figures 4 and 6: a thin line for the training error, a bold one for the validation error,
both in percent. Values stand at the ends of the lines, where the eye ends too.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, isfinite, nan
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import blended_transform_factory
from numpy.typing import ArrayLike, NDArray

from residua.calibration import calibration
from residua.errors import Refused
from residua.theme import DPI, Inks, inks, printable, render, save, style, styled

__all__ = [
    "confused_pairs",
    "confusion",
    "curves",
    "inks",
    "mistake",
    "number",
    "printable",
    "reliability",
    "render",
    "save",
    "series",
    "style",
    "worst",
]

Floats = NDArray[np.float64]
Row = Mapping[str, Any]

WIDTH = 5.0  # inches: text of 10 points is 17 px high at 600 px
TILE = 256  # pixels across one picture of a sheet
HUGE = 1e9  # a value above it belongs to a diverged run and would hide the others
LONG = 20  # epochs from which the first tenth may leave the frame
COLUMNS = 3  # pictures across a sheet
NUMBERED = 12  # classes up to which a confusion matrix shows its counts
NAMED = 30  # classes up to which it shows their names
PAIRS = 6  # confusions that it shows in words when there are more classes than NUMBERED
MARK = "\N{LEFT-TO-RIGHT MARK}"  # keeps the order of two names in a right-to-left script
ARROW = f"{MARK} \N{RIGHTWARDS ARROW} {MARK}"


def number(value: object) -> float:
    """A finite number as a float; anything else is nan."""
    try:
        known = float(value) if isinstance(value, int | float) else nan
    except OverflowError:
        return nan
    return known if isfinite(known) else nan


def series(rows: Sequence[Row], split: str, key: str) -> tuple[Floats, Floats]:
    """Return (epochs, values) of one quantity: an epoch's last row counts; gaps are nan."""
    found = {number(r.get("epoch")): number(r.get(key)) for r in rows if r.get("split") == split}
    epochs = sorted(epoch for epoch in found if 0 <= epoch < HUGE)
    return np.array(epochs), np.array([found[epoch] for epoch in epochs])


def curves(rows: Sequence[Row], theme: str = "light", loss: bool = False) -> Figure:
    """Draw training and validation error against epochs, and on request the loss below them.

    Rows are those of metrics.jsonl (errors are fractions). Values that are not finite leave gaps.
    """
    with styled(theme) as colors:
        figure = Figure(figsize=(WIDTH, 5.2 if loss else 3.3))
        panels = figure.subplots(1 + loss, 1, sharex=True, squeeze=False)[:, 0]
        _panel(panels[0], rows, "error", colors)
        if loss:
            _panel(panels[1], rows, "loss", colors)
        panels[-1].set_xlabel("epoch")
        return figure


def _panel(axes: Axes, rows: Sequence[Row], key: str, colors: Inks) -> None:
    scale, unit = (100.0, " %") if key == "error" else (1.0, "")
    axes.set_title(key + ("," + unit if unit else ""), loc="left", fontsize=10, color=colors.muted)
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    ends, later, epochs = [], [0.0], []
    for split, width, weight in (("train", 1.1, "normal"), ("validation", 2.6, "bold")):
        x, y = series(rows, split, key)
        known = (y >= 0) & (y < HUGE)  # False for nan, and for what no error can be
        x, y = x[known], scale * y[known]
        if not len(x):
            continue
        axes.plot(*_gaps(x, y), color=colors.series[0], linewidth=width)
        if len(x) == 1:
            axes.plot(x, y, "o", color=colors.series[0], clip_on=False)
        text = f"{split}\n{_short(y[-1])}{unit}"
        if split == "validation" and y.min() < y[-1]:
            best = int(y.argmin())
            ring: dict[str, Any] = {
                "mfc": colors.paper,
                "mec": colors.series[0],
                "mew": 1.6,
                "clip_on": False,
            }
            axes.plot(x[best], y[best], "o", **ring)
            text += f"\nbest {_short(y[best])}"
        ends.append((x[-1], y[-1], text, weight))
        # The first tenth of a long training may leave the frame, so that its end can be read.
        later += list(y[x >= x[0] + (x[-1] - x[0]) / 10] if len(x) >= LONG else y)
        epochs += list(x)
    if not ends:
        axes.text(0.5, 0.5, "nothing measured yet", transform=axes.transAxes, ha="center")
        axes.set(xticks=[], yticks=[])
        return
    axes.set_ylim(0, 1.08 * max(later) or 1)
    axes.set_xlim(min(epochs) - (len(set(epochs)) == 1), max(epochs))
    if key == "error":
        _mark_drops(axes, rows, colors)
    _label_ends(axes, ends, colors)


def _gaps(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Break the line where epochs are missing, instead of drawing what was never measured."""
    if len(x) < 3:
        return x, y
    holes = np.flatnonzero(np.diff(x) > 1.5 * np.median(np.diff(x))) + 1
    return np.insert(x, holes, np.nan), np.insert(y, holes, np.nan)


def _short(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def _mark_drops(axes: Axes, rows: Sequence[Row], colors: Inks) -> None:
    """Mark where a constant learning rate was divided; a smooth schedule has no such place."""
    x, rate = series(rows, "train", "learning_rate")
    left, right = axes.get_xlim()
    free = left + 0.2 * (right - left)  # the panel's title stands before it
    for i in range(2, len(x)):
        if rate[i - 1] == rate[i - 2] and 0 < rate[i] <= rate[i - 1] / 2:
            axes.axvline(x[i - 1], color=colors.muted, linewidth=0.8, linestyle=(0, (2, 3)))
            if x[i - 1] >= free:
                place = axes.get_xaxis_transform()
                text = f"rate {rate[i]:.3g}"
                axes.text(x[i - 1], 1.02, text, transform=place, fontsize=8, color=colors.muted)
                free = x[i - 1] + 0.2 * (right - left)


def _label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]], colors: Inks) -> None:
    """Write each line's name and last value to the right of its end, without overlap."""
    top, height = axes.get_ylim()[1], 0.0
    line = 0.17 / axes.get_window_extent().height * DPI * top  # inches of a line, as data
    for x, y, text, weight in sorted(ends, key=lambda end: end[1]):
        half = line * (text.count("\n") + 1) / 2
        height = max(min(y, top - half), height + half)
        axes.annotate(
            text,
            (x, height),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=colors.series[0],
            weight=weight,
            annotation_clip=False,
        )
        height += half


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


def reliability(confidence: ArrayLike, correct: ArrayLike, theme: str = "light") -> Figure:
    """Draw the accuracy of predictions against their confidence, and how many there are of each."""
    result = calibration(confidence, correct)
    with styled(theme) as colors:
        figure = Figure(figsize=(WIDTH * 0.85, 4.4))
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        centers = (np.arange(len(result.images)) + 0.5) / len(result.images)
        width, used = 0.86 / len(result.images), result.images > 0
        upper.plot((0, 1), (0, 1), color=colors.muted, linewidth=1, linestyle=(0, (3, 3)))
        upper.bar(centers[used], result.accuracy[used], width, color=colors.series[0], alpha=0.45)
        sizes = 4 + 60 * result.images[used] / max(result.images.max(), 1)
        upper.scatter(result.confidence[used], result.accuracy[used], sizes, colors.series[:1])
        upper.set(xlim=(0, 1), ylim=(0, 1.02))
        upper.set_title("share that is right", loc="left", fontsize=10, color=colors.muted)
        upper.text(0.03, 0.95, f"calibration error {100 * result.error:.1f} %", va="top")
        upper.text(0.03, 0.87, "dashed: as right as sure", va="top", color=colors.muted)
        upper.grid(axis="y")
        lower.bar(centers, result.images, width, color=colors.muted)
        lower.set(
            xlabel="score of the predicted class", yticks=[0, int(result.images.max(initial=0))]
        )
        lower.set_title("images", loc="left", fontsize=10, color=colors.muted)
        return figure


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
