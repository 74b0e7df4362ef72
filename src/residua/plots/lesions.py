"""What dropped or exchanged blocks do to a trained network (Veit et al. 2016, figures 3, 5, 6)."""

from collections.abc import Mapping, Sequence
from math import comb
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from residua.intervals import wilson
from residua.plots.curves import number
from residua.theme import Inks, styled

Row = Mapping[str, Any]
BINS = 10


def of(rows: Sequence[Row], lesion: str, value: str = "error") -> list[Row]:
    """The rows of one kind of lesion that were measured."""
    return [row for row in rows if row["lesion"] == lesion and row.get(value) is not None]


def dropped(rows: Sequence[Row], theme: str = "light") -> Figure:
    """Draw the error with each block dropped alone, stage by stage, against the whole network's.

    Rows have lesion ("whole" or "drop"), block, error, wrong, images; that of the whole network
    has chance and changing, the blocks that change the shape.
    """
    whole, bars = of(rows, "whole"), of(rows, "drop")
    changing = set(whole[0]["changing"]) if whole else set()
    with styled(theme) as colors:
        figure = Figure(figsize=(max(4.2, 2.2 + 0.17 * len(bars)), 3.4))
        axes = figure.subplots()
        axes.grid(axis="y")
        places, ticks = _places([str(row["block"]) for row in bars])
        for place, row in zip(places, bars, strict=True):
            error, pale = 100 * number(row["error"]), row["block"] in changing
            color = colors.series[0]
            axes.bar(place, error, 0.78, color=color, alpha=0.4 if pale else 1, linewidth=0)
            low, high = (100 * end for end in wilson(row["wrong"], row["images"]))
            axes.plot([place] * 2, [low, high], color=colors.ink, linewidth=0.9)
        for row in whole:
            _level(axes, 100 * row["error"], "whole", colors.series[1])
            _level(axes, 100 * row["chance"], "chance", colors.muted)
        axes.set_ylim(0, 100)
        axes.set_xlim(-0.8, (places[-1] if places else 0) + 0.8)
        axes.set_xticks([x for x, _ in ticks], [text for _, text in ticks])
        axes.tick_params(axis="x", length=0)
        axes.set_title("error with one block dropped, %", loc="left", fontsize=10,
                       color=colors.muted)  # fmt: skip
        return figure


def _places(names: Sequence[str]) -> tuple[list[float], list[tuple[float, str]]]:
    """Where each bar stands, a gap between stages, and the middle of each stage with its name."""
    stages = [name.split(".")[0] for name in names]
    places = [index + 1.0 * len(set(stages[: index + 1])) - 1 for index in range(len(names))]
    ticks = []
    for stage in dict.fromkeys(stages):
        own = [place for place, other in zip(places, stages, strict=True) if other == stage]
        ticks.append((sum(own) / len(own), stage.replace("stage", "stage ")))
    return places, ticks


def _level(axes: Axes, height: float, name: str, color: str) -> None:
    """A line across with its name at the right end."""
    axes.axhline(height, color=color, linewidth=1.4, linestyle=(0, (4, 2)))
    axes.annotate(
        f"{name}\n{height:.1f}", (1, height), xycoords=axes.get_yaxis_transform(), xytext=(6, 0),
        textcoords="offset points", va="center", color=color, weight="bold", fontsize=9,
        annotation_clip=False,
    )  # fmt: skip


def damaged(rows: Sequence[Row], theme: str = "light") -> Figure:
    """Draw the error against blocks removed at random, and against disorder.

    Rows have lesion ("several" or "swap"), count, error and, of a swap, tau.
    """
    with styled(theme) as colors:
        figure = Figure(figsize=(7.2, 3.4))
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, title in ((left, "blocks removed at random"), (right, "rank correlation")):
            axes.grid(axis="y")
            axes.set_xlabel(title)
            for row in of(rows, "whole"):
                axes.axhline(100 * row["error"], color=colors.muted, linewidth=1.2,
                             linestyle=(0, (4, 2)))  # fmt: skip
                axes.axhline(100 * row["chance"], color=colors.muted, linewidth=1.2,
                             linestyle=(0, (4, 2)))  # fmt: skip
        several = of(rows, "several")
        swaps = of(rows, "swap")
        unharmed = [{**row, "count": 0, "tau": 1.0} for row in of(rows, "whole")]
        for axes, key, found, color in (
            (left, "count", several, colors.series[0]),
            (right, "tau", swaps, colors.series[2]),
        ):
            own = [*(unharmed if found else ()), *found]
            x = [row[key] for row in own]
            axes.plot(x, [100 * number(row["error"]) for row in own], "o", color=color,
                      alpha=0.35, markersize=4.5, markeredgewidth=0)  # fmt: skip
            _through(axes, x, own, color)
        left.xaxis.set_major_locator(MaxNLocator(integer=True))
        left.set_ylim(0, 100)
        left.set_title("error, %", loc="left", fontsize=10, color=colors.muted)
        if swaps:
            right.invert_xaxis()  # disorder grows to the right, as damage does on the left
        else:
            _absent(right, "no two blocks\ncan change places")
        for row in of(rows, "whole"):
            for name, height in (("whole", row["error"]), ("chance", row["chance"])):
                right.annotate(
                    name, (1, 100 * height), xycoords=right.get_yaxis_transform(), xytext=(6, 0),
                    textcoords="offset points", va="center", color=colors.muted, fontsize=9,
                    annotation_clip=False,
                )  # fmt: skip
        return figure


def _through(axes: Axes, x: Sequence[float], rows: Sequence[Row], color: str) -> None:
    """A line through the mean errors of at most BINS parts of the axis."""
    if not len(x):
        return
    edges = np.linspace(min(x), max(x), BINS + 1)[1:-1]
    part = np.digitize(x, edges) if len(set(x)) > BINS else np.unique(x, return_inverse=True)[1]
    places, errors = np.asarray(x), np.array([100 * number(row["error"]) for row in rows])
    means = [(places[part == each].mean(), errors[part == each].mean()) for each in np.unique(part)]
    axes.plot(*zip(*means, strict=True), color=color, linewidth=2.2)


def _absent(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center")
    axes.set(xticks=[])


def paths(rows: Sequence[Row], theme: str = "light") -> Figure:
    """Draw how many paths have which length, the gradient along one, and along all together.

    Rows have lesion "path", count (the length) and gradients (norms, one for each path drawn);
    that of the whole network has order, its blocks.
    """
    found = {int(row["count"]): row["gradients"] for row in of(rows, "path", "gradients")}
    with styled(theme) as colors:
        figure = Figure(figsize=(7.8, 2.9))
        if not found:
            axes = figure.subplots()
            _absent(axes, "one path, through every block")
            axes.set(yticks=[])
            return figure
        panels = figure.subplots(1, 3)
        titles = ("share of paths, %", "gradient along one", "share of the gradient, %")
        for axes, title in zip(panels, titles, strict=True):
            axes.set_title(title, loc="left", fontsize=10, color=colors.muted)
            axes.grid(axis="y")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        most = max([len(row["order"]) for row in of(rows, "whole")] or [max(found)])
        _paths(panels, found, most, colors)
        panels[1].set_xlabel("branches on the path")
        return figure


def _paths(
    panels: Sequence[Axes], found: Mapping[int, Sequence[float]], most: int, colors: Inks
) -> None:
    lengths = np.array(sorted(found))
    ways = np.array([comb(most, int(length)) for length in lengths], np.float64)
    means = np.array([np.mean(found[int(length)]) for length in lengths])
    low, high = np.array([np.quantile(found[int(each)], (0.1, 0.9)) for each in lengths]).T
    shares = ways * means
    for axes, values, color in (
        (panels[0], ways, colors.series[0]),
        (panels[2], shares, colors.series[1]),
    ):
        axes.fill_between(lengths, 100 * values / values.sum(), color=color, alpha=0.25, lw=0)
        axes.plot(lengths, 100 * values / values.sum(), color=color, linewidth=2.2)
        axes.set_ylim(0, 118 * values.max() / values.sum())  # its mean is written above
    panels[1].set_yscale("log")
    decades = np.log10(means.max() / means.min()) if means.min() > 0 else 9
    panels[1].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2 else (1,)))
    panels[1].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panels[1].yaxis.set_minor_locator(NullLocator())
    panels[1].fill_between(lengths, low, high, color=colors.series[2], alpha=0.25, linewidth=0)
    panels[1].plot(lengths, means, color=colors.series[2], linewidth=2.2)
    for axes in panels:
        axes.set_xlim(0, most)
    for axes, values in ((panels[0], ways), (panels[2], shares)):
        middle = float((lengths * values).sum() / values.sum())
        axes.axvline(middle, color=colors.muted, linewidth=1, linestyle=(0, (2, 3)))
        axes.annotate(
            f"mean {middle:.1f}", (middle, 1), xycoords=axes.get_xaxis_transform(), xytext=(4, -10),
            textcoords="offset points", fontsize=8, color=colors.muted,
        )  # fmt: skip
