"""Which operations of a network belong together, read from their names; a table of them.

A block is the part of a name up to a number or a letter: features.stage1.0.branch.conv1 belongs to
stage1.0, features.stage3.a.one.conv to stage3.a.
This loads no torch.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from residua.networks.graph import Graph, Node


def home(name: str, depth: int = 1) -> str:
    """Return the block that an operation belongs to: stem, stage1.0, head; or itself.

    With a `depth` of 2, blocks inside blocks: what the second number or letter ends.
    """
    parts = name.removeprefix("features.").split(".")
    numbers = [index for index, part in enumerate(parts) if re.fullmatch(r"\d+|[a-z]", part)]
    return ".".join(parts[: numbers[min(depth, len(numbers)) - 1] + 1 if numbers else 1])


def likeness(block: Sequence["Node"], depth: int = 1) -> tuple[Any, ...]:
    """Return what identical blocks of one stage share."""
    place = home(block[0].name, depth)
    stage, _, index = place.rpartition(".")
    return stage if index.isdigit() else place, tuple(
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
    stage, _, index = first.rpartition(".")
    numbered = len(blocks[0]) > 1 and index.isdigit()
    lettered = len(blocks[0]) > 1 and index.isalpha() and len(index) == 1
    name = f"{stage} {index}" if lettered else first
    if numbered:
        name = f"{stage} block {int(index) + 1}".strip()
    if len(blocks) > 1:
        end = last.rpartition(".")[2]
        name = (
            f"{name.replace('block ', 'blocks ')}-{int(end) + 1}" if numbered else f"{name}-{end}"
        )
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
    joins = [node for node in block if node.operation in ("add", "cat") and len(node.inputs) > 1]
    if len(joins) != 1:
        return short(block)
    parts = [behind(name, block) for name in joins[0].inputs]
    if joins[0].operation == "cat":
        return " | ".join(short(part) if part else "identity" for part in parts)
    shared = [node for node in parts[0] if node in parts[1]]
    if shared and all(part[-1].operation == "mul" for part in parts):  # t F(x) + (1 - t) h(x)
        branch, shortcut = ([node for node in part if node not in shared] for part in parts)
        carried = short([node for node in shortcut if node.operation not in ("1 - x", "mul")])
        return f"{short(branch)}; gate {short(shared)}; shortcut {carried or 'identity'}"
    shortcut, branch = sorted(parts, key=len)
    gated = "gated by " if any(node.operation == "1 - x" for node in shortcut) else ""
    return f"{short(branch)}; shortcut {gated}{short(shortcut) if shortcut else 'identity'}"


def behind(name: str, block: Sequence["Node"]) -> list["Node"]:
    """Return the operations inside a block on which `name` depends, itself included, in order."""
    wanted = {name}
    found: list[Node] = []
    for node in reversed(block):
        if node.name in wanted:
            wanted.update(node.inputs)
            found.insert(0, node)
    return found


# Modules that a line names in a word: a part of their operations' names.
WHOLE = {"blur": "blur/2", "attention": "squeeze-excitation"}


def short(nodes: Sequence["Node"]) -> str:
    """Name the operations that shape a block; its norms and activations only if it has no other."""
    heavy = [node for node in nodes if re.match("convolution|linear|.*(pool|pad)", node.operation)]
    named = [(whole(node.name), node) for node in heavy or nodes]
    words = [
        WHOLE[part] if part else ", ".join(plain(node) for _, node in run)
        for part, run in groupby(named, key=lambda pair: pair[0])
    ]
    return ", ".join(words)


def whole(name: str) -> str:
    """Return the key of WHOLE that an operation's name has in it, if it has one."""
    return next((part for part in WHOLE if part in name.split(".")), "")


def plain(node: "Node") -> str:
    return node.operation.replace("convolution ", "").replace(",", "")
