"""A network as nodes and edges, and as a table that fits a screen.

Network, traced operations, a Node for each, a Row for each run of like blocks: one way.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from torch import Tensor, fx, nn

from residua.errors import Refused
from residua.networks.network import Network
from residua.networks.operations import Node, describe
from residua.networks.tracing import Call, run, trace

__all__ = ["Graph", "Node", "Row", "graph", "rows"]


class Graph(NamedTuple):
    """The operations in order of execution, and which result goes where."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str], ...]

    @property
    def parameters(self) -> int:
        return sum(node.parameters for node in self.nodes)

    @property
    def multiply_adds(self) -> int:
        return sum(node.multiply_adds for node in self.nodes)


@dataclass(frozen=True)
class Row:
    """A line of the table: one operation, or `count` like blocks with what they cost together."""

    name: str
    count: int
    operation: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    receptive_field: int | None  # after the last of them
    stride: int | None


def graph(network: nn.Module, shape: tuple[int, int, int]) -> Graph:
    """Take a network apart, for images of `shape`, (channels, height, width).

    The first node is named "input". Identities are left out: they pass their input on.

    Raises:
        Refused: the network cannot be traced, or cannot take such images; the message says where.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise Refused(
            "an image has channels, height and width, each at least 1", where=f"received {shape}"
        )
    root = network
    if isinstance(network, Network):  # its forward looks at shapes, which a trace does not have
        network.check((1, *shape))
        root = nn.Sequential(OrderedDict(features=network.features, head=network.head))
    made: dict[fx.Node, Node] = {}
    counted: set[int] = set()
    for call in run(root, trace(root), shape):
        sources = [made[item] for item in call.item.all_input_nodes if item in made]
        inputs = list(dict.fromkeys(sources))  # x + x is one edge
        if isinstance(call.value, Tensor) and not isinstance(call.module, nn.Identity):
            made[call.item] = describe(call, inputs, new_parameters(root, call, counted))
        elif inputs and holds_tensors(call.value):  # an identity, or a tuple that is unpacked later
            made[call.item] = inputs[0]
    nodes = tuple(dict.fromkeys(made.values()))
    return Graph(nodes, tuple((source, node.name) for node in nodes for source in node.inputs))


def new_parameters(root: nn.Module, call: Call, counted: set[int]) -> int:
    """Count the parameters that `call` is the first to use, and add them to `counted`."""
    own = call.module.parameters() if call.module is not None else ()
    if call.item.op == "get_attr":
        own = (value for name, value in root.named_parameters() if name == call.item.target)
    new = {id(value): value.numel() for value in own if id(value) not in counted}
    counted.update(new)
    return sum(new.values())


def holds_tensors(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return any(isinstance(part, Tensor) for part in value)
    return isinstance(value, Tensor)


# The table.


def rows(graph: Graph, fold: bool = True) -> list[Row]:
    """Return the table of a network: a row for each block, like neighbors in one row.

    Without `fold`, a row for each operation, named by its path.
    """
    if not fold:
        return [Row(node.name, 1, node.operation, *node[3:]) for node in graph.nodes]
    blocks = [tuple(block) for _, block in groupby(graph.nodes, key=lambda node: home(node.name))]
    return [row([*like]) for _, like in groupby(blocks, key=likeness)]


def home(name: str) -> str:
    """Return the block that an operation belongs to: stem, stage1.0, head; or itself."""
    parts = name.removeprefix("features.").split(".")
    numbers = [index for index, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbers[0] + 1 if numbers else 1])


def likeness(block: Sequence[Node]) -> tuple[Any, ...]:
    """Return what identical blocks of one stage share."""
    place = home(block[0].name)
    stage = place.rpartition(".")[0] or place
    return stage, tuple(
        (node.name.partition(place)[2], node.operation, node.parameters, node.shape)
        for node in block
    )


def row(blocks: Sequence[Sequence[Node]]) -> Row:
    """Fold like blocks into one row."""
    nodes = [node for block in blocks for node in block]
    first, last = home(nodes[0].name), home(nodes[-1].name)
    name = first
    if len(blocks[0]) > 1 and "." in first:
        stage, _, index = first.rpartition(".")
        name = f"{stage} block {int(index) + 1}"
    if len(blocks) > 1:
        stage, _, index = last.rpartition(".")
        name = f"{name.replace(' block ', ' blocks ')}-{int(index) + 1}"
    return Row(
        name,
        len(blocks),
        summary(blocks[0]),
        nodes[-1].shape,
        sum(node.parameters for node in nodes),
        sum(node.multiply_adds for node in nodes),
        nodes[-1].receptive_field,
        nodes[-1].stride,
    )


def summary(block: Sequence[Node]) -> str:
    """Say a block in a line: "1x1 64, 3x3 64, 1x1 256; shortcut 1x1 256"."""
    if len(block) == 1:
        return block[0].operation
    inside = {node.name: node for node in block}
    joins = [node for node in block if node.operation == "add" and len(node.inputs) == 2]
    if len(joins) != 1:
        return short(block)
    shortcut, branch = sorted((walk_back(name, inside) for name in joins[0].inputs), key=len)
    return f"{short(branch)}; shortcut {short(shortcut) if shortcut else 'identity'}"


def walk_back(name: str, inside: Mapping[str, Node]) -> list[Node]:
    """Return the chain of operations inside a block that ends at `name`, first one first."""
    chain: list[Node] = []
    while name in inside:
        chain.insert(0, inside[name])
        name = inside[name].inputs[0] if inside[name].inputs else ""
    return chain


def short(nodes: Sequence[Node]) -> str:
    """Name the operations that shape a block; its norms and activations only if it has no other."""
    heavy = [node for node in nodes if re.match("convolution|linear|.*(pool|pad)", node.operation)]
    words = [node.operation.replace("convolution ", "").replace(",", "") for node in heavy or nodes]
    return ", ".join(words)
