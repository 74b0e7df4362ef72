"""A view of a network for training: norms, additions and ReLUs fused, blocks that keep less.

The view shares every parameter, buffer and leaf module with its network, and has the same names. It
replaces two kinds of containers:

    Line    a Sequential: a norm and the ReLU behind it become one operation, and blocks in a row
            hand each other their result twice (see chain.py)
    Block   a residual or plain block of convolutions, each with a norm, in one operation

In evaluation mode both do what the network does. Forward hooks on the modules that are fused do not
run; hook the network, and run that.
"""

import copy
from typing import NamedTuple, TypeVar

from torch import Tensor, nn

from residua.errors import Refused
from residua.networks.residual import Residual
from residua.networks.shortcuts import ZeroPad
from residua.rewrites import chain as chains
from residua.rewrites.chain import KEEPS, Chain, Layer
from residua.rewrites.norm_relu import native, norm_relu, understood
from residua.rewrites.padding import padded

Module = TypeVar("Module", bound=nn.Module)


class Block(nn.Module):
    """y = relu(F(h) + shortcut(h)), or relu(F(h)) without a shortcut, as one operation."""

    def __init__(self, parts: dict[str, nn.Module], chain: Chain) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.chain = chain

    def forward(self, h: Tensor) -> Tensor:  # (b, c, h, w) -> (b, d, p, q)
        return self.twice(h, h)[0]

    def twice(self, h: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
        """Run on `h`, with the shortcut of `same`, which has the same values."""
        shortcut = self.carried(same)
        norms = [layer.norm for layer in self.chain.layers]
        quick = self.chain.keep != "all" or native(h, norms[0].weight) is not None
        if quick and all(norm.training for norm in norms):
            return chains.run(self.chain, h, shortcut)
        y = self.get_submodule("branch")(h)
        y = self.get_submodule("after")(y if shortcut is None else y + shortcut)
        return y, y

    def carried(self, h: Tensor) -> Tensor | None:
        """What the shortcut makes of h, if there is one."""
        shortcut = self._modules.get("shortcut")
        if type(shortcut) is ZeroPad:
            return padded(shortcut, h)
        return None if shortcut is None else shortcut(h)


class Pair(NamedTuple):
    """A norm, and whether a ReLU follows it."""

    norm: nn.BatchNorm2d
    relu: bool


class Line(nn.Sequential):
    """A Sequential that runs by `steps` what its children are."""

    def __init__(self, children: dict[str, nn.Module]) -> None:
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)
        self.steps = tuple(steps(list(children.values())))

    def forward(self, x: Tensor) -> Tensor:
        same = x  # the same values, apart only where their gradients come back
        for step in self.steps:
            match step:
                case Block():
                    x, same = step.twice(x, same)
                case Pair(norm, relu):
                    x = same = norm_relu(norm, x, relu=relu)
                case _:
                    x = same = step(x)
        return x


def steps(children: list[nn.Module]) -> list[nn.Module | Pair]:
    """Pair each norm with the ReLU behind it."""
    found: list[nn.Module | Pair] = []
    for child in children:
        match child, found[-1] if found else None:
            case nn.ReLU(), Pair(norm, False) if type(child) is nn.ReLU:
                found[-1] = Pair(norm, True)
            case nn.BatchNorm2d(), _ if type(child) is nn.BatchNorm2d and understood(child):
                found.append(Pair(child, False))
            case _:
                found.append(child)
    return found


def fused(network: Module, keep: str = "all") -> Module:
    """Return a view of `network` for training that computes the same in fewer passes.

    Args:
        network: what it shares its parameters, buffers and training mode with.
        keep: what each block keeps for its backward pass: all; lean, two thirds to half of it, for
            one more convolution forward; or input, a quarter of it, for one more forward pass.

    Raises:
        Refused: no such `keep`.
    """
    if keep not in KEEPS:
        raise Refused(f'a block cannot keep "{keep}"', fix=f"choose among {', '.join(KEEPS)}")
    return view(network, keep)  # type: ignore[return-value]


def view(module: nn.Module, keep: str) -> nn.Module:
    """Rewrite a module and what is inside it, or return the module itself where nothing changes."""
    chain = understand(module, keep)
    children = dict(module.named_children())
    if chain is not None:
        if "shortcut" in children:
            children["shortcut"] = view(children["shortcut"], keep)
        return Block(children, chain)
    rewritten = {name: view(child, keep) for name, child in children.items()}
    if type(module) is nn.Sequential and lines_up(rewritten):
        return Line(rewritten)
    if all(rewritten[name] is child for name, child in children.items()):
        return module
    other = copy.copy(module)
    other._modules = {**module._modules, **rewritten}
    return other


def lines_up(children: dict[str, nn.Module]) -> bool:
    """Whether a Sequential of these children has anything to fuse."""
    return any(isinstance(step, Block | Pair) for step in steps(list(children.values())))


def understand(block: nn.Module, keep: str) -> Chain | None:
    """The chain that a residual or plain block is, if it is no more than that."""
    children = dict(block.named_children())
    if type(block) is Residual:
        if type(children["before"]) is not nn.Identity:
            return None
    elif type(block) is not nn.Sequential or list(children) != ["branch", "after"]:
        return None
    if type(children["after"]) is not nn.ReLU or type(children["branch"]) is not nn.Sequential:
        return None
    layers = list(children["branch"])
    kinds = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU)
    if not layers or len(layers) % 3 != 2:
        return None
    if any(type(layer) is not kinds[index % 3] for index, layer in enumerate(layers)):
        return None
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    norms = [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)]
    pairs = tuple(Layer(*pair) for pair in zip(convolutions, norms, strict=True))
    return Chain(pairs, keep) if all(plain(pair) for pair in pairs) else None


def plain(layer: Layer) -> bool:
    """Whether convolution and norm have nothing out of the ordinary."""
    conv = layer.convolution
    zeros = conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
    return zeros and understood(layer.norm)
