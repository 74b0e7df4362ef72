"""A convolution, the sum behind it and the ReLU as one operator of oneDNN, for inference.

y = relu(W x + b + z) passes memory once instead of three times, and W lies in memory in the order
in which the processor's vector or matrix unit takes it, so that no call has to rearrange it. These
are the operators that torch's own compiler uses; here no compiler is needed.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.backends import mkldnn

from residua.networks.network import Network
from residua.networks.residual import Residual

OPERATORS = ("_convolution_pointwise", "_convolution_pointwise_", "_reorder_convolution_weight")


class Packed(nn.Module):
    """W x + b and, if so asked, the ReLU behind it."""

    def __init__(self, conv: nn.Conv2d, relu: bool = False) -> None:
        super().__init__()
        self.conv, self.relu = conv, relu
        self.places = (
            *(
                [int(step) for step in steps]
                for steps in (conv.padding, conv.stride, conv.dilation)
            ),
            conv.groups,
        )
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(
            conv.weight.detach(), *self.places
        )

    def forward(self, x: Tensor) -> Tensor:  # (b, c, h, w) -> (b, d, p, q)
        kind = "relu" if self.relu else "none"
        return torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, self.conv.bias, *self.places, kind, [], None
        )

    def onto(self, z: Tensor, x: Tensor, relu: bool) -> Tensor:
        """W x + b + z or its ReLU, written over z (b, d, p, q)."""
        kind = "relu" if relu else None
        return torch.ops.mkldnn._convolution_pointwise_.binary(
            z, x, self.weight, self.conv.bias, *self.places, "add", 1.0, kind, [], None
        )


class PackedResidual(nn.Module):
    """y = relu(W F(x) + b + h(x)), or without the ReLU, the sum written over h(x).

    Args:
        block: a residual block, of which the parts are packed.
        own: nothing else needs x, so that an identity may be written over.
    """

    def __init__(self, block: Residual, own: bool) -> None:
        super().__init__()
        *first, last = block.branch.children()
        assert isinstance(last, Packed)
        self.before, self.branch, self.last = block.before, nn.Sequential(*first), last
        self.shortcut, self.relu = block.shortcut, isinstance(block.after, nn.ReLU)
        self.copies = not own and passes(block.shortcut) and passes(block.before)

    def forward(self, x: Tensor) -> Tensor:  # (b, c, h, w) -> (b, d, p, q)
        x = self.before(x)
        inner, z = self.branch(x), self.shortcut(x)
        return self.last.onto(z.clone() if self.copies else z, inner, self.relu)


def possible() -> bool:
    """Whether this build of torch has the operators."""
    return mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in OPERATORS)


def pack(view: Network) -> Network:
    """Pack the convolutions of a folded view on the processor, in place."""
    for name, stage in view.features.named_children():
        view.features._modules[name] = packed(stage)
    return view.eval()


def packed(module: nn.Module, own: bool = False) -> nn.Module:
    """A module with its convolutions packed; `own` as in PackedResidual."""
    if type(module) is nn.Sequential:
        return nn.Sequential(*joined(module))
    for name, child in module.named_children():
        module._modules[name] = packed(child)
    if isinstance(module, nn.Conv2d) and packable(module):
        return Packed(module)
    if isinstance(module, Residual) and summed(module):
        return PackedResidual(module, own)
    return module


def joined(layers: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """Yield the layers of a Sequential and of those in it, each ReLU with its convolution."""
    waiting: nn.Module | None = None
    for layer in flat(layers):
        if isinstance(waiting, Packed) and isinstance(layer, nn.ReLU):
            waiting.relu = True
            yield waiting
            waiting = None
            continue
        if waiting is not None:
            yield waiting
        waiting = packed(layer, own=isinstance(waiting, PackedResidual))
    if waiting is not None:
        yield waiting


def flat(layers: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """Yield the layers of a Sequential, those of the ones inside it in turn."""
    for layer in layers:
        if type(layer) is nn.Sequential:
            yield from flat(layer)
        else:
            yield layer


def packable(conv: nn.Conv2d) -> bool:
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


def passes(module: nn.Module) -> bool:
    """Whether a module gives its input on, not a new tensor."""
    return isinstance(module, nn.Identity) or (
        type(module) is nn.Sequential and all(map(passes, module))
    )


def summed(block: Residual) -> bool:
    """Whether a block ends in a packed convolution, the sum, and a ReLU or nothing."""
    parts = list(block.branch.children())
    ends = bool(parts) and isinstance(parts[-1], Packed) and not parts[-1].relu
    return ends and isinstance(block.after, nn.ReLU | nn.Identity)
