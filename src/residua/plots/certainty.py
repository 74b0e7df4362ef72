"""What scores are worth: reliability, and the accuracy of those answers that are sure enough."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from residua import abstention
from residua.calibration import Calibration, calibration
from residua.intervals import wilson
from residua.plots.frame import WIDTH
from residua.theme import Inks, styled

POINTS = 200  # of a curve, and so intervals to work out


def reliability(
    confidence: ArrayLike,
    correct: ArrayLike,
    theme: str = "light",
    tempered: ArrayLike | None = None,
) -> Figure:
    """Draw the accuracy of predictions against their confidence, and how many there are of each.

    With `tempered`, the scores of the same predictions after temperature scaling, those too.
    """
    result = calibration(confidence, correct)
    after = None if tempered is None else calibration(tempered, correct)
    with styled(theme) as colors:
        figure = Figure(figsize=(WIDTH * 0.85, 4.4))
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        centers = (np.arange(len(result.images)) + 0.5) / len(result.images)
        width, used = 0.86 / len(result.images), result.images > 0
        upper.plot((0, 1), (0, 1), color=colors.muted, linewidth=1, linestyle=(0, (3, 3)))
        upper.bar(centers[used], result.accuracy[used], width, color=colors.series[0], alpha=0.45)
        _dots(upper, result, colors.series[0])
        upper.set(xlim=(0, 1), ylim=(0, 1.02))
        upper.set_title("share that is right", loc="left", fontsize=10, color=colors.muted)
        upper.text(0.03, 0.95, f"calibration error {100 * result.error:.1f} %", va="top")
        upper.grid(axis="y")
        lower.bar(centers, result.images, width, color=colors.muted)
        most = int(result.images.max(initial=0))
        if after is not None:
            used = after.images > 0
            upper.plot(after.confidence[used], after.accuracy[used], color=colors.series[1])
            _dots(upper, after, colors.series[1])
            text = f"{100 * after.error:.1f} % after temperature scaling"
            upper.text(0.03, 0.87, text, va="top", color=colors.series[1])
            edges = np.arange(len(result.images) + 1) / len(result.images)
            lower.stairs(after.images, edges, color=colors.series[1], linewidth=1.2)
            most = max(most, int(after.images.max(initial=0)))
        below = 0.87 if after is None else 0.79
        upper.text(0.03, below, "dashed: as right as sure", va="top", color=colors.muted)
        lower.set(xlabel="score of the predicted class", yticks=[0, most])
        lower.set_title("images", loc="left", fontsize=10, color=colors.muted)
        return figure


def _dots(axes: Axes, result: Calibration, color: str) -> None:
    """A dot for each bin, as large as its share of the images."""
    used = result.images > 0
    sizes = 4 + 60 * result.images[used] / max(result.images.max(), 1)
    axes.scatter(result.confidence[used], result.accuracy[used], sizes, [color], clip_on=False)


def coverage(
    confidence: ArrayLike,
    correct: ArrayLike,
    theme: str = "light",
    threshold: float | None = None,
) -> Figure:
    """Draw the accuracy of the answers against the share of images that are answered.

    Answers that score less are withheld first. The band is the 95 % interval; a threshold, chosen
    elsewhere, is marked with what it does here.

    Raises:
        Refused: confidence and correct do not fit together, or there are none.
    """
    found = abstention.curve(confidence, correct)
    places = np.unique(np.linspace(0, len(found.answered) - 1, POINTS).round().astype(int))
    spans = [wilson(int(found.right[k]), int(found.answered[k])) for k in places]
    low, high = 100 * np.array(spans).T
    x, y = 100 * found.coverage[places], 100 * found.accuracy[places]
    with styled(theme) as colors:
        figure = Figure(figsize=(WIDTH, 3.5))
        axes = figure.subplots()
        axes.grid(axis="y")
        axes.fill_between(x, low, high, color=colors.series[0], alpha=0.18, linewidth=0)
        axes.plot(x, y, color=colors.series[0], linewidth=2.2)
        axes.plot(x[-1], y[-1], "o", color=colors.series[0], clip_on=False)
        plain = f"all answered\n{y[-1]:.1f} %"
        axes.annotate(
            plain, (x[-1], y[-1]), xytext=(8, 0), textcoords="offset points", va="center",
            color=colors.series[0], weight="bold", annotation_clip=False,
        )  # fmt: skip
        # The first few answers have wide intervals, which would flatten the rest.
        floor = min(float(y.min()), float(low[x >= min(10, x[-1])].min()))
        axes.set(xlim=(0, 100), ylim=(max(0, floor - 0.08 * (100 - floor) - 0.1), 100))
        axes.set_xlabel("share of the images that are answered, %")
        axes.set_title("right answers, %", loc="left", fontsize=10, color=colors.muted)
        if threshold is not None:
            _mark(axes, found, threshold, colors)
        return figure


def _mark(axes: Axes, found: abstention.Curve, threshold: float, colors: Inks) -> None:
    """Mark the point of a threshold: what scores at least as much is answered."""
    above = int((found.threshold >= threshold).sum())
    if not above:
        axes.text(0.02, 0.04, f"no score reaches {threshold:.3g}", transform=axes.transAxes)
        return
    x, y = 100 * found.coverage[above - 1], 100 * found.accuracy[above - 1]
    axes.axvline(x, color=colors.muted, linewidth=0.8, linestyle=(0, (2, 3)))
    axes.plot(x, y, "o", mfc=colors.paper, mec=colors.series[1], mew=1.8, clip_on=False)
    text = f"from a score of {threshold:.3g}\n{x:.1f} % answered\n{y:.2f} % of these right"
    left = x > 45
    axes.annotate(
        text, (x, 0.05), xycoords=axes.get_xaxis_transform(), xytext=(-8 if left else 8, 0),
        textcoords="offset points", ha="right" if left else "left", color=colors.series[1],
    )  # fmt: skip
