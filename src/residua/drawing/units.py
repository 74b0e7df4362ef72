"""From operations to what is drawn: a box for each layer, with what belongs to it inside.

A norm or an activation after a layer is drawn in the layer's box, one in front of a layer (as in
pre-activation) too, unless its result is also used elsewhere.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from residua.drawing.labels import INPUT, JOIN, LAYER, LIGHT, MOVE, POOL, is_flat, kind, label
from residua.networks.blocks import home

if TYPE_CHECKING:
    from residua.networks.graph import Graph
    from residua.networks.operations import Node


@dataclass
class Unit:
    """A box, a circle or an arc: some operations, of which one, the lead, gives it its name."""

    kind: str
    lead: "Node"
    members: list[int]  # where the operations are in the graph
    tail: int  # the last of them
    inputs: list[int] = field(default_factory=list)  # other units
    names: list[str] = field(default_factory=list)  # what stands in a box without weights


def units(graph: "Graph", whole: bool = True) -> list[Unit]:
    """Gather the operations of a graph, in order.

    Without `whole`, each operation is a unit of its own, constants excepted.
    """
    nodes = graph.nodes
    index = {node.name: number for number, node in enumerate(nodes)}
    used = Counter(source for node in nodes for source in node.inputs)
    sizes = Counter(home(node.name) for node in nodes)
    made: list[Unit] = []
    place: dict[int, int] = {}  # operation -> unit
    waiting: dict[int, list[int]] = {}  # constants, until someone uses them

    for number, node in enumerate(nodes):
        given = [index[name] for name in node.inputs]
        sources = [source for source in given if source in place]
        extra = [part for source in given for part in waiting.pop(source, [])]
        if not sources and node.operation != "input" and number:
            waiting[number] = [*extra, number]
            continue
        what = drawn(node, [nodes[source] for source in sources])
        only = made[place[sources[0]]] if len(sources) == 1 else None
        if only and whole and fits(only, node, nodes, used, sizes):
            if what == LIGHT and only.kind != INPUT:
                only.names.append(label(node))
            elif only.kind == LIGHT:
                only.kind, only.lead = what, node
            else:
                only = None
        else:
            only = None
        if only:
            only.members += [*extra, number]
            only.tail = number
            place[number] = place[sources[0]]
            continue
        inputs = list(dict.fromkeys(place[source] for source in sources))
        place[number] = len(made)
        made.append(Unit(what, node, [*extra, number], number, inputs, [label(node)]))
    return made


def drawn(node: "Node", sources: Sequence["Node"]) -> str:
    """Say how an operation is drawn; one that changes shapes is not light."""
    what = kind(node, len(sources))
    if what == LIGHT and sources and node.shape != sources[0].shape and not is_flat(node):
        return MOVE
    return what


def fits(
    unit: Unit, node: "Node", nodes: Sequence["Node"], used: Counter[str], sizes: Counter[str]
) -> bool:
    """Whether an operation may join the unit before it: nobody else uses that, and one block."""
    before = nodes[unit.tail]
    same = home(before.name) == home(node.name) or sizes[home(node.name)] == 1
    return before.name in node.inputs and used[before.name] == 1 and same


def depth(graph: "Graph", made: Sequence[Unit]) -> int:
    """Count the weighted layers on the longest way through, as papers do.

    Gates do not count: what a product spreads over a larger map.
    """
    longest: list[int] = []
    for unit in made:
        ways = [0]
        for source in unit.inputs:
            shape = graph.nodes[made[source].tail].shape
            if not (unit.lead.operation == "mul" and shape[1:] != unit.lead.shape[1:]):
                ways.append(longest[source])
        longest.append(max(ways) + (unit.kind == LAYER))
    used = {source for unit in made for source in unit.inputs}
    return max((n for number, n in enumerate(longest) if number not in used), default=0)


__all__ = ["INPUT", "JOIN", "LAYER", "LIGHT", "MOVE", "POOL", "Unit", "depth", "units"]
