"""Errors of networks of several kinds and depths, as in He et al. 2016a, figures 1, 4 and 6."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from residua.plots.curves import number
from residua.theme import Inks, styled

Row = Mapping[str, Any]


def shades(colors: Inks, count: int) -> list[str]:
    """Colors for depths, from the shallowest on."""
    return list(colors.series[:count]) if count <= len(colors.series) else [colors.ink] * count


def parted(rows: Sequence[Row]) -> tuple[list[str], list[int]]:
    """The families of the rows as they come, and their depths in order."""
    families = list(dict.fromkeys(str(row["family"]) for row in rows))
    return families, sorted({int(row["depth"]) for row in rows})


def degradation(rows: Sequence[Row], theme: str = "light") -> Figure:
    """Draw error against epochs, a panel for each family: thin training, bold test.

    Rows have family, depth, curve (rows of epoch, training error, test error as fractions); lines
    are means over the rows that share family and depth.
    """
    families, depths = parted(rows)
    with styled(theme) as colors:
        figure = Figure(figsize=(0.7 + 2.9 * max(len(families), 1), 3.4))
        panels = figure.subplots(1, max(len(families), 1), sharey=True, squeeze=False)[0]
        for axes, family in zip(panels, families, strict=False):
            own = [row for row in rows if row["family"] == family]
            _panel(axes, own, depths, colors)
            axes.set_title(family, loc="left", fontsize=10, weight="bold")
            axes.set_xlabel("epoch")
        panels[0].set_ylabel("error, %")
        top = max((line.get_ydata().max() for a in panels for line in a.get_lines()), default=100)
        panels[0].set_ylim(0, min(100, 1.05 * float(top)) or 1)
        return figure


def _panel(axes: Axes, rows: Sequence[Row], depths: Sequence[int], colors: Inks) -> None:
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    ends = []
    for depth, color in zip(depths, shades(colors, len(depths)), strict=True):
        curves = [row["curve"] for row in rows if row["depth"] == depth and row.get("curve")]
        length = min((len(curve) for curve in curves), default=0)
        if not length:
            continue
        x, train, test = np.mean([curve[:length] for curve in curves], axis=0).T
        axes.plot(x, 100 * train, color=color, linewidth=1.1)
        axes.plot(x, 100 * test, color=color, linewidth=2.6)
        ends.append((100 * (train[-1] + test[-1]) / 2, f"{depth}", color, x[-1]))
    _label(axes, ends)


def _label(axes: Axes, ends: Sequence[tuple[float, str, str, float]]) -> None:
    """Write depths to the right of their lines, without overlap."""
    height = -np.inf
    for y, text, color, x in sorted(ends):
        height = max(y, height + 5)
        axes.annotate(
            text, (x, height), xytext=(6, 0), textcoords="offset points", va="center",
            color=color, weight="bold", annotation_clip=False,
        )  # fmt: skip


def against_depth(rows: Sequence[Row], theme: str = "light") -> Figure:
    """Draw the training error at the end against depth: a dot for each row, lines through means.

    Rows have family, depth, train_error (a fraction).
    """
    families, depths = parted(rows)
    with styled(theme) as colors:
        figure = Figure(figsize=(5.0, 3.4))
        axes = figure.subplots()
        axes.grid(axis="y")
        axes.set_xscale("log")
        for place, (family, color) in enumerate(zip(families, colors.series, strict=False)):
            own = [row for row in rows if row["family"] == family]
            shift = 1 + 0.02 * (place - (len(families) - 1) / 2)  # side by side, not one behind
            x = np.array([row["depth"] * shift for row in own])
            y = np.array([100 * number(row.get("train_error", 1.0)) for row in own])
            axes.plot(x, y, "o", color=color, alpha=0.45, markersize=5, markeredgewidth=0)
            means = [(d, y[[row["depth"] == d for row in own]].mean()) for d in depths
                     if any(row["depth"] == d for row in own)]  # fmt: skip
            axes.plot(*zip(*means, strict=True), color=color, linewidth=2.2)
            axes.annotate(
                family, means[-1], xytext=(10, 0), textcoords="offset points", va="center",
                color=color, weight="bold", annotation_clip=False,
            )  # fmt: skip
        axes.xaxis.set_major_locator(FixedLocator(depths))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(depths, [str(depth) for depth in depths])
        axes.set_ylim(bottom=0)
        axes.set_xlabel("layers")
        axes.set_title("training error at the end, %", loc="left", fontsize=10, color=colors.muted)
        return figure
