"""A network as a column of pieces, one for each block, runs of like blocks folded into one.

A piece is rigid: unfolding repeats it and moves what stands below. Its operations follow each other
in the graph, so those of the k-th repetition are k * `step` further on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

from residua.drawing.labels import INPUT, LAYER, POOL, label
from residua.drawing.labels import width as text_width
from residua.drawing.layout import inline, is_circle, stack
from residua.drawing.shapes import Box, Fragment, Words, line
from residua.drawing.sheet import Sheet, Sizes
from residua.drawing.structure import Series, Split, Tangle, series
from residua.drawing.units import Unit, depth, units
from residua.networks.blocks import home, likeness

if TYPE_CHECKING:
    from residua.networks.graph import Graph, Node

LONG = 40  # layers up to which a column is drawn unfolded
ALIKE = 3  # layers of a kind that fold outside of blocks
WIDEST = 190.0
PAD = 9.0
SEVERAL = 3  # sizes of maps in one piece

Map = tuple[int, ...]  # height and width of a result; () of a vector


@dataclass(frozen=True)
class Piece:
    """One block, or `count` like ones."""

    fragment: Fragment
    tail: float  # pixels of line below it
    members: tuple[int, ...]  # units
    place: str  # the block's name, "" outside of blocks
    map: Map  # size of its result
    count: int = 1
    step: int = 0  # operations in each

    @property
    def pad(self) -> float:
        """Pixels that the frame of a folded piece takes above and below it."""
        return PAD if self.count > 1 else 0.0

    @property
    def height(self) -> float:
        return self.fragment.height + self.tail + 2 * self.pad


@dataclass(frozen=True)
class Column:
    """A network: its name, its graph, the graph's units, and the pieces that show them."""

    name: str
    graph: "Graph"
    units: tuple[Unit, ...]
    pieces: tuple[Piece, ...]
    layers: int
    marks: Mapping[int, str] = field(default_factory=dict)  # unit -> how it differs from another's
    large: bool = False

    @property
    def left(self) -> float:
        return max(piece.fragment.left for piece in self.pieces)

    @property
    def right(self) -> float:
        return max(piece.fragment.right for piece in self.pieces)


def column(name: str, graph: "Graph") -> Column:
    """Lay out a network, nothing folded."""
    made = units(graph)
    sheet = Sheet(made, Sizes(width=box_width(made)))
    pieces = [piece(sheet, graph, items, place) for place, items in grouped(made, graph)]
    return Column(name, graph, tuple(made), tuple(pieces), depth(graph, made))


def fold(column: Column) -> Column:
    """Put like blocks that follow each other into one."""
    return replace(column, pieces=tuple(folded(column)))


def is_long(column: Column) -> bool:
    """Whether more layers follow each other than a picture has room for."""
    return column.layers > LONG


def box_width(made: Sequence[Unit]) -> float:
    """One width for the boxes of a column: the longest text fits."""
    texts = [text_width(label(unit.lead), 12) + 14 for unit in made if unit.kind in (LAYER, POOL)]
    return min(max([104.0, *texts]), WIDEST)


def grouped(made: Sequence[Unit], graph: "Graph") -> Iterator[tuple[str, Series]]:
    """Cut the network between its blocks; outside of blocks, after each unit."""
    sizes: dict[str, int] = {}
    for node in graph.nodes:
        sizes[home(node.name)] = sizes.get(home(node.name), 0) + 1

    def place(part: Series, level: int) -> str:
        last = part[-1]
        name = made[last].lead.name if isinstance(last, int) else ""
        block = home(name, level)
        return block if sizes.get(block, 2) > 1 and block.rpartition(".")[2].isdigit() else ""

    def cut(parts: Sequence[Series], level: int) -> Iterator[tuple[str, Series]]:
        for block, near in groupby(parts, key=lambda part: place(part, level)):
            group = list(near)
            forks = sum(isinstance(item, Split) for part in group for item in part)
            deeper = level < 4 and {place(part, level + 1) for part in group} != {block}
            if not block or (forks > 1 and not deeper):
                yield from (("", part) for part in group)
            elif forks > 1:
                yield from cut(group, level + 1)
            else:
                yield block, tuple(item for part in group for item in part)

    return cut(entries(series(made)), 1)


def entries(items: Series) -> list[Series]:
    """Keep a split with the unit that joins its branches."""
    found: list[Series] = []
    for number, item in enumerate(items):
        before = items[number - 1] if number else None
        if isinstance(item, Split):
            if number == len(items) - 1:
                found.append((item,))
        else:
            found.append((before, item) if isinstance(before, Split) else (item,))
    return found


def inside(items: Series) -> Iterator[int]:
    """Yield all units of a series."""
    for item in items:
        match item:
            case int():
                yield item
            case Split():
                for branch in item.branches:
                    yield from inside(branch)
            case Tangle():
                yield from item.members


def piece(sheet: Sheet, graph: "Graph", items: Series, place: str) -> Piece:
    """Lay out one block."""
    members = tuple(sorted(inside(items)))
    last = sheet.units[items[-1]] if isinstance(items[-1], int) else sheet.units[members[-1]]
    many = len(members) > 1 and bool(place)
    tail = sheet.sizes.leave if is_circle(last) else sheet.sizes.gap
    if many and not is_circle(last):  # as much as a circle takes: plain twins stay aligned
        tail = sheet.sizes.arrive + 2 * sheet.sizes.radius + sheet.sizes.leave
    fragment = stack(sheet, items)
    if inline(items[0]) and sheet.units[members[0]].kind != INPUT:
        arrow = line([(0, -5), (0, 0)])
        fragment = fragment._replace(shapes=(arrow, *fragment.shapes))
    fragment = sized(sheet, fragment)
    return Piece(fragment, tail, members, place, map_of(last.lead))


def sized(sheet: Sheet, fragment: Fragment) -> Fragment:
    """Write sizes beside a piece whose maps have several, as those of an encoder and decoder."""
    axis = sorted((s for s in fragment.shapes if isinstance(s, Box) and not s.x), key=lambda b: b.y)
    sizes = [map_of(sheet.units[box.unit].lead) for box in axis]
    if len(set(sizes) - {()}) < SEVERAL:
        return fragment
    notes = [
        Words(-fragment.left - 10, box.y + 15, " × ".join(map(str, size)), "end", "size")
        for box, size, before in zip(axis, sizes, [None, *sizes], strict=False)
        if size and size != before
    ]
    left = fragment.left + 10 + max(text_width(note.text, 12.5) for note in notes)
    return fragment._replace(left=left, shapes=(*fragment.shapes, *notes))


def map_of(node: "Node") -> Map:
    """Return height and width of a result; of a vector, and of a single position, nothing."""
    return () if set(node.shape[1:]) <= {1} else tuple(node.shape[1:])


def folded(column: Column) -> Iterator[Piece]:
    """Yield pieces, like ones that follow each other as one."""
    made = column.units

    def look(part: Piece) -> tuple[Any, ...]:
        nodes = operations(part, made, column.graph)
        marks = tuple(column.marks.get(number, "") for number in part.members)
        if part.place:
            return marks, likeness(nodes, numbers(part.place))
        return marks, tuple((node.operation, node.shape, node.parameters) for node in nodes)

    for _, near in groupby(column.pieces, key=look):
        run = list(near)
        first, step = run[0], sum(len(made[number].members) for number in run[0].members)
        enough = len(run) >= (2 if first.place else ALIKE)
        if enough and made[first.members[0]].kind != INPUT and regular(run, made, step):
            yield replace(first, count=len(run), step=step)
        else:
            yield from run


def numbers(place: str) -> int:
    """Count the numbers in a block's name."""
    return sum(part.isdigit() for part in place.split("."))


def operations(part: Piece, made: Sequence[Unit], graph: "Graph") -> list["Node"]:
    numbers = sorted(number for unit in part.members for number in made[unit].members)
    return [graph.nodes[number] for number in numbers]


def regular(run: Sequence[Piece], made: Sequence[Unit], step: int) -> bool:
    """Whether each piece's operations are those of the first, moved by a multiple of `step`."""
    first = [made[number].members for number in run[0].members]
    return all(
        [made[number].members for number in part.members]
        == [[member + k * step for member in members] for members in first]
        for k, part in enumerate(run)
    )
