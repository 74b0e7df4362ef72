"""Error against what it costs, over any set of networks."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from residua.plots.curves import number
from residua.plots.frame import WIDTH
from residua.theme import DPI, Inks, printable, styled

AROUND = [(8, 5), (-8, 5), (8, -5), (-8, -5), (9, 0), (-9, 0), (0, 10), (0, -10)]  # points
PLACES = [(scale * x, scale * y) for scale in (1, 1.4, 1.9, 2.5) for x, y in AROUND]
SIZE = 7.5  # points of a number
NAME = 26  # characters of a name


class Cost(NamedTuple):
    """A cost as a column of the rows, in words, and whether more of it is better."""

    key: str
    words: str
    more_is_better: bool = False


COSTS = (
    Cost("multiply_adds", "multiply-adds"),
    Cost("parameters", "parameters"),
    Cost("images_per_second", "images/s", more_is_better=True),
)


def front(rows: Sequence[Mapping[str, Any]], key: str, more_is_better: bool = False) -> list[int]:
    """The rows that no other beats: none has less error for no more cost. The cheapest first.

    Of equals all stand. Rows without the cost or the error take no part.
    """
    sign = -1 if more_is_better else 1
    known = [
        (sign * number(row.get(key)), number(row.get("error")), place)
        for place, row in enumerate(rows)
        if isfinite(number(row.get(key))) and isfinite(number(row.get("error")))
    ]
    chosen: list[tuple[float, float, int]] = []
    for point in sorted(known):
        if not chosen or point[1] < chosen[-1][1] or point[:2] == chosen[-1][:2]:
            chosen.append(point)
    return [place for _, _, place in chosen]


def cost(rows: Sequence[Mapping[str, Any]], theme: str = "light") -> Figure:
    """Draw the error of each row against each cost that is known of any, and the Pareto front.

    Rows have name, error, interval (fractions) and what is known of parameters, multiply_adds and
    images_per_second. Points are numbered, and the names below: names among points would collide.
    """
    shown = [c for c in COSTS if any(number(row.get(c.key)) > 0 for row in rows)]
    panels = max(len(shown), 1)
    columns = max(panels, 2)
    lines = -(-len(rows) // columns)
    below = 0.2 + 0.19 * lines
    with styled(theme) as colors:
        figure = Figure(figsize=(max(WIDTH, 0.6 + 2.9 * panels), 3.4 + below))
        upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(3.4, below))[:, 0]
        all_axes = upper.subplots(1, panels, sharey=True, squeeze=False)[0]
        figure.set_layout_engine("constrained", wspace=0.06)
        if not shown:
            all_axes[0].text(
                0.5, 0.5, "nothing measured yet", transform=all_axes[0].transAxes, ha="center"
            )
            all_axes[0].set(xticks=[], yticks=[])
            return figure
        all_axes[0].set_title("error, %", loc="left", fontsize=10, color=colors.muted)
        for axes, each in zip(all_axes, shown, strict=True):
            _points(axes, rows, each, colors)
        _names(lower, rows, columns, colors)
        figure.draw_without_rendering()  # settles the layout, so that numbers find free places
        figure.set_layout_engine("none")
        for axes, each in zip(all_axes, shown, strict=True):
            _numbers(axes, rows, each, colors)
        return figure


def _points(axes: Axes, rows: Sequence[Mapping[str, Any]], each: Cost, colors: Inks) -> None:
    """Dots with intervals as bars; those of the front are joined and colored."""
    best = front(rows, each.key, each.more_is_better)
    path = np.array([_point(rows[place], each) for place in best])
    axes.set_xscale("log")
    axes.grid(axis="y")
    if len(path):
        axes.step(
            path[:, 0], path[:, 1], where="pre" if each.more_is_better else "post",
            color=colors.series[0], linewidth=1.2, alpha=0.6,
        )  # fmt: skip
    for place, row in enumerate(rows):
        x, y = _point(row, each)
        if not (x > 0 and isfinite(y)):
            continue
        color = colors.series[0] if place in best else colors.muted
        low, high = (100 * number(end) for end in row.get("interval") or (None, None))
        axes.plot((x, x), (low, high), color=color, linewidth=1.4, alpha=0.8)
        axes.plot(x, y, "o", color=color, markersize=5)
    axes.set_xlabel(each.words)
    _ticks(axes)


def _point(row: Mapping[str, Any], each: Cost) -> tuple[float, float]:
    return number(row.get(each.key)), 100 * number(row.get("error"))


def _ticks(axes: Axes) -> None:
    """Round numbers in words of three letters at most, on a scale that shows at least two."""
    low, high = axes.dataLim.intervalx
    if not (0 < low <= high):
        return
    axes.set_xlim(low / 1.6, high * 1.6)
    subs = (1.0,) if high / low > 300 else (1.0, 3.0) if high / low > 12 else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def _short(value: float) -> str:
    """272474 -> "272 k"."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _names(figure: Any, rows: Sequence[Mapping[str, Any]], columns: int, colors: Inks) -> None:
    """The numbers of the points and what they stand for."""
    lines = -(-len(rows) // columns)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set(xlim=(0, columns), ylim=(lines, 0))
    for place, row in enumerate(rows):
        column, line = divmod(place, lines)
        error = number(row.get("error"))
        known = f"{100 * error:.2f} %" if isfinite(error) else "not measured"
        text = f"{place + 1}  {printable(str(row.get('name', '')), NAME)}  {known}"
        axes.text(column, line + 0.5, text, va="center", fontsize=8.5, color=colors.ink)


def _numbers(axes: Axes, rows: Sequence[Mapping[str, Any]], each: Cost, colors: Inks) -> None:
    """Write each point's number at the nearest place that is still free, or else the freest."""
    best = front(rows, each.key, each.more_is_better)
    taken = _obstacles(axes, rows, each, best)
    for place, row in enumerate(rows):
        x, y = _point(row, each)
        if not (x > 0 and isfinite(y)):
            continue
        spot, text = axes.transData.transform((x, y)), str(place + 1)
        size = SIZE * np.array([0.35 * len(text), 0.5])
        boxes = [_box(spot, size, np.array(offset)) for offset in PLACES]
        crowds = [sum(box.overlaps(other) for other in taken) for box in boxes]
        free = int(np.argmin(crowds))
        taken.append(boxes[free])
        axes.annotate(
            text, (x, y), xytext=PLACES[free], textcoords="offset points",
            ha="center", va="center", fontsize=SIZE,
            color=colors.ink if place in best else colors.muted,
        )  # fmt: skip


def _obstacles(
    axes: Axes, rows: Sequence[Mapping[str, Any]], each: Cost, best: Sequence[int]
) -> list[Bbox]:
    """The dots, the bars, and the two strokes of each step of the front, in pixels."""
    place, points = axes.transData.transform, [_point(row, each) for row in rows]
    known = [k for k, (x, y) in enumerate(points) if x > 0 and isfinite(y)]
    boxes = [_box(place(points[k]), np.array([2.5, 2.5])) for k in known]
    strokes = []
    for k in known:
        low, high = (100 * number(end) for end in rows[k].get("interval") or (None, None))
        strokes += [((points[k][0], low), (points[k][0], high))] if isfinite(low + high) else []
    for left, right in pairwise(points[k] for k in best):
        corner = (left[0], right[1]) if each.more_is_better else (right[0], left[1])
        strokes += [(left, corner), (corner, right)]
    for ends in strokes:
        (a, b), (c, d) = place(ends[0]), place(ends[1])
        boxes.append(Bbox.from_extents(min(a, c), min(b, d), max(a, c), max(b, d)).padded(2))
    return boxes


def _box(spot: Any, half: NDArray[np.float64], offset: Any = 0) -> Bbox:
    """A box around a place in pixels; its half size and offset are in points."""
    middle, half = spot + np.asarray(offset) * DPI / 72, half * DPI / 72
    return Bbox([middle - half, middle + half])
