"""Figures of a page, drawn now or found in the run, each in the light and the dark theme."""

from collections.abc import Callable
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from residua import plots
from residua.plots import printable
from residua.report.markup import Html, html, picture, source

PICTURE_LIMIT = 8_000_000  # bytes of a figure file that the page takes in


def drawn(draw: Callable[[str], Figure], alt: str, caption: str) -> Html:
    """Draw a figure in both themes; a browser picks the one of its reader."""
    light, dark = (draw(theme) for theme in ("light", "dark"))
    width = round(light.get_size_inches()[0] * 110)
    sources = [source(plots.render(figure, "svg"), "svg+xml") for figure in (light, dark)]
    return picture(
        sources[0], sources[1], f'width="{width}" alt="{escape(printable(alt))}"', caption
    )


def stored(directory: Path, name: str, caption: str) -> Html:
    """Return a PNG of figures/ in both themes, nothing where it is absent."""
    light, dark = directory / f"{name}.png", directory / f"{name}-dark.png"
    try:
        if not light.is_file() or light.stat().st_size > PICTURE_LIMIT:
            return Html("")
        data = [path.read_bytes() for path in (light, dark if dark.is_file() else light)]
    except OSError:
        return Html("")
    width = int.from_bytes(data[0][16:20], "big") // 2  # of the PNG, drawn for dense screens
    sources = [source(part, "png") for part in data]
    attributes = f'width="{width}" alt="{escape(printable(caption))}"'
    return picture(sources[0], sources[1], attributes, caption)


def name_of(text: str) -> Html:
    return Html(f'<span class="name">{html(printable(text, 60))}</span>')
