"""Error curves, as in He et al. 2016a, figures 4 and 6.

A thin line for the training error, a bold one for the validation error, both in percent. Values
stand at the ends of the lines, where the eye ends too.
"""

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from residua.plots.frame import WIDTH
from residua.theme import DPI, Inks, styled

Floats = NDArray[np.float64]
Row = Mapping[str, Any]

HUGE = 1e9  # a value above it belongs to a diverged run and would hide the others
LONG = 20  # epochs from which the first tenth may leave the frame


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
