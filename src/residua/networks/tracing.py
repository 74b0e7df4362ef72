"""Follow a network's forward and run its operations on tensors that have shapes and no data.

Nothing is computed, no activation is stored, and the network is left as it was: leaf modules are
copied without their weights before they run, and hooks of whoever watches the network stay silent.
"""

import copy
import inspect
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from residua.errors import Refused
from residua.networks.shortcuts import ZeroPad
from residua.networks.variants import StochasticDepth


class Call(NamedTuple):
    """An operation, what it received and what came out."""

    item: fx.Node
    name: str  # the path of its module, or the calling module's with the function's name
    module: nn.Module | None  # None: a function, a method, an attribute or the input
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    value: Any


class Tracer(fx.Tracer):
    """Follows forward down to torch's own modules, remembering where it is."""

    inside = ""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        ours = isinstance(m, ZeroPad | StochasticDepth)
        return ours or super().is_leaf_module(m, module_qualified_name)

    def call_module(
        self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        outer, self.inside = self.inside, self.path_of_module(m)
        result = super().call_module(m, m.forward, args, kwargs)  # m.forward: without hooks
        self.inside = outer
        return result


def trace(root: nn.Module) -> fx.Graph:
    """Return the operations of `root`, or raise Refused naming the module that hides them."""
    tracer = Tracer()
    arguments = inspect.signature(root.forward).parameters.values()
    usual = {each.name: each.default for each in arguments if each.default is not each.empty}
    try:
        return tracer.trace(root, concrete_args=usual)
    except Exception as error:  # a stranger's forward may raise anything
        module = root.get_submodule(tracer.inside)
        raise Refused(
            f"the network's operations cannot be followed: {first_line(error)}",
            where=f"{tracer.inside or 'the network'} ({type(module).__name__}.forward)",
            fix="keep branches and loops that depend on values or shapes out of forward",
        ) from error


def run(root: nn.Module, operations: fx.Graph, shape: tuple[int, ...]) -> Iterator[Call]:
    """Yield every operation, in order, for a batch of images of `shape`, (c, h, w).

    Raises:
        Refused: an operation cannot take what reaches it; the message names it.
    """
    # Two images: batch normalization without statistics refuses a single value per channel.
    images = torch.empty(2, *shape, device="meta")
    values: dict[fx.Node, Any] = {}
    known: dict[Any, Any] = {}
    times: Counter[str] = Counter()
    for item in operations.nodes:
        if item.op == "output":
            continue
        name = path(item) if values else "input"
        times[name] += 1
        name += f":{times[name]}" if times[name] > 1 else ""
        module = root.get_submodule(str(item.target)) if item.op == "call_module" else None
        args: Any = fx.node.map_arg(item.args, values.__getitem__)
        kwargs: Any = fx.node.map_arg(item.kwargs, values.__getitem__)
        call = Call(item, name, module, args, kwargs, images)
        if values:
            call = call._replace(value=remembered(root, call, known))
        values[item] = call.value
        yield call


def path(item: fx.Node) -> str:
    """Return the module's path, or the calling module's with the function's name."""
    if item.op not in ("call_function", "call_method"):
        return str(item.target)
    owner = next(reversed(item.meta.get("nn_module_stack") or {"": None}))
    return f"{owner}.{function_name(item)}".removeprefix(".")


def function_name(item: fx.Node) -> str:
    """Return the plain name of a function or method: add for `+`, `+=` and `add_`."""
    name = item.target if isinstance(item.target, str) else item.target.__name__
    return {"iadd": "add", "imul": "mul", "isub": "sub"}.get(name, name.strip("_"))


def remembered(root: nn.Module, call: Call, known: dict[Any, Any]) -> Any:
    """Run an operation, but a layer of torch's own only once for each setting and input shape.

    A network of a thousand layers has a dozen of them.
    """
    tensors = not call.kwargs and all(isinstance(arg, Tensor) for arg in call.args)
    if not tensors or not type(call.module).__module__.startswith("torch.nn."):
        return result(root, call)
    key = (repr(call.module), *(arg.shape for arg in call.args))
    if key not in known:
        known[key] = result(root, call)
    return known[key]


def result(root: nn.Module, call: Call) -> Any:
    """Run one operation without data."""
    target: Any = call.item.target
    try:
        with torch.no_grad(), torch.device("meta"):
            if call.module is not None:
                return without_data(call.module).forward(*call.args, **call.kwargs)
            if call.item.op == "get_attr":
                return attribute(root, target)
            if call.item.op == "call_method":
                return getattr(call.args[0], target)(*call.args[1:], **call.kwargs)
            if call.item.op == "placeholder":  # a further argument of forward: its default
                return call.args[0]
            return target(*call.args, **call.kwargs)
    except Exception as error:  # a stranger's module may raise anything
        shapes = [list(arg.shape[1:]) for arg in call.args if isinstance(arg, Tensor)]
        raise Refused(
            f"{call.name} cannot take its input: {first_line(error)}",
            where=f"received {' and '.join(map(str, shapes)) or 'no image'}",
        ) from error


def without_data(module: nn.Module) -> Any:
    """Copy a module, in evaluation, with empty tensors in place of its weights and statistics."""
    tensors = [*module.parameters(), *module.buffers()]
    empty = {id(tensor): tensor.detach().to("meta") for tensor in tensors}
    return copy.deepcopy(module, empty).eval()


def attribute(root: nn.Module, target: str) -> Any:
    """Return, without data, what forward reads as `self.a.b`."""
    owner, _, name = target.rpartition(".")
    value = getattr(root.get_submodule(owner), name)
    return value.detach().to("meta") if isinstance(value, Tensor) else value


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
