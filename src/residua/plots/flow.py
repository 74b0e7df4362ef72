"""Norms of gradients and activations in each layer of networks, and how training changes them."""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from residua.plots.curves import number
from residua.theme import Inks, printable, styled

Floats = NDArray[np.float64]
Row = Mapping[str, Any]

FLOOR, CEILING = 1e-12, 1e12  # of the frame: lines that go further leave it
SPAN = 4.0  # orders of magnitude either way in the colors of a map
COLUMNS = 3
NAMES = {"gradients": "norm of the gradient", "activations": "size of the output"}
LIGHT = 0.35  # of the lightest line: the shallowest network


def families_of(rows: Sequence[Row]) -> dict[str, dict[int, list[Row]]]:
    """Measured rows by family, and by depth from the shallowest on."""
    found: dict[str, dict[int, list[Row]]] = {}
    for row in sorted((row for row in rows if row.get("marks")), key=lambda row: row["depth"]):
        found.setdefault(row["family"], {}).setdefault(row["depth"], []).append(row)
    order = dict.fromkeys(row["family"] for row in rows)
    return {family: found[family] for family in order if family in found}


def flow(rows: Sequence[Row], key: str, theme: str = "light") -> Figure:
    """Draw a norm against the layers that stand between it and the output, a panel for a family.

    Rows have family, depth and marks, of which the first has lists of numbers or None under `key`
    ("gradients" or "activations") from the input to the output; lines are medians over the rows
    that share family and depth.
    """
    found = families_of(rows)
    columns = min(COLUMNS, max(1, len(found)))
    lines = -(-max(1, len(found)) // columns)
    with styled(theme) as colors:
        figure = Figure(figsize=(0.8 + 2.8 * columns, 0.7 + 2.1 * lines))
        panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat
        for axes, (family, depths) in zip(panels, found.items(), strict=False):
            _panel(axes, depths, key, colors)
            axes.set_title(printable(family, 24), loc="left", fontsize=10, weight="bold")
        for axes in list(panels)[len(found) :]:
            axes.set_axis_off()
        _frame(figure, rows, key)
        figure.supxlabel("layers from the output", fontsize=10, color=colors.muted)
        figure.supylabel(NAMES[key], fontsize=10, color=colors.muted)
        return figure


def _frame(figure: Figure, rows: Sequence[Row], key: str) -> None:
    """One scale for all panels, the input at the left."""
    axes = figure.axes[0]
    values = [number(v) for row in rows if row.get("marks") for v in row["marks"][0][key]]
    positive = [value for value in values if value > 0] or [1.0]
    low, high = max(FLOOR, min(positive) / 2), min(CEILING, max(positive) * 2)
    axes.set_yscale("log")
    axes.set_ylim(low, max(high, 10 * low))
    axes.yaxis.set_major_locator(LogLocator(numticks=7))
    axes.yaxis.set_minor_locator(NullLocator())
    longest = max((len(row["layers"]) for row in rows if row.get("marks")), default=1)
    axes.set_xlim(1.16 * longest, 0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))


def _panel(axes: Axes, depths: Mapping[int, Sequence[Row]], key: str, colors: Inks) -> None:
    axes.grid(axis="y")
    axes.axhline(1, color=colors.muted, linewidth=0.8)
    ends: list[tuple[float, float, str]] = []
    for place, (depth, rows) in enumerate(depths.items(), 1):
        marks = [row["marks"][0][key] for row in rows]
        y = np.array([_median(values) for values in zip(*marks, strict=True)])
        x = np.arange(len(y))[::-1]
        share = LIGHT + (1 - LIGHT) * place / len(depths)
        axes.plot(x, np.where(y > 0, y, np.nan), color=colors.series[0], alpha=share, linewidth=1.4)
        inside = np.flatnonzero((y > FLOOR) & (y < CEILING))
        if len(inside):
            ends.append((float(x[inside[0]]), float(y[inside[0]]), str(depth)))
    for x_, y_, text in _together(ends):
        axes.plot(x_, y_, "o", color=colors.series[0], markersize=3)
        several = "," in text
        axes.annotate(
            text, (x_, y_), xytext=(-4, 2) if several else (0, 5), textcoords="offset points",
            ha="right" if several else "center", va="bottom", fontsize=8, weight="bold",
            color=colors.ink, annotation_clip=False,
            bbox={"boxstyle": "square,pad=0.05", "fc": colors.paper, "ec": "none", "alpha": 0.7},
        )  # fmt: skip


def _together(ends: Sequence[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Ends of lines and their names, those that lie on one another under one name."""
    found: list[tuple[float, float, str]] = []
    for x, y, text in ends:
        near = [i for i, (at, other, _) in enumerate(found)
                if abs(at - x) < 6 and 0.03 < other / y < 30]  # fmt: skip
        if near:
            at, other, before = found[near[0]]
            found[near[0]] = at, other, f"{before}, {text}"
        else:
            found.append((x, y, text))
    return found


def _median(values: Sequence[Any]) -> float:
    known = [value for value in map(number, values) if not math.isnan(value)]
    return median(known) if known else math.nan


def flow_in_time(rows: Sequence[Row], theme: str = "light") -> Figure:
    """Draw each layer's gradient by that of the last but the classifier, before and after epochs.

    A map for each network, the output at the top; of several rows of one network the one with most
    marks counts. Marks have epoch and gradients, from the input to the output.
    """
    found = families_of(rows)
    depths = sorted({depth for family in found.values() for depth in family})
    with styled(theme) as colors:
        ends = [colors.series[0], colors.paper, colors.series[1]]
        map_ = LinearSegmentedColormap.from_list("flow", ends).with_extremes(bad=colors.muted)
        shape = (max(1, len(depths)), max(1, len(found)))
        figure = Figure(figsize=(1.6 + 1.25 * shape[1], 0.8 + 1.25 * shape[0]))
        panels = figure.subplots(*shape, squeeze=False)
        image = None
        for column, (family, networks) in enumerate(found.items()):
            panels[0, column].set_title(printable(family, 16), fontsize=10, weight="bold")
            for line, depth in enumerate(depths):
                axes = panels[line, column]
                axes.set(xticks=[], yticks=[])
                if depth in networks:
                    longest = max(networks[depth], key=lambda row: len(row["marks"]))
                    image = _map(axes, longest["marks"], map_)
                if column == 0:
                    axes.set_ylabel(f"{depth} layers", color=colors.ink)
            _epochs(panels[-1, column], networks)
        figure.supxlabel("epoch", fontsize=10, color=colors.muted)
        figure.supylabel("layers, the output at the top", fontsize=10, color=colors.muted)
        if image is not None:
            bar = figure.colorbar(image, ax=panels, shrink=0.6, aspect=24, extend="both")
            bar.set_ticks([-4, -2, 0, 2, 4], labels=["1/10,000", "1/100", "1", "100", "10,000"])
            bar.outline.set_visible(False)
            bar.set_label("gradient by that of the last layer", color=colors.muted)
        return figure


def _map(axes: Axes, marks: Sequence[Row], map_: Colormap) -> Any:
    """One network: layers over epochs."""
    return axes.imshow(
        np.array([levels(mark["gradients"]) for mark in marks]).T,
        cmap=map_, vmin=-SPAN, vmax=SPAN, origin="lower", aspect="auto", interpolation="nearest",
    )  # fmt: skip


def _epochs(axes: Axes, networks: Mapping[int, Sequence[Row]]) -> None:
    """The first and the last epoch below a column, if its maps are alike in them."""
    marks = [max((row["marks"] for row in rows), key=len) for rows in networks.values()]
    if len({len(each) for each in marks}) == 1:
        last = len(marks[0]) - 1
        places = sorted({0, last})
        axes.set_xticks(places, [str(marks[0][place]["epoch"]) for place in places])


def levels(gradients: Sequence[float | None]) -> Floats:
    """Orders of magnitude of norms by the last one above zero, the classifier left out."""
    known = np.array([number(value) for value in gradients[:-1]])
    positive = known[known > 0]
    with np.errstate(divide="ignore"):  # a gradient of zero is minus infinity: the darkest color
        level = np.log10(known) - (np.log10(positive[-1]) if len(positive) else 0.0)
    return np.clip(level, -2 * SPAN, 2 * SPAN)
