"""One block alone, every operation a box of its own: figures 2 and 5 of He et al. 2016a.

The input is x; what the branch makes of it is F(x); the shortcut carries x past it.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from residua.drawing.columns import Column, Piece
from residua.drawing.layout import stack
from residua.drawing.shapes import Box, Circle, Fragment, Shape, Way, Words, line
from residua.drawing.sheet import Sheet, Sizes
from residua.drawing.structure import series
from residua.drawing.units import Unit, depth, units
from residua.errors import Refused
from residua.networks.blocks import home
from residua.words import harmless

if TYPE_CHECKING:
    from residua.networks.graph import Graph

LARGE = Sizes(
    width=150,
    height=34,
    light=24,
    gap=17,
    font=14,
    small=12.5,
    side=26,
    radius=9,
    arrive=14,
    leave=14,
    depart=-9,
)


def block(name: str, graph: "Graph", place: str) -> Column:
    """Lay out the part of a network that `place` names, such as stage1.0.

    Raises:
        Refused: the network has no such part; the message names the nearest.
    """
    part = cut(name, graph, place)
    made = units(part, whole=False)
    drawn = annotated(stack(Sheet(made, LARGE), series(made)), made)
    members = tuple(range(len(made)))
    piece = Piece(drawn, LARGE.gap, members, "", ())
    return Column(f"{name} {place}", part, tuple(made), (piece,), depth(part, made), {}, True)


def cut(name: str, graph: "Graph", place: str) -> "Graph":
    """Return the operations of a part, with what they take from outside as their input."""
    place = place.removeprefix("features.").rstrip(".")
    inside = [node for node in graph.nodes if within(node.name, place)]
    if not inside:
        known = list(dict.fromkeys(home(node.name) for node in graph.nodes[1:]))
        near = get_close_matches(place, known, 1, 0.4)
        some = f"there are {', '.join(known[:8])}, ..." if len(known) > 8 else ""
        fix = f"did you mean {near[0]}? {some}" if near else f"there are {', '.join(known[:12])}"
        raise Refused(f'no block "{harmless(place)}"', where=f"network {name}", fix=fix.strip())
    names = {node.name for node in inside}
    outside = list(dict.fromkeys(s for node in inside for s in node.inputs if s not in names))
    sources = [
        node._replace(operation="input", inputs=(), parameters=0, multiply_adds=0)
        for node in graph.nodes
        if node.name in outside
    ]
    nodes = (*sources, *inside)
    edges = tuple((source, node.name) for node in nodes for source in node.inputs)
    return graph._replace(nodes=nodes, edges=edges)


def within(name: str, place: str) -> bool:
    name = name.removeprefix("features.")
    return name == place or name.startswith(place + ".")


def annotated(drawn: Fragment, made: Sequence[Unit]) -> Fragment:
    """Write x, F(x) and their sum beside a block that has one sum."""
    sums = [s for s in drawn.shapes if isinstance(s, Circle) and s.text == "+" and not s.x]
    arcs = [s for s in drawn.shapes if isinstance(s, Way) and s.look in ("arc", "dashed")]
    if len(sums) != 1 or not arcs:
        return drawn
    (total,), words = sums, list[Shape]()
    outer = max(arcs, key=lambda way: max(x for _, points in way.steps for x, _ in points))
    start = min(y for _, points in outer.steps for _, y in points)
    boxes = [s for s in drawn.shapes if isinstance(s, Box) and s.look != "small"]
    branch = [box for box in boxes if start < box.y < total.y]
    top, bottom = min(b.y for b in branch), max(b.y + b.height for b in branch)
    left = max(b.width / 2 - b.x for b in branch)
    words.append(bracket(-left - 10, top, bottom))
    words.append(Words(-left - 24, (top + bottom) / 2 + 5, "F(x)", "end", "formula"))
    right, shortcut = drawn.right, "identity" if outer.look == "arc" else ""
    name = "F(x) + x" if shortcut else "F(x) + h(x)"
    words.append(Words(-total.radius - 8, total.y + 5, name, "end", "formula"))
    if shortcut:
        words.append(Words(right + 8, (start + total.y) / 2 - 4, "x", "start", "formula"))
        words.append(Words(right + 8, (start + total.y) / 2 + 13, shortcut, "start", "note"))
    else:
        words.append(Words(right + 8, (start + total.y) / 2 + 5, "h(x)", "start", "formula"))
    shapes = (*drawn.shapes, *words)
    return Fragment(drawn.left + 66, drawn.right + 66, drawn.height, shapes)


def bracket(x: float, top: float, bottom: float) -> Way:
    """A square bracket that opens to the right."""
    points = [(x, top), (x - 6, top), (x - 6, bottom), (x, bottom)]
    return line(points, "bracket", arrow=False)
