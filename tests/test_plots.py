"""The figures: what they draw from plain values, in both themes, and what they leave untouched."""

import csv
import io
import subprocess
import sys
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from figures import texts
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import AxesImage
from PIL import Image

from residua import plots
from residua.errors import Refused
from residua.plots import printable
from residua.plots.frame import MARK
from residua.plots.pictures import COLUMNS, TILE
from residua.theme import INKS

HOSTILE = (
    "<script>alert(1)</script>",
    "\x1b[31mred",
    "$x^{2$",
    "a" * 200,
    "\u202eevil",
    "\u5317\u4eac",
    "\u0642\u0637\u0629",
    "\ud800",
)
THEMES = tuple(INKS)


def rows(epochs: int, drop: int | None = None) -> list[dict[str, Any]]:
    """Errors that fall to 10 % in training and 20 % in validation."""
    made = []
    for epoch in range(1, epochs + 1):
        rate = 0.01 if drop and epoch > drop else 0.1
        error = 0.1 + 0.5 / epoch
        made.append({"split": "train", "epoch": epoch, "error": error, "learning_rate": rate})
        made.append({"split": "validation", "epoch": epoch, "error": error + 0.1})
    return made


@pytest.mark.parametrize("theme", THEMES)
def test_a_figure_has_its_themes_colors(theme: str) -> None:
    figure = plots.curves(rows(3), theme)
    assert matplotlib.colors.to_hex(figure.get_facecolor()) == INKS[theme].paper
    assert INKS[theme].series[0] in plots.render(figure, "svg").decode()


def test_the_palette_can_be_read() -> None:
    def luminance(color: str) -> float:
        parts = np.array(matplotlib.colors.to_rgb(color))
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for inks in INKS.values():
        for color in (inks.ink, inks.muted):
            light, dark = sorted((luminance(color), luminance(inks.paper)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.1, level AA


def test_an_unknown_theme_is_refused_with_the_nearest() -> None:
    with pytest.raises(Refused, match='did you mean "dark"'):
        plots.style("drak")


def test_settings_stay_as_they_were(tmp_path: Path) -> None:
    with matplotlib.rc_context({"font.size": 33}):
        before = dict(matplotlib.rcParams)
        plots.save(partial(plots.curves, rows(2)), tmp_path, "curves")
        assert dict(matplotlib.rcParams) == before


def test_a_users_settings_change_nothing() -> None:
    plain = plots.render(plots.curves(rows(4)), "svg")
    with matplotlib.rc_context({"font.size": 33, "axes.grid": True, "text.color": "red"}):
        assert plots.render(plots.curves(rows(4)), "svg") == plain


def test_curves_are_thin_for_training_and_bold_for_validation_in_percent() -> None:
    lines = plots.curves(rows(4)).axes[0].get_lines()
    thin, bold = lines[0], lines[1]
    assert thin.get_linewidth() < bold.get_linewidth()
    assert np.asarray(thin.get_ydata()).tolist() == pytest.approx([60, 35, 80 / 3, 22.5])
    assert np.asarray(bold.get_ydata()).tolist() == pytest.approx([70, 45, 110 / 3, 32.5])


def test_last_and_best_values_stand_at_the_ends() -> None:
    made = rows(4)
    made[5]["error"] = 0.015  # validation, epoch 3
    written = texts(plots.curves(made))
    for expected in ("train", "22.5 %", "validation", "32.5 %", "best 1.50"):
        assert expected in written


def test_only_the_drop_of_a_constant_rate_is_marked() -> None:
    assert "rate 0.01" in texts(plots.curves(rows(20, drop=10)))
    smooth = rows(20)
    for row in smooth:
        row["learning_rate"] = 0.1 * 0.4 ** row["epoch"]
    assert "rate" not in texts(plots.curves(smooth))


def test_missing_values_leave_a_gap() -> None:
    made = rows(8)
    made[8]["error"] = float("nan")  # train, epoch 5
    made[10]["error"] = None  # train, epoch 6
    y = plots.curves(made).axes[0].get_lines()[0].get_ydata()
    assert np.isnan(np.asarray(y)).sum() == 1


def test_the_last_row_of_an_epoch_counts() -> None:
    twice = [{"split": "train", "epoch": 1, "error": e} for e in (0.5, 0.2)]
    epochs, errors = plots.series(twice, "train", "error")
    assert epochs.tolist() == [1] and errors.tolist() == [0.2]


@pytest.mark.parametrize(
    "made",
    [
        [],
        rows(1),
        rows(2)[:1],
        [{"split": "train", "epoch": "x", "error": {}}, {}],
        [{"split": "train", "epoch": e, "error": 0.0, "loss": 10**400} for e in (1, 2)],
        [{"split": "validation", "epoch": e, "error": 1e300} for e in (1, 2)],
    ],
)
def test_curves_of_any_run_can_be_drawn(made: list[dict[str, Any]]) -> None:
    assert "error" in texts(plots.curves(made, "dark", loss=True))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"split": st.sampled_from(["train", "validation"])},
            optional={
                "epoch": st.integers(0, 5) | st.floats(),
                "error": st.floats() | st.none() | st.text(),
                "learning_rate": st.floats(),
            },
        ),
        max_size=12,
    )
)
def test_no_row_breaks_the_curves(made: list[dict[str, Any]]) -> None:
    assert plots.render(plots.curves(made), "svg").startswith(b"<?xml")


@pytest.mark.parametrize("classes", [1, 2, 12, 13, 31, 100])
@pytest.mark.parametrize("theme", THEMES)
def test_confusion_of_few_and_many_classes(classes: int, theme: str) -> None:
    matrix = np.full((classes, classes), 1) + np.eye(classes, dtype=int) * 76
    matrix[0, classes - 1] += 13
    names = [f"kind {index}" for index in range(classes)]
    figure = plots.confusion(matrix, names, theme)
    written = texts(figure)
    assert ("77" in written) == (classes <= 12 and classes > 1)
    assert (f"kind {classes - 1}" in written) == (
        classes <= 30 or "\N{RIGHTWARDS ARROW}" in written
    )
    image = next(child for child in figure.axes[0].get_children() if isinstance(child, AxesImage))
    assert np.asarray(image.get_array()).shape == (classes, classes, 3)


def test_a_single_confusion_is_visible() -> None:
    matrix = np.diag([1000] * 40)
    matrix[3, 7] = 1
    figure = plots.confusion(matrix, [str(index) for index in range(40)])
    image = next(child for child in figure.axes[0].get_children() if isinstance(child, AxesImage))
    cells = np.asarray(image.get_array())
    assert np.abs(cells[3, 7] - cells[3, 8]).max() > 0.2
    assert np.allclose(cells[3, 8], cells[30, 2])


def test_confused_pairs_are_ordered_and_leave_right_answers_out() -> None:
    pairs = plots.confused_pairs([[9, 2, 0], [5, 9, 1], [0, 0, 9]], ["a", "b", "c"])
    assert pairs == [("b", "a", 5), ("a", "b", 2), ("b", "c", 1)]
    assert plots.confused_pairs([[9, 0], [0, 9]], ["a", "b"]) == []


def test_confusion_refuses_names_that_do_not_fit() -> None:
    for matrix in ([[1, 2]], [[1]], []):
        with pytest.raises(Refused, match="does not fit"):
            plots.confusion(matrix, ["a", "b"])


def test_hostile_names_are_text_and_nothing_else() -> None:
    size = len(HOSTILE)
    pictures = [np.zeros((4, 4, 3), np.uint8)] * size
    figures = [
        plots.confusion(np.ones((size, size)), HOSTILE),
        plots.confusion(np.ones((size * 2, size * 2)), HOSTILE * 2),
        plots.worst(pictures, [plots.mistake(name, name, 0.5) for name in HOSTILE]),
        plots.worst(pictures, HOSTILE),
    ]
    for figure in figures:
        svg, png = plots.render(figure, "svg"), plots.render(figure, "png")
        assert png.startswith(b"\x89PNG")
        assert b"<script" not in svg
        assert not {"\x1b", "\u202e"} & set("".join(ET.fromstring(svg).itertext()))


def test_a_small_picture_is_scaled_by_a_whole_number_pixel_by_pixel() -> None:
    generator = np.random.default_rng(0)
    pictures = [
        generator.integers(0, 256, size=(*size, 3), dtype=np.uint8)
        for size in ((8, 8), (32, 32), (28, 20), (9, 30), (400, 300))
    ]
    sheet = plots.render(plots.worst(pictures, ["a"] * 5), "png")
    shown = np.asarray(Image.open(io.BytesIO(sheet)).convert("RGB"))
    for index, picture in enumerate(pictures[:4]):
        scale = TILE // max(picture.shape)
        row, column = divmod(index, COLUMNS)
        left, top = column * (TILE + 24), 76 + row * (TILE + 76 + 24)
        large = picture.repeat(scale, 0).repeat(scale, 1)
        part = shown[top : top + large.shape[0], left : left + large.shape[1]]
        np.testing.assert_array_equal(part, large)


def test_worst_needs_a_title_for_each_picture() -> None:
    with pytest.raises(ValueError, match="shorter"):
        plots.worst([np.zeros((4, 4, 3), np.uint8)], [])
    assert "no mistakes" in texts(plots.worst([], []))


def test_the_title_of_a_mistake() -> None:
    plain = plots.mistake("cat", "dog", 0.984).replace(MARK, "")
    assert plain == "cat \N{RIGHTWARDS ARROW} dog 0.98"
    assert plots.mistake("pit bull terrier", "bull terrier", 1).count("\n") == 1


def test_save_writes_both_themes_and_the_data(tmp_path: Path) -> None:
    made = rows(2)
    paths = plots.save(partial(plots.curves, made), tmp_path / "figures", "curves", made)
    expected = ["curves-dark.png", "curves-dark.svg", "curves.csv", "curves.png", "curves.svg"]
    assert sorted(path.name for path in paths) == expected
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == expected
    with (tmp_path / "figures" / "curves.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["error"] for row in table] == [str(row["error"]) for row in made]
    assert table[1]["learning_rate"] == ""


def test_the_same_figure_gives_the_same_bytes() -> None:
    for kind in ("png", "svg"):
        first, second = (plots.render(plots.curves(rows(3)), kind) for _ in range(2))
        assert first == second


@given(st.text(max_size=80), st.integers(0, 40))
def test_printable_text_is_one_harmless_line(text: str, limit: int) -> None:
    line = printable(text, limit)
    assert not limit or len(line) <= limit
    assert printable(line) == line
    forbidden = {"\n", "\r", "\x1b", "\x00", "\u202e", "\u2066", "\u200f", "\ufeff"}
    assert not forbidden & set(line)


def test_printable_keeps_both_ends_of_a_long_name() -> None:
    assert printable("american pit bull terrier", 11) == "ameri\N{HORIZONTAL ELLIPSIS}rrier"
    assert printable("caf\u00e9 \u5317\u4eac\t\n x") == "caf\u00e9 \u5317\u4eac x"


def test_plots_load_neither_torch_nor_pyplot() -> None:
    code = (
        "import sys; from residua import plots; plots.render(plots.curves([]), 'png'); "
        "sys.exit(bool({'torch', 'matplotlib.pyplot', 'tkinter'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
