"""What each shortcut costs, beside what the paper found (He et al. 2016b, tables 1 and 2)."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from residua.plots.curves import number
from residua.plots.frame import WIDTH
from residua.theme import Inks, printable, styled

Row = Mapping[str, Any]


def shortcuts(rows: Sequence[Row], theme: str = "light") -> Figure:
    """Draw the errors of networks that differ in their shortcuts, the best first.

    Rows have shortcut (a name), test and train (errors of each seed, fractions), interval (of the
    mean of test), paper (% or None, infinite where the paper's training failed), order (whether it
    is an order of activations) and shown: "better" or "worse" than the identity, "" where neither
    is shown, None for the identity itself.
    """
    ranked = sorted(rows, key=lambda row: float(np.mean(row["test"])))
    with styled(theme) as colors:
        figure = Figure(figsize=(WIDTH * 1.3, 1.3 + 0.34 * max(len(rows), 1)))
        axes = figure.subplots()
        axes.set(ylim=(len(ranked) - 0.4, -0.6), xlabel="error, %")
        axes.grid(axis="x")
        for place, row in enumerate(ranked):
            _line(axes, place, row, colors)
        axes.set_yticks(range(len(ranked)), [_name(row) for row in ranked])
        axes.tick_params(axis="y", length=0, labelcolor=colors.ink)
        axes.set_xlim(left=0)
        for x, text in ((0.0, "test error here"), (1.0, "paper")):
            axes.annotate(
                text, (x, 1), xycoords="axes fraction", xytext=(10 * x, 6), color=colors.muted,
                textcoords="offset points", annotation_clip=False,
            )  # fmt: skip
        if not rows:
            axes.text(0.5, 0.5, "nothing measured yet", transform=axes.transAxes, ha="center")
        return figure


def _line(axes: Axes, place: int, row: Row, colors: Inks) -> None:
    """One network: seeds as dots, their mean with its interval, and the paper's number."""
    color = {None: colors.series[0], "better": colors.series[2], "worse": colors.series[1]}.get(
        row["shown"], colors.muted
    )
    test, (low, high) = 100 * np.array(row["test"]), (100 * number(end) for end in row["interval"])
    axes.plot(test, [place] * len(test), "o", color=color, alpha=0.35, markersize=4, mew=0)
    if isfinite(low) and isfinite(high):
        axes.plot((max(low, 0), high), (place, place), color=color, linewidth=2.2)
    axes.plot(test.mean(), place, "o", color=color, markersize=7)
    axes.plot(
        100 * np.mean(row["train"]), place, "o", color=color, markersize=6,
        markerfacecolor=colors.paper, markeredgewidth=1.3, clip_on=False,
    )  # fmt: skip
    axes.annotate(
        _paper(row["paper"]), (1, place), xycoords=axes.get_yaxis_transform(), xytext=(10, 0),
        textcoords="offset points", va="center_baseline", color=colors.muted, annotation_clip=False,
    )  # fmt: skip


def _name(row: Row) -> str:
    return printable(str(row["shortcut"]), 26)


def _paper(error: float | None) -> str:
    """The paper's number, or that there was none."""
    if error is None:
        return "-"
    return f"{error:.2f}" if isfinite(error) else "fail"
