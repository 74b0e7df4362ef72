"""A whole picture as one SVG file that stands alone."""

from collections.abc import Sequence
from html import escape

from residua.drawing.colors import fixed_style
from residua.drawing.columns import Column, Piece
from residua.drawing.legend import legend
from residua.drawing.pen import Pen, number, path, text
from residua.drawing.picture import (
    HEADING,
    Row,
    about,
    colors,
    extent,
    heading,
    label,
    panel,
    rows,
    together,
)

MARGIN, LABELS, BETWEEN = 28.0, 70.0, 32.0
ABOVE = 10.0  # pixels above the first box of a row


def picture(columns: Sequence[Column], theme: str) -> str:
    """Draw columns side by side."""
    lines = rows(columns)
    tints = colors(columns)
    x = MARGIN + (LABELS if any(row.map is not None for row in lines) else 0)
    axes = []
    for column in columns:
        left, right = extent(column)
        axes.append(x + left)
        x += left + right + BETWEEN
    width = x - BETWEEN + MARGIN
    body = [
        text(axis, MARGIN + y, words, look)
        for column, axis in zip(columns, axes, strict=True)
        for y, words, look in heading(column)
    ]
    y = MARGIN + HEADING + 8
    pens = [Pen(column, tints) for column in columns]
    for row in lines:
        body.append(rule(row, y, width))
        space = ABOVE if row.map is not None else 0.0
        for pen, axis, cell in zip(pens, axes, row.cells, strict=True):
            body.append(cell_markup(pen, cell, axis, (y, y + space, y + space + row.height)))
        y += row.height + space
    drawn, height = legend(columns, MARGIN, y + 2 * ABOVE, width - 2 * MARGIN)
    body.append(drawn)
    return document(width, y + height + MARGIN, theme, columns, "".join(body))


def rule(row: Row, y: float, width: float) -> str:
    """A thin line above a row, and the size of its maps."""
    if row.map is None:
        return ""
    line = path("rule", f"M{number(MARGIN)},{number(y)}H{number(width - MARGIN)}")
    return line + text(MARGIN, y + ABOVE + 15, label(row.map), "size", "start")


def cell_markup(
    pen: Pen, cell: Sequence[Piece], x: float, where: tuple[float, float, float]
) -> str:
    """The pieces of one column in one row, and the line that goes on through it."""
    top, y, bottom = where
    last = pen.column.pieces[-1]
    begun, over = pen.begun, pen.over
    parts = [vertical(x, top, y)] if begun and not over else []
    for piece in cell:
        inside = panel(piece) + pen.draw(piece.fragment.shapes)
        at = y + piece.pad
        parts.append(f'<g transform="translate({number(x)},{number(at)})">{inside}</g>')
        if piece.pad and begun:
            parts.insert(0, vertical(x, y, at))
        y += piece.height
        begun, over = True, piece is last
        if not over:
            parts.insert(0, vertical(x, at + piece.fragment.height, y))
    if begun and not over:
        parts.append(vertical(x, y, bottom))
    pen.begun, pen.over = begun, over
    return "".join(parts)


def vertical(x: float, top: float, bottom: float) -> str:
    return path("flow", f"M{number(x)},{number(top)}V{number(bottom)}") if bottom > top else ""


def document(width: float, height: float, theme: str, columns: Sequence[Column], body: str) -> str:
    """Close the file: its size, its style, and words for those who cannot see it."""
    names = escape(together([column.name for column in columns]))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {number(width)} {number(height)}" '
        f'width="{number(width)}" height="{number(height)}" role="img" '
        f'aria-labelledby="title about"><title id="title">{names}</title>'
        f'<desc id="about">{about(columns)}</desc><style>{fixed_style(theme)}</style>'
        f'<rect class="paper" width="100%" height="100%"/>{body}</svg>\n'
    )
