"""Figures of lesions: every block has its bar, and nothing is drawn that was not measured."""

from typing import Any

import pytest
from figures import texts
from matplotlib.patches import Rectangle

from residua import plots

NAMES = [f"stage{stage}.{place}" for stage in (1, 2, 3) for place in range(3)]


def rows(paths: bool = True, swaps: bool = True) -> list[dict[str, Any]]:
    whole = {"order": NAMES, "changing": ["stage2.0", "stage3.0"], "chance": 0.9}
    found = [measured("whole", 0.08, **whole)]
    found += [measured("drop", 0.1, block=name) for name in NAMES]
    for count in (1, 4, 7):
        found += [measured("several", 0.1 * count, count=count, draw=draw) for draw in (0, 1)]
        if swaps:
            found.append(measured("swap", 0.05 * count, count=count, tau=1 - count / 10))
    if paths:
        found += [
            {"lesion": "path", "count": k, "gradients": [0.5**k, 0.6**k]}
            for k in range(len(NAMES) + 1)
        ]
    return found


def measured(lesion: str, error: float, **more: Any) -> dict[str, Any]:
    return {"lesion": lesion, "error": error, "wrong": round(500 * error), "images": 500, **more}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_bars_are_the_errors_of_the_blocks(theme: str) -> None:
    figure = plots.dropped(rows(), theme)
    bars = [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
    assert [bar.get_height() for bar in bars] == pytest.approx([10.0] * len(NAMES))
    assert sum(bar.get_alpha() == 0.4 for bar in bars) == 2
    said = texts(figure)
    assert all(word in said for word in ("stage 1", "stage 2", "stage 3", "whole", "chance"))


def test_lines_go_through_the_means() -> None:
    left, right = plots.damaged(rows()).axes
    x, y = left.get_lines()[-1].get_data()
    assert list(x) == [0, 1, 4, 7] and list(y) == pytest.approx([8, 10, 40, 70])
    x, y = right.get_lines()[-1].get_data()
    assert list(x) == pytest.approx([0.3, 0.6, 0.9, 1]) and list(y) == pytest.approx([35, 20, 5, 8])


def test_what_cannot_be_swapped_or_followed_is_said() -> None:
    assert "change places" in texts(plots.damaged(rows(swaps=False)))
    assert "through every block" in texts(plots.paths(rows(paths=False)))


def test_shares_of_paths_are_binomial_and_those_of_the_gradient_weigh_them() -> None:
    share, _, gradient = plots.paths(rows()).axes
    x, y = share.get_lines()[0].get_data()
    assert list(x) == list(range(10))
    assert sum(y) == pytest.approx(100) and y[4] == pytest.approx(100 * 126 / 512)
    assert sum(gradient.get_lines()[0].get_ydata()) == pytest.approx(100)
    assert "mean 4.5" in texts(plots.paths(rows()))


def test_rows_of_a_study_that_was_stopped_draw() -> None:
    for draw in (plots.dropped, plots.damaged, plots.paths):
        assert texts(draw([]))
        assert texts(draw(rows()[:1]))
        assert texts(draw([{"lesion": "drop", "block": "stage1.0", "status": "out of memory"}]))
