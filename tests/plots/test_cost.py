"""Error against cost: who stands on the front, and numbers that can be read."""

import xml.etree.ElementTree as ET
from itertools import combinations
from typing import Any

import pytest
from figures import texts
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation

from residua import plots
from residua.theme import DPI, INKS

Points = list[tuple[float, float]]


def rows(points: Points) -> list[dict[str, Any]]:
    return [
        {
            "name": f"net {place}",
            "error": error,
            "interval": [0.95 * error, 1.05 * error],
            "parameters": cost,
            "multiply_adds": 90 * cost,
            "images_per_second": 1e9 / cost,
        }
        for place, (cost, error) in enumerate(points)
    ]


CLOSE: Points = [(2.7e5, 0.083), (2.72e5, 0.0831), (4.6e5, 0.075), (8.5e5, 0.0697), (8.6e5, 0.07)]


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), max_size=12), st.booleans())
def test_nobody_on_the_front_is_beaten_and_all_others_are(
    points: list[tuple[int, int]], more: bool
) -> None:
    made = [{"parameters": cost, "error": error / 10} for cost, error in points]
    chosen = plots.front(made, "parameters", more)
    sign = -1 if more else 1

    def beaten(place: int) -> bool:
        cost, error = sign * points[place][0], points[place][1]
        return any(
            sign * c <= cost and e <= error and (sign * c, e) != (cost, error) for c, e in points
        )

    assert sorted(chosen) == [place for place in range(len(points)) if not beaten(place)]
    costs = [sign * points[place][0] for place in chosen]
    assert costs == sorted(costs)


def test_what_is_not_known_takes_no_part() -> None:
    made: list[dict[str, Any]] = [
        {"parameters": None, "error": 0.1},
        {"parameters": 5, "error": float("nan")},
        {"error": 0.2},
        {"parameters": 7, "error": 0.3},
    ]
    assert plots.front(made, "parameters") == [3]


@pytest.mark.parametrize("theme", tuple(INKS))
def test_every_known_cost_has_a_panel_and_every_row_a_name(theme: str) -> None:
    figure = plots.cost(rows(CLOSE), theme)
    written = texts(figure)
    for expected in ("error, %", "multiply-adds", "parameters", "images/s", "net 0", "8.30 %"):
        assert expected in written
    only = [{k: v for k, v in row.items() if k != "images_per_second"} for row in rows(CLOSE)]
    assert "images/s" not in texts(plots.cost(only, theme))


def test_numbers_do_not_collide() -> None:
    figure = plots.cost(
        rows([(cost * scale, error) for cost, error in CLOSE for scale in (1, 1.3)])
    )
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    for axes in (axes for axes in figure.axes if axes.get_xlabel()):
        numbers = [child for child in axes.texts if isinstance(child, Annotation)]
        assert [child.get_text() for child in numbers] == [str(n + 1) for n in range(10)]
        boxes = [child.get_window_extent(canvas.get_renderer()).padded(-1) for child in numbers]
        assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
        frame = axes.get_window_extent().padded(0.2 * DPI)
        assert all(frame.overlaps(box) for box in boxes)


@pytest.mark.parametrize(
    "made",
    [
        [],
        [{"name": "a", "error": 0.1}],
        [{"name": "a", "error": None, "parameters": 5}],
        [{"name": "a", "error": 0.1, "parameters": 0}],
        [{"name": "a", "error": 0.0, "parameters": 10, "interval": None}],
        [{"name": "\u202e<script>$x$" * 9, "error": 0.1, "parameters": 10**400}] * 2,
        rows([(1e5, 0.5)] * 3),
        rows([(10.0**k, 1 / (k + 1)) for k in range(1, 12)]),
    ],
)
def test_any_rows_can_be_drawn(made: list[dict[str, Any]]) -> None:
    svg = plots.render(plots.cost(made, "dark"), "svg")
    assert b"<script" not in svg
    assert ET.fromstring(svg).tag.endswith("svg")
