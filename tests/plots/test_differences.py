"""The figure of pairs: the better one first, what is not shown is gray."""

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from figures import texts

from residua import plots
from residua.theme import INKS


def pair(first: str, second: str, difference: float, better: str | None = None) -> dict[str, Any]:
    return {
        "first": first,
        "second": second,
        "difference": difference,
        "interval": [difference - 0.01, difference + 0.005],
        "adjusted_p_value": 0.3 if better is None else 0.0001,
        "better": better,
    }


@pytest.mark.parametrize("theme", tuple(INKS))
def test_the_one_with_fewer_errors_stands_first(theme: str) -> None:
    figure = plots.differences([pair("A", "B", 0.02, "B"), pair("A", "C", -0.004)], theme)
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["B\nthan A", "A\nthan C"]
    lines = axes.get_lines()[1:]  # the first is the line of no difference
    spans = [np.asarray(line.get_xdata()).ravel().tolist() for line in lines]
    assert spans[0] == pytest.approx([10, 25]) and spans[1] == pytest.approx([20])
    assert spans[2] == pytest.approx([-1, 14]) and spans[3] == pytest.approx([4])
    colors = [line.get_color() for line in lines]
    assert colors[0] == INKS[theme].series[0] and colors[2] == INKS[theme].muted
    written = texts(figure)
    assert "p < 0.001" in written and "p = 0.3" in written


def test_any_number_of_pairs_with_any_names() -> None:
    assert "nothing to compare" in texts(plots.differences([]))
    hostile = "\u202e<script>" + "a" * 100
    svg = plots.render(plots.differences([pair(hostile, "$x$", -0.1)] * 15), "svg")
    assert b"<script" not in svg and "\u202e" not in "".join(ET.fromstring(svg).itertext())
