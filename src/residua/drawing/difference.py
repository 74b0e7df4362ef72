"""What differs between two networks: block by block, in words and numbers, and box by box."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import groupby
from typing import TYPE_CHECKING

from residua.drawing.columns import Column
from residua.networks.blocks import blocks, home, likeness, row

if TYPE_CHECKING:
    from residua.networks.graph import Graph, Node

    Block = tuple[Node, ...]


@dataclass(frozen=True)
class Difference:
    """Blocks that differ in the same way; None where a network does not have them."""

    name: str
    count: int
    left: str | None
    right: str | None
    parameters: int  # of all of them, right less left
    multiply_adds: int


def differences(left: "Graph", right: "Graph") -> list[Difference]:
    """Return the blocks that differ, like ones that follow each other together."""
    found = [(a, b) for a, b in aligned(blocks(left), blocks(right)) if not same(a, b)]

    def look(pair: "tuple[Block | None, Block | None]") -> tuple[object, ...]:
        return tuple(likeness(block) if block else None for block in pair)

    return [difference([*near]) for _, near in groupby(found, key=look)]


def aligned(
    left: "Sequence[Block]", right: "Sequence[Block]"
) -> "Iterator[tuple[Block | None, Block | None]]":
    """Pair blocks of the same name; what stands alone has None beside it."""
    names = [[home(block[0].name) for block in side] for side in (left, right)]
    matcher = SequenceMatcher(None, names[0], names[1], autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            yield from zip(left[a:b], right[c:d], strict=True)
        else:
            yield from ((block, None) for block in left[a:b])
            yield from ((None, block) for block in right[c:d])


def same(a: "Block | None", b: "Block | None") -> bool:
    return a is not None and b is not None and likeness(a) == likeness(b)


def difference(pairs: "Sequence[tuple[Block | None, Block | None]]") -> Difference:
    """Sum up pairs that differ in the same way."""
    left, right = ([block for block in side if block] for side in zip(*pairs, strict=True))
    rows = [row(side) if side else None for side in (left, right)]
    a, b = ((r.parameters, r.multiply_adds) if r else (0, 0) for r in rows)
    names = [r.name for r in rows if r]
    words = [r.operation if r else None for r in rows]
    return Difference(names[0], len(pairs), words[0], words[1], b[0] - a[0], b[1] - a[1])


def marked(left: Column, right: Column) -> tuple[Column, Column]:
    """Mark the units that differ: "changed", or "only" where the other network has none."""
    return marks(left, right), marks(right, left)


def marks(column: Column, other: Column) -> Column:
    theirs = {unit.lead.name: unit.lead for unit in other.units}
    found = {}
    for number, unit in enumerate(column.units):
        twin = theirs.get(unit.lead.name)
        if twin is None:
            found[number] = "only"
        elif numbers(twin) != numbers(unit.lead):
            found[number] = "changed"
    return replace(column, marks=found)


def numbers(node: "Node") -> tuple[object, ...]:
    """What two operations of the same name are compared by."""
    return node.operation, node.shape, node.parameters, node.multiply_adds
