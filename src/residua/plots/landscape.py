"""The loss around trained weights, as in Li et al. 2018, figures 1, 5 and 9."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from residua.plots.curves import number
from residua.theme import Inks, printable, styled

Row = Mapping[str, Any]
Floats = NDArray[np.float64]

NAME = 26  # characters of a network's name
LOW, HIGH = 1e-3, 1e4  # losses between which differences are shown


class Plane(NamedTuple):
    """Losses over a plane through trained weights, which are its origin."""

    title: str
    x: Sequence[float]
    y: Sequence[float]
    losses: Sequence[Sequence[float]]  # a row for each y; infinite where there is none
    way: Sequence[tuple[float, float]] = ()  # of a training, its end at the origin
    shares: Sequence[float] = ()  # of the squared way, that each axis holds


def planes(shown: Sequence[Plane], theme: str = "light") -> Figure:
    """Draw planes side by side, their losses on one logarithmic scale."""
    with styled(theme) as colors:
        count = max(len(shown), 1)
        figure = Figure(figsize=(1.1 + 3.1 * count, 3.7))
        panels = figure.subplots(1, count, squeeze=False)[0]
        if not shown:
            panels[0].text(
                0.5, 0.5, "nothing measured yet", transform=panels[0].transAxes, ha="center"
            )
            panels[0].set(xticks=[], yticks=[])
            return figure
        levels = _levels([np.asarray(plane.losses, np.float64) for plane in shown])
        for axes, plane in zip(panels, shown, strict=True):
            filled = _plane(axes, plane, levels, colors)
        bar = figure.colorbar(filled, ax=list(panels), shrink=0.86, pad=0.02)
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0, labelsize=8)
        bar.ax.yaxis.set_major_locator(LogLocator())
        bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.ax.yaxis.set_major_formatter(FuncFormatter(_plain))
        bar.ax.set_title("loss", loc="left", fontsize=10, color=colors.muted)
        return figure


def _levels(planes: Sequence[Floats]) -> Floats:
    """Three levels to each power of ten, over all that is shown of all planes."""
    known = np.concatenate([losses[np.isfinite(losses)] for losses in planes])
    low = max(float(known.min(initial=1.0)), LOW)
    high = min(float(known.max(initial=10 * low)), HIGH)
    ends = np.floor(np.log10(low)), np.ceil(np.log10(max(high, 10 * low)))
    return np.logspace(*ends, 1 + 3 * int(ends[1] - ends[0]))


def _plane(axes: Axes, plane: Plane, levels: Floats, colors: Inks) -> ContourSet:
    losses = np.clip(np.nan_to_num(plane.losses, nan=np.inf), levels[0], levels[-1])
    # Deep where the loss is low, and the paper's color where it is high.
    ramp = LinearSegmentedColormap.from_list("loss", [colors.series[0], colors.paper])
    norm = LogNorm(levels[0], levels[-1])
    filled = axes.contourf(plane.x, plane.y, losses, levels, cmap=ramp, norm=norm)
    axes.contour(plane.x, plane.y, losses, levels, colors=colors.ink, linewidths=0.45, alpha=0.55)
    if len(plane.way):
        x, y = np.asarray(plane.way).T
        axes.plot(x, y, "-o", color=colors.series[1], linewidth=1.4, markersize=3)
    axes.plot(0, 0, "+", color=colors.series[1], markersize=11, markeredgewidth=2)
    axes.set_title(printable(plane.title, NAME), loc="left", fontsize=10, weight="bold")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=8)
    axes.locator_params(nbins=5)
    if len(plane.shares) == 2:
        axes.set_xlabel(_share(plane.shares[0]), fontsize=9)
        axes.set_ylabel(_share(plane.shares[1]), fontsize=9)
    else:
        axes.set_aspect("equal")
    return filled


def _plain(value: float, _: int | None = None) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _share(fraction: float) -> str:
    return f"{100 * fraction:.0f} % of the way" if fraction >= 0.005 else "< 1 % of the way"


def along(lines: Sequence[Row], theme: str = "light") -> Figure:
    """Draw losses along a line through trained weights, and the sharpness there, for each network.

    Rows have network, x, losses (infinite or None where there is none) and sharpness; those of one
    network share a color.
    """
    names = list(dict.fromkeys(str(row["network"]) for row in lines))
    with styled(theme) as colors:
        figure = Figure(figsize=(7.4, 3.4))
        left, right = figure.subplots(1, 2, width_ratios=(1.7, 1))
        for axes, title in ((left, "loss"), (right, "largest eigenvalue")):
            axes.set_yscale("log")
            axes.grid(axis="y")
            axes.yaxis.set_major_locator(LogLocator(numticks=8))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(FuncFormatter(_plain))
            axes.set_title(title, loc="left", fontsize=10, color=colors.muted)
        inks = [colors.series[place % len(colors.series)] for place in range(len(names))]
        for place, (name, color) in enumerate(zip(names, inks, strict=True)):
            own = [row for row in lines if row["network"] == name]
            for row in own:
                losses = np.clip([number(value) for value in row["losses"]], LOW, None)
                losses[~np.isfinite(losses) | (losses > HIGH)] = HIGH
                left.plot(row["x"], losses, color=color, linewidth=1.3, alpha=0.75)
            heights = [abs(number(row["sharpness"])) for row in own]
            right.plot([place] * len(own), heights, "o", color=color, alpha=0.6, markersize=7,
                       markeredgewidth=0)  # fmt: skip
        left.set_ylim(LOW / 1.5, HIGH * 1.5)
        left.locator_params(axis="x", nbins=5)
        bends = [abs(number(row["sharpness"])) or 1.0 for row in lines] or [1.0]
        right.set_ylim(
            10 ** np.floor(np.log10(min(bends))) / 1.5, 10 ** np.ceil(np.log10(max(bends))) * 1.5
        )
        left.set_xlabel("steps of the filters' length")
        right.set_xlim(-0.6, max(len(names), 1) - 0.4)
        right.set_xticks(range(len(names)), [printable(name, 14) for name in names])
        for label, color in zip(right.get_xticklabels(), inks, strict=True):
            label.set(color=color, weight="bold", fontsize=9)
        return figure
