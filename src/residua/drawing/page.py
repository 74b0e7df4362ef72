"""Networks as one page: the picture of `svg`, in pieces that unfold, and every operation's numbers.

The pieces stand in a grid, a column for each network and a row for each size of maps, so that the
browser keeps networks aligned while blocks unfold. Without scripts the picture and the tables of
all operations remain.
"""

from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import TYPE_CHECKING

from residua.drawing.colors import picture_style, variables
from residua.drawing.columns import Column, Piece
from residua.drawing.legend import entries
from residua.drawing.pen import Pen, number, text
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
from residua.theme import document, printable

if TYPE_CHECKING:
    from residua.drawing.difference import Difference
    from residua.networks.graph import Node

ABOUT = (
    "<h2>Details</h2><p>Point at a box, or move with the arrow keys: its operations, shapes, "
    "parameters, multiply-adds, and the pixels that one result sees. A click keeps them here. "
    "A count such as × 6 unfolds like blocks.</p>"
)
HEADS = ("name", "operation", "shape", "parameters", "multiply-adds", "sees", "stride")
TOOLS = (
    '<div class="tools"><button id="unfold" type="button">Unfold all</button>'
    '<button id="theme" type="button">Light / dark</button></div>'
)


def page(columns: Sequence[Column], unfold: bool, compared: "Sequence[Difference]" = ()) -> str:
    """Return the page of folded columns; with `unfold`, scripts unfold them at once."""
    names = together([column.name for column in columns])
    legend = "".join(
        f'<li><svg width="30" height="16" viewBox="0 -8 30 16" aria-hidden="true">{icon}</svg>'
        f"{escape(words)}</li>"
        for icon, words in entries(columns)
    )
    body = (
        f"<header><h1>{escape(names)}</h1>{TOOLS}</header>\n"
        f'<ul class="legend">{legend}</ul>\n'
        f"<main{' data-unfold' * unfold}>{sheet(columns)}\n"
        f'<aside id="details" aria-live="polite">{ABOUT}</aside></main>\n'
        f"{changes(columns, compared)}<section><h2>All operations</h2>\n"
        + "".join(operations(column, index) for index, column in enumerate(columns))
        + "</section>\n<footer>Drawn by Residua. One result of an operation sees so many pixels of "
        "the image in each direction; a result's stride is the pixels between its neighbors."
        "</footer>"
    )
    return document(names, body, variables() + picture_style() + read("page.css"), read("page.js"))


def read(name: str) -> str:
    return resources.files("residua.drawing").joinpath(name).read_text(encoding="utf-8")


def sheet(columns: Sequence[Column]) -> str:
    """The picture: headings, then a row for each size of maps."""
    tints = colors(columns)
    pens = [Pen(column, tints) for column in columns]
    headings = "".join(f'<div class="cell">{top(column)}</div>' for column in columns)
    lines = "".join(line(row, pens) for row in rows(columns))
    return (
        f'<div class="sheet n{len(columns)}" role="group" aria-label="{about(columns)}">'
        f'<div class="top"><div></div>{headings}</div>{lines}</div>'
    )


def top(column: Column) -> str:
    """A network's name and totals, above its axis."""
    left, right = extent(column)
    lines = "".join(text(0, y, words, look) for y, words, look in heading(column))
    return (
        f'<svg width="{number(left + right)}" height="{HEADING}" '
        f'viewBox="{number(-left)} 0 {number(left + right)} {HEADING}">{lines}</svg>'
    )


def line(row: Row, pens: Sequence[Pen]) -> str:
    """All columns' pieces of one size."""
    size = label(row.map) if row.map is not None else ""
    cells = "".join(
        f'<div class="cell" data-column="{index}">{cell(pen, pieces, row.map is not None)}</div>'
        for index, (pen, pieces) in enumerate(zip(pens, row.cells, strict=True))
    )
    look = "line" if row.map is not None else "top"
    return f'<div class="{look}"><div class="size">{size}</div>{cells}</div>\n'


def cell(pen: Pen, pieces: Sequence[Piece], named: bool) -> str:
    """Pieces below each other, and the line that goes on to the next row."""
    left, right = extent(pen.column)
    parts = [filler(left, right, "fill above")] if pen.begun and not pen.over and named else []
    for piece in pieces:
        pen.over = piece is pen.column.pieces[-1]
        drawn = svg(pen, piece, (left, right))
        if piece.count > 1:
            height = number(piece.fragment.height + piece.tail)
            drawn = (
                f'<div class="run" data-count="{piece.count}" data-step="{piece.step}" '
                f'data-height="{height}">{drawn}</div>'
            )
        parts.append(drawn)
        pen.begun = True
    if pen.begun and not pen.over:
        parts.append(filler(left, right, "fill"))
    return "".join(parts)


def svg(pen: Pen, piece: Piece, extent: tuple[float, float]) -> str:
    """One piece as a picture of its own, as wide as its column."""
    left, right = extent
    bottom = piece.fragment.height + (0 if pen.over else piece.tail)
    tail = (
        f'<path class="flow" d="M0,{number(piece.fragment.height)}V{number(bottom)}"/>'
        if bottom > piece.fragment.height
        else ""
    )
    body = f'<g class="body">{tail}{pen.draw(piece.fragment.shapes)}</g>'
    before = after = ""
    if piece.pad:
        before = f'<path class="flow" d="M0,{number(-piece.pad)}V0"/>'
        after = f'<path class="flow" d="M0,{number(bottom)}V{number(bottom + piece.pad)}"/>'
    return (
        f'<svg width="{number(left + right)}" height="{number(piece.height)}" '
        f'viewBox="{number(-left)} {number(-piece.pad)} {number(left + right)} '
        f'{number(piece.height)}" data-left="{number(-left)}">'
        f"{after}{panel(piece)}{before}{body}</svg>"
    )


def filler(left: float, right: float, look: str) -> str:
    """The line through empty space, as high as the space."""
    return (
        f'<svg class="{look}" width="{number(left + right)}" preserveAspectRatio="none" '
        f'viewBox="{number(-left)} 0 {number(left + right)} 1" aria-hidden="true">'
        '<path class="flow" d="M0,0V1"/></svg>'
    )


def changes(columns: Sequence[Column], compared: "Sequence[Difference]") -> str:
    """What differs between two networks, as a table."""
    if not any(column.marks for column in columns):
        return ""
    names = (printable(column.name) for column in columns)
    heads = "".join(f"<th>{escape(name)}" for name in ("block", *names))
    body = "\n".join(
        f"<tr><td>{escape(printable(each.name))}"
        f"<td>{escape(printable(each.left or 'none'))}<td>{escape(printable(each.right or 'none'))}"
        f"<td>{gain(each.parameters)}<td>{gain(each.multiply_adds)}"
        for each in compared
    )
    return (
        '<section><h2>Differences</h2><div class="scroll"><table class="operations"><thead><tr>'
        f"{heads}<th>parameters<th>multiply-adds</thead><tbody>{body}</tbody></table></div>"
        "</section>\n"
    )


def gain(value: int) -> str:
    return f"{value:+,}" if value else ""


def operations(column: Column, index: int) -> str:
    """Every operation of a network; cells are not closed, which HTML allows and halves the page."""
    nodes = column.graph.nodes
    heads = "".join(f"<th>{name}" for name in HEADS)
    body = "\n".join("<tr>" + "".join(f"<td>{cell}" for cell in cells(node)) for node in nodes)
    return (
        f"<details><summary>{escape(printable(column.name))}: {len(nodes):,} operations</summary>"
        f'<div class="scroll"><table class="operations" id="operations{index}">'
        f"<thead><tr>{heads}</thead><tbody>{body}</tbody></table></div></details>\n"
    )


def cells(node: "Node") -> tuple[str, ...]:
    """An operation's numbers as text."""
    return (
        escape(printable(node.name)),
        escape(printable(node.operation)),
        " × ".join(map(str, node.shape)),
        f"{node.parameters:,}" if node.parameters else "",
        f"{node.multiply_adds:,}" if node.multiply_adds else "",
        f"{node.receptive_field:,}" if node.receptive_field else "",
        str(node.stride or ""),
    )
