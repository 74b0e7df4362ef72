"""A network as nodes and edges.

Network, traced operations, a Node for each, a Row for each run of like blocks: one way.
"""

from collections import OrderedDict
from typing import Any, NamedTuple

from torch import Tensor, fx, nn

from residua.errors import Refused
from residua.networks.blocks import Row, rows
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
        if isinstance(call.value, Tensor) and not changes_nothing(call):
            made[call.item] = describe(call, inputs, new_parameters(root, call, counted))
        elif inputs and holds_tensors(call.value):  # an identity, or a tuple that is unpacked later
            made[call.item] = inputs[0]
    nodes = tuple(dict.fromkeys(made.values()))
    return Graph(nodes, tuple((source, node.name) for node in nodes for source in node.inputs))


def changes_nothing(call: Call) -> bool:
    """Whether an operation passes its input on: an identity, a pool to the size that there is."""
    if isinstance(call.module, nn.AdaptiveAvgPool2d):
        return bool(call.value.shape == call.args[0].shape)
    return isinstance(call.module, nn.Identity)


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
