"""One look for every figure and page: two color themes, one type size, harmless text.

Colors are those of Okabe and Ito (2008), which stay apart in the common kinds of color blindness.
Figures are drawn between `styled` and files written by `save`; pyplot is never imported and
matplotlib's settings are as they were afterwards.
"""

import csv
import io
import threading
import unicodedata
import warnings
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.style
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from residua.errors import unknown

DPI = 200
FALLBACK = ("Noto Sans CJK JP", "Noto Sans CJK SC", "Hiragino Sans", "Microsoft YaHei", "Arial")
# Persian, Hindi and emoji need the joiners; the mark keeps English order around Arabic names.
JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}\N{LEFT-TO-RIGHT MARK}"
_drawing = threading.RLock()  # matplotlib's settings are global: one figure at a time


class Inks(NamedTuple):
    """The colors of one theme; `series` tell lines apart, the first is used for a single one."""

    paper: str
    ink: str
    muted: str
    grid: str
    series: tuple[str, ...]


INKS = {
    "light": Inks(
        paper="#ffffff",
        ink="#1b2027",
        muted="#5d6673",
        grid="#e3e6ea",
        series=("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
    ),
    "dark": Inks(
        paper="#15181d",
        ink="#e7eaee",
        muted="#98a2b0",
        grid="#2b3038",
        series=("#56b4e9", "#f0883e", "#2fc79a", "#dd94bb", "#f0c04a", "#4a90d9"),
    ),
}


def inks(theme: str) -> Inks:
    """Return the colors of "light" or "dark"; `Refused` for any other theme."""
    if theme not in INKS:
        raise unknown("theme", theme, INKS)
    return INKS[theme]


def style(theme: str) -> dict[str, Any]:
    """Return the matplotlib settings of a theme."""
    colors = inks(theme)
    return {
        "font.family": _fonts(),
        "font.size": 10,
        "text.color": colors.ink,
        "text.parse_math": False,  # a class may be named "$x$"
        "figure.dpi": DPI,
        "figure.facecolor": colors.paper,
        "figure.constrained_layout.use": True,
        "axes.facecolor": colors.paper,
        "axes.edgecolor": colors.muted,
        "axes.labelcolor": colors.muted,
        "axes.axisbelow": True,
        "axes.spines.left": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": colors.grid,
        "xtick.color": colors.muted,
        "ytick.color": colors.muted,
        "xtick.major.size": 3,
        "ytick.major.size": 0,
        "lines.solid_capstyle": "round",
    }


@cache
def _fonts() -> list[str]:
    """DejaVu Sans comes with matplotlib; installed fonts lend it the characters it lacks."""
    installed = set(fontManager.get_font_names())
    return ["DejaVu Sans", *(name for name in FALLBACK if name in installed), "sans-serif"]


@contextmanager
def styled(theme: str) -> Iterator[Inks]:
    """Draw with a theme's settings over matplotlib's defaults, whatever a matplotlibrc says."""
    with _drawing, matplotlib.style.context(["default", style(theme)]):
        yield inks(theme)


def printable(text: str, limit: int = 0) -> str:
    """Return one harmless line: no control or direction characters, the middle cut at `limit`."""
    line = "".join(
        c
        if c in JOINERS or unicodedata.category(c) not in ("Cc", "Cf", "Cs")
        else "\N{REPLACEMENT CHARACTER}"
        for c in " ".join(text.split())
    )
    if not 0 < limit < len(line):
        return line
    tail = (limit - 1) // 2
    return f"{line[: limit - 1 - tail]}\N{HORIZONTAL ELLIPSIS}{line[len(line) - tail :]}"


def document(title: str, body: str, style: str, script: str = "") -> str:
    """Return a page that needs nothing else; its policy forbids all but its own style and script.

    `body` is markup already; the title is escaped.
    """
    allowed = f"; script-src 'sha256-{_digest(script)}'" if script else ""
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{_digest(style)}'{allowed}; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(printable(title))}</title>\n<style>{style}</style>\n</head>\n"
        f"<body>\n{body}\n"
        + (f"<script>{script}</script>\n" if script else "")
        + "</body>\n</html>\n"
    )


def _digest(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode()


def render(figure: Figure, kind: str) -> bytes:
    """Return a figure as "png" or "svg" bytes, the same bytes for the same figure."""
    stream = io.BytesIO()
    settings = {"svg.fonttype": "none", "svg.hashsalt": "residua"}  # text stays text
    metadata = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}[kind]
    with _drawing, matplotlib.style.context(["default", settings]), warnings.catch_warnings():
        # A script that no installed font covers: the reader's browser draws it from the SVG.
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        figure.savefig(stream, format=kind, dpi=DPI, metadata=metadata)
    return stream.getvalue()


def save(
    draw: Callable[[str], Figure],
    directory: Path,
    name: str,
    table: Sequence[Mapping[str, Any]] = (),
) -> list[Path]:
    """Write NAME.png, NAME.svg, NAME-dark.png, NAME-dark.svg and, of a table, NAME.csv.

    `draw` takes a theme: `save(partial(curves, rows), run.path / "figures", "curves", rows)`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for theme, ending in (("light", ""), ("dark", "-dark")):
        figure = draw(theme)
        for kind in ("png", "svg"):
            paths.append(directory / f"{name}{ending}.{kind}")
            paths[-1].write_bytes(render(figure, kind))
    if table:
        columns = list(dict.fromkeys(key for row in table for key in row))
        paths.append(directory / f"{name}.csv")
        with paths[-1].open("w", newline="", encoding="utf-8", errors="replace") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(table)
    return paths
