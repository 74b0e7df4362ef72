"""What SGD makes of a deeper network built from a shallow one (He et al. 2016a, section 1)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from residua.theme import Inks, styled

Row = Mapping[str, Any]
NAMES = {"shallow": "{0} layers", "built": "{1}, built", "scratch": "{1}, scratch"}


def construction(
    rows: Sequence[Row], depths: tuple[int, int], epochs: float, theme: str = "light"
) -> Figure:
    """Draw training error against epochs, a panel for each family, a line for each start.

    Args:
        rows: family, start (shallow, built or scratch) and curve (rows of epoch, training error,
            test error as fractions); lines are means over the rows that share the first two.
        depths: of the shallow and the deep network.
        epochs: of the first part, after which the deep network is built.
        theme: light or dark.
    """
    families = list(dict.fromkeys(str(row["family"]) for row in rows))
    with styled(theme) as colors:
        figure = Figure(figsize=(1.2 + 3.7 * max(len(families), 1), 3.5))
        panels = figure.subplots(1, max(len(families), 1), sharey=True, squeeze=False)[0]
        # Even up to 1 %, where the solution is, then by the logarithm.
        panels[0].set_yscale("symlog", linthresh=1, linscale=0.5)
        panels[0].set_yticks([0, 1, 3, 10, 30, 100], ["0", "1", "3", "10", "30", "100"])
        panels[0].minorticks_off()
        panels[0].set_ylim(0, 100)
        panels[0].set_ylabel("training error, %")
        for axes, family in zip(panels, families, strict=False):
            own = [row for row in rows if row["family"] == family and row.get("curve")]
            axes.axvline(epochs, color=colors.muted, linestyle=":", linewidth=1)
            _names(axes, _lines(axes, own, epochs, colors), depths)
            axes.set_title(family, loc="left", fontsize=10, weight="bold")
            axes.set_xlabel("epoch")
        return figure


End = tuple[float, float, str, str]  # where a line ends, its color, and what it shows


def _lines(axes: Axes, rows: Sequence[Row], epochs: float, colors: Inks) -> list[End]:
    """Draw the mean curve of each start; the deep network's is the shallow one's at first."""
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    ends = []
    for start, color in zip(NAMES, colors.series, strict=False):
        curves = [row["curve"] for row in rows if row["start"] == start]
        length = min((len(curve) for curve in curves), default=0)
        if not length:
            continue
        mean = np.mean([curve[:length] for curve in curves], axis=0)
        later = mean[mean[:, 0] >= epochs] if start == "built" else mean
        axes.plot(later[:, 0], 100 * later[:, 1], color=color, linewidth=2, clip_on=False)
        ends.append((float(mean[-1, 0]), 100 * float(mean[-1, 1]), color, start))
    return ends


def _names(axes: Axes, ends: Sequence[End], depths: tuple[int, int]) -> None:
    """Write what each line shows to the right of its end, without overlap."""
    height = -np.inf
    for x, y, color, start in sorted(ends, key=lambda end: end[1]):
        place = axes.transLimits.transform(axes.transScale.transform((x, y)))[1]
        height = max(place, height + 0.075)
        axes.annotate(
            NAMES[start].format(*depths), (1.02, height), xycoords="axes fraction", va="center",
            color=color, weight="bold", annotation_clip=False,
        )  # fmt: skip
