"""Shapes as SVG markup: boxes that can be pointed at, and the ways between them."""

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from residua.drawing.picture import look
from residua.drawing.shapes import Box, Circle, Shape, Way, Words
from residua.drawing.units import Unit
from residua.theme import printable

if TYPE_CHECKING:
    from residua.drawing.columns import Column, Map

ARROW = 4.0
SMALL = ("small", "light", "bar")


def number(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0").replace("-0.0", "0")


def text(x: float, y: float, words: str, look: str, anchor: str = "middle") -> str:
    return (
        f'<text class="{look} {anchor}" x="{number(x)}" y="{number(y)}">'
        f"{escape(printable(words))}</text>"
    )


def path(look: str, steps: str) -> str:
    return f'<path class="{look}" d="{steps}"/>'


class Pen:
    """Draws what a column holds; knows its units and the colors of the maps' sizes."""

    def __init__(self, column: "Column", tints: "dict[Map, int]") -> None:
        self.column, self.tints = column, tints
        self.begun = self.over = False  # whether the column's first and last pieces are drawn

    def draw(self, shapes: Iterable[Shape]) -> str:
        """Return shapes as markup: lines first, so that boxes stand on them."""
        parts = list(shapes)
        ways = [self.way(shape) for shape in parts if isinstance(shape, Way)]
        drawn = "".join([*ways, *(self.other(s) for s in parts if not isinstance(s, Way))])
        return f'<g class="large">{drawn}</g>' if self.column.large else drawn

    def other(self, shape: Shape) -> str:
        match shape:
            case Box():
                return self.box(shape)
            case Circle():
                return self.circle(shape)
            case Words():
                return text(shape.x, shape.y, shape.text, shape.look, shape.anchor)
            case Way():
                return self.way(shape)

    def unit(self, number: int, look: str, inside: str) -> str:
        """A part of the picture that stands for operations."""
        unit = self.column.units[number]
        where = " ".join(map(str, unit.members))
        title = escape(printable(tooltip(self.column, unit)))
        look = f"u {look} {self.column.marks.get(number, '')}".rstrip()
        return f'<g class="{look}" data-n="{where}"><title>{title}</title>{inside}</g>'

    def box(self, box: Box) -> str:
        unit = self.column.units[box.unit]
        kind = {"layer": "b", "small": "b tiny"}.get(box.look, f"b {box.look}")
        if box.look in ("layer", "small"):
            kind += f" {look(unit, self.tints)}"
        frame = (
            f'<rect x="{number(box.x - box.width / 2)}" y="{number(box.y)}" '
            f'width="{number(box.width)}" height="{number(box.height)}" rx="4"/>'
        )
        baseline = box.y + box.height / 2 + (3.5 if box.look in SMALL else 4.2)
        return self.unit(box.unit, kind, frame + text(box.x, baseline, box.text, "t"))

    def circle(self, circle: Circle) -> str:
        x, y = number(circle.x), number(circle.y)
        inside = f'<circle cx="{x}" cy="{y}" r="{number(circle.radius)}"/>' + sign(circle)
        return self.unit(circle.unit, "j", inside)

    def way(self, way: Way) -> str:
        steps = "".join(
            letter + " ".join(f"{number(x)},{number(y)}" for x, y in points)
            for letter, points in way.steps
        )
        line = path(way.look, steps) + (head(way) if way.arrow else "")
        if way.unit is not None:
            return self.unit(way.unit, "w", path("hit", steps) + line)
        return line


def sign(circle: Circle) -> str:
    """A plus or a times as lines, which look the same in every font; else text."""
    x, y = number(circle.x), number(circle.y)
    r, half = 0.55 * circle.radius, 0.4 * circle.radius
    if circle.text == "+":
        return path("sign", f"M{x},{y}m{-r:.2f},0h{2 * r:.2f}m{-r:.2f},{-r:.2f}v{2 * r:.2f}")
    if circle.text == "×":
        a, b = f"{half:.2f}", f"{2 * half:.2f}"
        return path("sign", f"M{x},{y}m-{a},-{a}l{b},{b}m-{b},0l{b},-{b}")
    return text(circle.x, circle.y + 3, circle.text, "t")


def head(way: Way) -> str:
    """The arrow at the end of a way."""
    points = [point for _, points in way.steps for point in points]
    (a, b), (x, y) = points[-2:]
    length = ((x - a) ** 2 + (y - b) ** 2) ** 0.5
    if length < 1e-6:
        return ""
    dx, dy = (x - a) / length * ARROW, (y - b) / length * ARROW
    left = f"{number(x - dx - 0.75 * dy)},{number(y - dy + 0.75 * dx)}"
    right = f"{number(x - dx + 0.75 * dy)},{number(y - dy - 0.75 * dx)}"
    kind = "tip" if way.look == "flow" else "tip strong"
    return path(kind, f"M{left}L{number(x)},{number(y)}L{right}z")


def tooltip(column: "Column", unit: Unit) -> str:
    """What a pointer that rests on a box is told."""
    lead = unit.lead
    nodes = [column.graph.nodes[number] for number in unit.members]
    parts = [lead.name, " + ".join(node.operation for node in nodes)]
    parts.append("×".join(map(str, lead.shape)))
    if parameters := sum(node.parameters for node in nodes):
        parts.append(f"{parameters:,} parameters")
    if lead.multiply_adds:
        parts.append(f"{lead.multiply_adds:,} multiply-adds")
    if lead.receptive_field:
        parts.append(f"sees {lead.receptive_field}×{lead.receptive_field}")
    return " · ".join(parts)
