"""Columns in rows of equal map sizes, as figure 3 of He et al. 2016a aligns its networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from residua.drawing.columns import Column, Map, Piece, map_of
from residua.drawing.labels import INPUT, LAYER
from residua.drawing.labels import width as text_width
from residua.drawing.units import Unit
from residua.theme import printable

COLORS = 6
BADGE = 38.0  # pixels left of a folded block for how many there are
FRAME = 12.0  # pixels between the boxes of a folded block and its frame


@dataclass(frozen=True)
class Row:
    """What all columns make of one size; a column without such maps has no pieces there."""

    map: Map | None  # None where rows mean nothing
    cells: tuple[tuple[Piece, ...], ...]

    @property
    def height(self) -> float:
        return max(sum(piece.height for piece in cell) for cell in self.cells)


def rows(columns: Sequence[Column]) -> list[Row]:
    """Align columns by the size of their maps, where no size comes back after a smaller one."""
    head = Row(None, tuple(tuple(p for p in c.pieces if is_input(c, p)) for c in columns))
    rest = [[piece for piece in column.pieces if not is_input(column, piece)] for column in columns]
    if len(columns) == 1:
        runs = [(size, (tuple(run),)) for size, run in groupby(rest[0], key=lambda p: p.map)]
        return [head, *(Row(size, cells) for size, cells in runs)]
    if not all(map(shrinking, rest)):
        return [head, Row(None, tuple(map(tuple, rest)))]
    sizes = sorted({piece.map for pieces in rest for piece in pieces}, reverse=True)
    return [
        head,
        *(Row(s, tuple(tuple(p for p in pieces if p.map == s) for pieces in rest)) for s in sizes),
    ]


def is_input(column: Column, piece: Piece) -> bool:
    return column.units[piece.members[0]].kind == INPUT


def shrinking(pieces: Sequence[Piece]) -> bool:
    """Whether each result's map is at most as large as the one before."""
    sizes = [piece.map for piece in pieces]
    return all(before >= after for before, after in zip(sizes, sizes[1:], strict=False))


def colors(columns: Sequence[Column]) -> dict[Map, int]:
    """Give each size of a map a color, the largest the first; vectors have none.

    Where networks are compared, color is for what differs.
    """
    if any(column.marks for column in columns):
        return {}
    found = {map_of(unit.lead) for column in columns for unit in column.units if unit.kind == LAYER}
    return {size: i % COLORS for i, size in enumerate(sorted(found - {()}, reverse=True))}


def look(unit: Unit, palette: dict[Map, int]) -> str:
    """Return the color class of a unit's box."""
    return f"s{palette[map_of(unit.lead)]}" if map_of(unit.lead) in palette else "s"


HEADING = 52.0  # pixels


def heading(column: Column) -> list[tuple[float, str, str]]:
    """Return height, text and look of the lines above a column."""
    first, second = totals(column)
    return [(14, printable(column.name, 40), "name"), (32, first, "note"), (47, second, "note")]


def together(names: Sequence[str]) -> str:
    """Join names: "vgg19, plain34 and resnet34"."""
    return printable(" and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names))


def label(size: Map) -> str:
    """Say the size of maps."""
    return " × ".join(map(str, size)) or "1"


def totals(column: Column) -> tuple[str, str]:
    """Two lines for below a column's name."""
    graph = column.graph
    return (
        f"{column.layers} layer{'s' * (column.layers != 1)} · {short(graph.parameters)} parameters",
        f"{short(graph.multiply_adds)} multiply-adds",
    )


def about(columns: Sequence[Column]) -> str:
    """The networks and their totals as markup, for those who cannot see the picture."""
    return escape(printable("; ".join(f"{c.name}: {', '.join(totals(c))}" for c in columns)))


def short(value: int) -> str:
    """21797672 -> "21.8 M", and of billions three decimals, as tables print them."""
    for size, unit, digits in ((1e9, "G", 3), (1e6, "M", 1), (1e3, "k", 1)):
        if value >= size:
            return f"{value / size:.{digits}f} {unit}"
    return str(value)


def extent(column: Column) -> tuple[float, float]:
    """How far a column reaches to both sides of its axis, its heading included."""
    half = max(*(text_width(line, 11.5) / 2 for line in totals(column)), 0.0)
    half = max(half, text_width(column.name, 17) / 2)
    folds = any(piece.count > 1 for piece in column.pieces)
    left, right = column.left, column.right
    return max(left + (FRAME + BADGE) * folds, half), max(right + (FRAME + 4) * folds, half)


def panel(piece: Piece) -> str:
    """The frame of a folded piece: cards behind each other, and how many there are."""
    if piece.count == 1:
        return ""
    left = piece.fragment.left + FRAME
    width = left + piece.fragment.right + FRAME
    top, height = -piece.pad - 1, piece.fragment.height + piece.tail + piece.pad
    cards = "".join(
        f'<rect class="card" x="{-left + d:.1f}" y="{top + d:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" rx="7"/>'
        for d in (5, 2.5, 0)
    )
    x, y = -left - 8, top + height / 2 + 5
    return f'{cards}<text class="count" x="{x:.1f}" y="{y:.1f}">× {piece.count}</text>'
