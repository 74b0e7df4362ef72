"""Highway networks: where gates start, what they let through, and how many images they need."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from residua.plots.curves import number
from residua.plots.frame import WIDTH
from residua.theme import Inks, printable, styled

Row = Mapping[str, Any]
SIZE = (WIDTH, 3.4)  # inches
MINUS = "\N{MINUS SIGN}"
CLASSES = 20  # rows of a heat map that can be read


def gate_bias(rows: Sequence[Row], theme: str = "light") -> Figure:
    """Draw error against the bias that gates start from: thin training, bold test.

    Rows have bias (None for the residual network, which is drawn dashed), train_error and
    test_error as fractions.
    """
    with styled(theme) as colors:
        figure = Figure(figsize=SIZE)
        axes = figure.subplots()
        axes.grid(axis="y")
        biases = sorted({row["bias"] for row in rows if row["bias"] is not None}, reverse=True)
        ends = []
        for role, color, width in zip(ROLES, colors.series, (1.1, 2.6), strict=False):
            _dots(axes, rows, biases, role, color)
            means = [_mean(rows, role, bias=bias) for bias in biases]
            axes.plot(biases, means, color=color, linewidth=width)
            ends.append((means[-1], ROLES[role], color))
            if any(row["bias"] is None for row in rows):
                other = _mean(rows, role, bias=None)
                axes.axhline(other, color=color, linewidth=width, linestyle=(0, (4, 3)))
                if role == "test":
                    axes.annotate(
                        "residual", (0.99, other), xycoords=axes.get_yaxis_transform(),
                        xytext=(0, 4), textcoords="offset points", ha="right", color=color,
                    )  # fmt: skip
        _top(axes)
        axes.set_xlim(max(biases) + 0.3, min(biases) - 0.3)  # open gates first
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("bias that gates start from")
        axes.set_title("error at the end, %", loc="left", fontsize=10, color=colors.muted)
        _name(axes, ends)
        return figure


ROLES = {"train": "training", "test": "test"}


def _mean(rows: Sequence[Row], role: str, **where: Any) -> float:
    """Mean error in % of the rows that have these values."""
    own = [row for row in rows if all(row[key] == value for key, value in where.items())]
    values = [number(row.get(f"{role}_error", 1.0)) for row in own]
    return 100 * float(np.mean(values)) if values else float("nan")


def _dots(axes: Axes, rows: Sequence[Row], biases: Sequence[float], role: str, color: str) -> None:
    own = [row for row in rows if row["bias"] in biases]
    x = [row["bias"] for row in own]
    y = [100 * number(row.get(f"{role}_error", 1.0)) for row in own]
    axes.plot(x, y, "o", color=color, alpha=0.45, markersize=4.5, markeredgewidth=0)


def _top(axes: Axes) -> None:
    """From zero to a little above all that is drawn."""
    heights = [np.nanmax(line.get_ydata(orig=True), initial=0) for line in axes.get_lines()]
    axes.set_ylim(0, min(102.0, 1.08 * float(max(heights, default=100))) or 1)


def _name(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write what lines show to the right of the axes, at their height, without overlap."""
    height = -np.inf
    for y, text, color in sorted(ends):
        place = float(axes.transLimits.transform(axes.transScale.transform((0.0, y)))[1])
        height = max(place, height + 0.075)
        axes.annotate(
            text, (1.02, height), xycoords="axes fraction", va="center", color=color,
            weight="bold", annotation_clip=False,
        )  # fmt: skip


def gates_by_block(rows: Sequence[Row], theme: str = "light") -> Figure:
    """Draw how much each block transforms, T, a line for each bias that gates start from.

    Rows have bias and, but for the residual network, gates: a row of T by class for each block.
    """
    with styled(theme) as colors:
        figure = Figure(figsize=SIZE)
        axes = figure.subplots()
        axes.grid(axis="y")
        biases = sorted({row["bias"] for row in rows if row.get("gates")}, reverse=True)
        axes.set_yscale("log")
        ends, low = [], 1.0
        for place, bias in enumerate(biases):
            color = _shade(colors, place, len(biases))
            known = [row["gates"] for row in rows if row["bias"] == bias and row.get("gates")]
            values = np.maximum(np.mean(known, axis=(0, 2)), 1e-6)
            axes.plot(range(1, len(values) + 1), values, color=color, linewidth=1.8)
            ends.append((float(values[-1]), f"{bias:g}".replace("-", MINUS), color))
            low = min(low, float(values.min()))
            axes.set_xlim(0.5, len(values) + 0.5)
        axes.set_ylim(0.7 * low, 1)
        axes.yaxis.set_major_formatter(lambda value, place: f"{100 * value:g}")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlabel("gated block")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_title(
            "T, share that is transformed, %", loc="left", fontsize=10, color=colors.muted
        )
        _name(axes, ends)
        return figure


def _shade(colors: Inks, place: int, count: int) -> str:
    """A color from the first of the series to the second, in order."""
    ramp = LinearSegmentedColormap.from_list("ramp", [colors.series[1], colors.series[0]])
    red, green, blue, _ = ramp(place / max(count - 1, 1))
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def gates_by_class(
    gates: Sequence[Sequence[Sequence[float]]], names: Sequence[str], theme: str = "light"
) -> Figure:
    """Draw as a heat map how far each block's gate is, for each class, from its mean of classes.

    Of many classes only those that are farthest from it are drawn.

    Args:
        gates: T by block and class, for each seed.
        names: of the classes.
        theme: light or dark.
    """
    with styled(theme) as colors:
        if not gates:  # every training failed
            return Figure(figsize=(WIDTH, 1))
        mean = np.mean(gates, axis=0)
        apart = 100 * (mean / np.maximum(mean.mean(axis=1, keepdims=True), 1e-12) - 1)
        farthest = np.argsort(-np.abs(apart).max(axis=0), kind="stable")[:CLASSES]
        names = [printable(names[index], 16) for index in sorted(farthest)]
        apart = apart[:, sorted(farthest)]
        figure = Figure(figsize=(WIDTH + 1, 0.9 + 0.24 * len(names)))
        axes = figure.subplots()
        most = float(max(np.abs(apart).max(), 1e-3))
        ramp = LinearSegmentedColormap.from_list(
            "apart", [colors.series[0], colors.paper, colors.series[1]]
        )
        blocks = np.arange(apart.shape[0] + 1) + 0.5
        shown = axes.pcolormesh(
            blocks, np.arange(len(names) + 1), apart.T, cmap=ramp, vmin=-most, vmax=most
        )
        axes.set_yticks(np.arange(len(names)) + 0.5, names)
        axes.invert_yaxis()
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlabel("gated block")
        axes.spines["bottom"].set_visible(False)
        axes.set_title(
            "T beside its mean of all classes, %", loc="left", fontsize=10, color=colors.muted
        )
        bar = figure.colorbar(shown, ax=axes, pad=0.02, aspect=30)
        bar.outline.set_visible(False)
        return figure


def data_size(rows: Sequence[Row], theme: str = "light") -> Figure:
    """Draw error against the share of the images: thin those learned from, bold test images.

    Rows have family, share, train_error and test_error, all fractions.
    """
    families = list(dict.fromkeys(str(row["family"]) for row in rows))
    shares = sorted({row["share"] for row in rows})
    with styled(theme) as colors:
        figure = Figure(figsize=SIZE)
        axes = figure.subplots()
        axes.grid(axis="y")
        axes.set_xscale("log")
        ends = []
        for place, (family, color) in enumerate(zip(families, colors.series, strict=False)):
            shift = 1 + 0.02 * (place - (len(families) - 1) / 2)  # side by side
            for role, width in (("train", 1.1), ("test", 2.6)):
                own = [row for row in rows if row["family"] == family]
                x = [row["share"] * shift for row in own]
                y = [100 * number(row.get(f"{role}_error", 1.0)) for row in own]
                axes.plot(x, y, "o", color=color, alpha=0.4, markersize=4.5, markeredgewidth=0)
                means = [_mean(rows, role, family=family, share=share) for share in shares]
                axes.plot(shares, means, color=color, linewidth=width)
                if role == "test":
                    ends.append((means[-1], family, color))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(shares, [f"{100 * share:g} %" for share in shares])
        _top(axes)
        axes.set_xlabel("share of the training images")
        axes.set_title("error at the end, %", loc="left", fontsize=10, color=colors.muted)
        _name(axes, ends)
        return figure
