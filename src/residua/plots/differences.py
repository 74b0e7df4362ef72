"""Which of two networks is better, for every pair of several."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from residua.plots.frame import WIDTH
from residua.theme import printable, styled

NAME = 26  # characters of a network's name


def differences(pairs: Sequence[Mapping[str, Any]], theme: str = "light") -> Figure:
    """Draw the difference of two errors with its interval, a line for each pair.

    A pair has first, second, difference, interval (first minus second, fractions), the p-value
    adjusted_p_value, and better: the name of the network shown to be better, or None. The one with
    fewer errors stands first, so every dot lies on or right of the line of no difference.
    """
    with styled(theme) as colors:
        figure = Figure(figsize=(WIDTH * 1.3, 1.1 + 0.52 * max(len(pairs), 1)))
        axes = figure.subplots()
        axes.set(ylim=(len(pairs) - 0.4, -0.6), xlabel="fewer errors per 1,000 images")
        axes.axvline(0, color=colors.muted, linewidth=1)
        axes.grid(axis="x")
        labels = []
        for place, pair in enumerate(pairs):
            ahead, behind, (low, high) = pair["first"], pair["second"], pair["interval"]
            mean = pair["difference"]
            if mean > 0:
                ahead, behind = behind, ahead
            else:
                mean, low, high = -mean, -high, -low
            color = colors.muted if pair["better"] is None else colors.series[0]
            axes.plot((1000 * low, 1000 * high), (place, place), color=color, linewidth=2.2)
            axes.plot(1000 * mean, place, "o", color=color, markersize=7)
            labels.append(f"{printable(ahead, NAME)}\nthan {printable(behind, NAME)}")
            axes.annotate(
                _chance(pair["adjusted_p_value"]), (1, place),
                xycoords=axes.get_yaxis_transform(), xytext=(8, 0), textcoords="offset points",
                va="center", color=color, weight="normal" if pair["better"] is None else "bold",
                annotation_clip=False,
            )  # fmt: skip
        axes.set_yticks(range(len(pairs)), labels)
        axes.tick_params(axis="y", length=0, labelcolor=colors.ink)
        if not pairs:
            axes.text(0.5, 0.5, "nothing to compare", transform=axes.transAxes, ha="center")
            axes.set(xticks=[])
        return figure


def _chance(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
