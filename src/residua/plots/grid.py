"""Errors over a grid of depths and widths, with what each network costs."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from residua.plots.cost import front
from residua.plots.curves import number
from residua.theme import Inks, styled
from residua.words import count

Row = Mapping[str, Any]


def grid(rows: Sequence[Row], theme: str = "light") -> Figure:
    """Draw a heat map of errors: depth upward, width to the right, stronger is worse.

    Rows have depth, width, error (a fraction) and multiply_adds (or None). Those on the Pareto
    front of error against multiply-adds are framed.
    """
    depths = sorted({int(row["depth"]) for row in rows})
    widths = sorted({float(row["width"]) for row in rows})
    errors = [number(row["error"]) for row in rows]
    with styled(theme) as colors:
        size = (1.5 + 1.05 * max(len(widths), 2), 1.4 + 0.62 * max(len(depths), 2))
        figure = Figure(figsize=size)
        axes = figure.subplots()
        axes.set(xlim=(-0.5, max(len(widths), 1) - 0.5), ylim=(-0.5, max(len(depths), 1) - 0.5))
        low, high = min(errors, default=0.0), max(errors, default=1.0)
        places = [
            (widths.index(float(row["width"])), depths.index(int(row["depth"]))) for row in rows
        ]
        for at, row in zip(places, rows, strict=True):
            strength = (number(row["error"]) - low) / (high - low) if high > low else 0.0
            _cell(axes, at, row, 0.08 + 0.87 * float(np.sqrt(strength)), colors)
        for place in front(rows, "multiply_adds"):  # over their neighbors
            _frame(axes, places[place], colors)
        axes.set_xticks(range(len(widths)), [f"{width:g}" for width in widths])
        axes.set_yticks(range(len(depths)), [str(depth) for depth in depths])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="width", ylabel="layers")
        axes.set_title("test error, %", loc="left", fontsize=10, color=colors.muted)
        return figure


def _cell(axes: Axes, at: tuple[int, int], row: Row, strength: float, colors: Inks) -> None:
    """One network: its error, and what it computes."""
    paper, full = np.array(to_rgb(colors.paper)), np.array(to_rgb(colors.series[0]))
    fill = (1 - strength) * paper + strength * full
    x, y = at
    axes.add_patch(Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, color=tuple(fill), linewidth=0))
    ink = "#ffffff" if fill @ np.array([0.299, 0.587, 0.114]) < 0.52 else "#101318"
    axes.text(
        x, y + 0.12, f"{100 * number(row['error']):.2f}", ha="center", va="center", color=ink,
        weight="bold",
    )  # fmt: skip
    cost = number(row.get("multiply_adds"))
    if isfinite(cost):
        axes.text(x, y - 0.24, count(cost), ha="center", va="center", color=ink, fontsize=7.5)


def _frame(axes: Axes, at: tuple[int, int], colors: Inks) -> None:
    x, y = at
    axes.add_patch(
        Rectangle(
            (x - 0.47, y - 0.46), 0.94, 0.92, fill=False, edgecolor=colors.series[1], linewidth=2
        )
    )
