"""Which operations of a network belong together, read from their names; a table of them.

A block is the part of a name up to a number: features.stage1.0.branch.conv1 belongs to stage1.0.
This loads no torch.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from residua.networks.graph import Graph, Node


def home(name: str, depth: int = 1) -> str:
    """Return the block that an operation belongs to: stem, stage1.0, head; or itself.

    With a `depth` of 2, blocks inside blocks: what the second number of the name ends.
    """
    parts = name.removeprefix("features.").split(".")
    numbers = [index for index, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbers[min(depth, len(numbers)) - 1] + 1 if numbers else 1])


def likeness(block: Sequence["Node"], depth: int = 1) -> tuple[Any, ...]:
    """Return what identical blocks of one stage share."""
    place = home(block[0].name, depth)
    stage = place.rpartition(".")[0] or place
    return stage, tuple(
        (node.name.partition(place)[2], node.operation, node.parameters, node.shape)
        for node in block
    )


def blocks(graph: "Graph") -> list[tuple["Node", ...]]:
    """Part the operations into blocks, in order."""
    return [tuple(block) for _, block in groupby(graph.nodes, key=lambda node: home(node.name))]


# The table.


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


def rows(graph: "Graph", fold: bool = True) -> list[Row]:
    """Return the table of a network: a row for each block, like neighbors in one row.

    Without `fold`, a row for each operation, named by its path.
    """
    if not fold:
        return [Row(node.name, 1, node.operation, *node[3:]) for node in graph.nodes]
    return [row([*like]) for _, like in groupby(blocks(graph), key=likeness)]


def row(blocks: Sequence[Sequence["Node"]]) -> Row:
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


def summary(block: Sequence["Node"]) -> str:
    """Say a block in a line: "1x1 64, 3x3 64, 1x1 256; shortcut 1x1 256"."""
    if len(block) == 1:
        return block[0].operation
    inside = {node.name: node for node in block}
    joins = [node for node in block if node.operation == "add" and len(node.inputs) == 2]
    if len(joins) != 1:
        return short(block)
    shortcut, branch = sorted((walk_back(name, inside) for name in joins[0].inputs), key=len)
    return f"{short(branch)}; shortcut {short(shortcut) if shortcut else 'identity'}"


def walk_back(name: str, inside: Mapping[str, "Node"]) -> list["Node"]:
    """Return the chain of operations inside a block that ends at `name`, first one first."""
    chain: list[Node] = []
    while name in inside:
        chain.insert(0, inside[name])
        name = inside[name].inputs[0] if inside[name].inputs else ""
    return chain


def short(nodes: Sequence["Node"]) -> str:
    """Name the operations that shape a block; its norms and activations only if it has no other."""
    heavy = [node for node in nodes if re.match("convolution|linear|.*(pool|pad)", node.operation)]
    words = [node.operation.replace("convolution ", "").replace(",", "") for node in heavy or nodes]
    return ", ".join(words)
