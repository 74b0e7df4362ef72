"""What the lines and circles of a drawing mean; only those that occur in it."""

from collections.abc import Iterator, Sequence

from residua.drawing.columns import Column
from residua.drawing.labels import width as text_width
from residua.drawing.pen import number, path, text
from residua.drawing.shapes import Circle, Shape, Way

ICON = 30.0  # pixels
PLUS = '<circle cx="15" cy="0" r="5.5"/>' + path("sign", "M12,0h6M15,-3v6")
TIMES = '<circle cx="15" cy="0" r="5.5"/>' + path("sign", "M12.8,-2.2l4.4,4.4M12.8,2.2l4.4,-4.4")
SWATCH = '<g class="b {}"><rect x="4" y="-7" width="22" height="14" rx="3"/></g>'
ENTRIES = {
    "arc": (path("arc", "M0,0H24") + path("tip strong", "M24,3L28,0L24,-3z"), "identity shortcut"),
    "dashed": (
        path("dashed", "M0,0H24") + path("tip strong", "M24,3L28,0L24,-3z"),
        "shortcut that changes the shape",
    ),
    "+": (f'<g class="j">{PLUS}</g>', "sum"),
    "×": (f'<g class="j">{TIMES}</g>', "product"),
    "color": (
        "".join(
            f'<g class="b s{i}"><rect x="{10 * i}" y="-6" width="8" height="12" rx="2"/></g>'
            for i in range(3)
        ),
        "a color for each size of the maps",
    ),
    "changed": (SWATCH.format("changed"), "differs"),
    "only": (SWATCH.format("only"), "in one network only"),
}


def entries(columns: Sequence[Column]) -> list[tuple[str, str]]:
    """Return icon and words of each kind of mark that occurs."""
    found = {mark for column in columns for mark in marks(column)}
    found |= {mark for column in columns for mark in column.marks.values()} or {"color"}
    return [ENTRIES[kind] for kind in ENTRIES if kind in found]


def marks(column: Column) -> Iterator[str]:
    shapes: list[Shape] = [shape for piece in column.pieces for shape in piece.fragment.shapes]
    for shape in shapes:
        if isinstance(shape, Way):
            yield shape.look
        elif isinstance(shape, Circle):
            yield shape.text


def legend(columns: Sequence[Column], x: float, y: float, width: float) -> tuple[str, float]:
    """Draw the legend in lines of at most `width`; return it and its height."""
    parts: list[str] = []
    across, down = 0.0, 0.0
    for icon, words in entries(columns):
        need = ICON + 8 + text_width(words, 11.5)
        if across and across + need > width:
            across, down = 0.0, down + 20
        place = f"translate({number(x + across)},{number(y + down)})"
        note = text(ICON + 8, 4, words, "note", "start")
        parts.append(f'<g transform="{place}">{icon}{note}</g>')
        across += need + 22
    return f'<g class="legend">{"".join(parts)}</g>', down + 20
