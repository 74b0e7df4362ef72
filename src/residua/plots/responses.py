"""Standard deviations of layer responses, as in He et al. 2016a, figure 7."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from residua.theme import Inks, printable, styled

Floats = NDArray[np.float64]
Row = Mapping[str, Any]

LIGHT = 0.35  # of the lightest line: the shallowest network


def responses(rows: Sequence[Row], theme: str = "light") -> Figure:
    """Draw the deviation of each layer's response: in the order of layers, and by size.

    Rows have name, kind ("residual" or another), depth and responses, a number for each layer;
    lines are means over the rows that share a name.
    """
    found: dict[str, list[Row]] = {}
    for row in sorted((row for row in rows if row.get("responses")), key=_order):
        found.setdefault(row["name"], []).append(row)
    with styled(theme) as colors:
        figure = Figure(figsize=(7.2, 6.0))
        panels = figure.subplots(2, 1, sharey=True)
        titles = ("in the order of the layers", "from the largest to the smallest")
        for axes, title in zip(panels, titles, strict=True):
            _panel(axes, found, title, colors)
        panels[0].set_ylim(bottom=0)
        panels[1].set_xlabel("layer")
        return figure


def _order(row: Row) -> tuple[str, int]:
    return row["kind"], row["depth"]


def _panel(axes: Axes, found: Mapping[str, Sequence[Row]], title: str, colors: Inks) -> None:
    axes.grid(axis="y")
    axes.set_title(f"deviation of responses, {title}", loc="left", fontsize=10, color=colors.muted)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    kinds: dict[str, list[str]] = {}
    for name, rows in found.items():
        kinds.setdefault(rows[0]["kind"], []).append(name)
    inks = dict(zip(sorted(kinds, key="residual".__ne__), colors.series, strict=False))
    ends = []
    for name, rows in found.items():
        kind = rows[0]["kind"]
        values: Floats = np.mean([row["responses"] for row in rows], axis=0)
        if "largest" in title:
            values = np.sort(values)[::-1]
        place = kinds[kind].index(name) + 1
        share, color = LIGHT + (1 - LIGHT) * place / len(kinds[kind]), inks.get(kind, colors.ink)
        axes.plot(np.arange(1, len(values) + 1), values, color=color, alpha=share, linewidth=1.6)
        ends.append((len(values), float(values[-1]), printable(name, 24), color))
    _label(axes, ends, colors)


def _label(axes: Axes, ends: Sequence[tuple[int, float, str, str]], colors: Inks) -> None:
    """Write names to the right of their lines, apart where lines end together."""
    top = max((float(np.max(line.get_ydata())) for line in axes.get_lines()), default=1.0)
    taken: list[tuple[int, float]] = []
    for x, y, text, color in sorted(ends):
        height = max([y, *(other + 0.08 * top for at, other in taken if abs(at - x) < 12)])
        taken.append((x, height))
        axes.annotate(
            text, (x, height), xytext=(6, 0), textcoords="offset points", va="center",
            color=color, fontsize=9, weight="bold", annotation_clip=False,
            bbox={"boxstyle": "square,pad=0.05", "fc": colors.paper, "ec": "none", "alpha": 0.7},
        )  # fmt: skip
