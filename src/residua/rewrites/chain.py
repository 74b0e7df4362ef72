"""A residual block as one differentiable operation that chooses what it keeps.

    x1 = conv1(h)    y1 = relu(norm1(x1))    x2 = conv2(y1)    ...    y = relu(normn(xn) + shortcut)

The backward pass needs every convolution's input and every norm's. It can rebuild them: y_i from
x_i position by position, with the statistics of the forward pass, and x_i from y_(i-1) by running a
convolution again (Chen et al. 2016, arXiv:1604.06174).

    all         keeps h, every x_i and y_i          rebuilds nothing
    lean        keeps h and every x_i but the last  one convolution, and every y_i
    input       keeps h                             everything

The result y is the next block's h, so that keeping it costs nothing. It comes out twice, for the
next block's branch and for its shortcut, so that their gradients come back apart: the norm's
backward pass adds them as it reads them, where adding them up first would take a pass of its own.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from residua.rewrites import norm_relu
from residua.rewrites.weight_gradient import suits, weight_gradient

KEEPS = ("all", "lean", "input")  # the fastest first, the smallest last


class Layer(NamedTuple):
    """A convolution and the norm that follows it."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d


class Chain(NamedTuple):
    """The layers of a block, each followed by a ReLU, and what it keeps (a word of KEEPS)."""

    layers: tuple[Layer, ...]
    keep: str


def run(chain: Chain, h: Tensor, shortcut: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return y = relu(chain(h) + shortcut), twice: for a branch and for a shortcut."""
    return Run.apply(chain, compute_dtype(h), h, shortcut, *parameters(chain))  # type: ignore[no-untyped-call]


def compute_dtype(h: Tensor) -> torch.dtype:
    """The type that convolutions of `h` compute in, here and now."""
    kind = h.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else h.dtype


def parameters(chain: Chain) -> Iterator[Tensor | None]:
    """Yield four of each layer: the convolution's weight and bias, the norm's weight and bias."""
    for conv, norm in chain.layers:
        yield from (conv.weight, conv.bias, norm.weight, norm.bias)


class Run(torch.autograd.Function):
    """The operation."""

    @staticmethod
    def forward(
        ctx: Any,
        chain: Chain,
        dtype: torch.dtype,
        h: Tensor,
        shortcut: Tensor | None,
        *weights: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        h = y = h.to(dtype)
        last = len(chain.layers) - 1
        xs, ys, stats = [], [], []
        for index, (conv, norm) in enumerate(chain.layers):
            x = convolve(conv, y)
            y, found = norm_relu.forward(norm, x, shortcut if index == last else None, True)
            stats.append(found)
            if chain.keep == "all" or (chain.keep == "lean" and index < last):
                xs.append(x)
            if chain.keep == "all" and index < last:
                ys.append(y)
        ctx.chain, ctx.counts = chain, (len(xs), len(ys))
        ctx.has_shortcut = shortcut is not None
        hidden = y if shortcut is not None else None  # without, the mask comes from x
        ctx.save_for_backward(h, hidden, *stats, *weights, *xs, *ys)
        return y, y.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *dy: Tensor | None) -> tuple[Tensor | None, ...]:
        h, y, *rest = ctx.saved_tensors
        chain, count = ctx.chain, len(ctx.chain.layers)
        kept = iter(rest[5 * count :])
        xs = [next(kept) for _ in range(ctx.counts[0])]
        inside = Inside(chain, rest[:count], [h, *kept], xs)
        with torch.autocast(h.device.type, enabled=False):
            return None, None, *gradients(inside, y, dy, ctx.needs_input_grad[2:])


class Inside:
    """The tensors inside a block: those that were kept, and those that are rebuilt when asked."""

    def __init__(
        self, chain: Chain, stats: list[Tensor], inputs: list[Tensor], xs: list[Tensor]
    ) -> None:
        self.chain, self.stats = chain, stats
        self.inputs = dict(enumerate(inputs))  # of the convolutions: h, y1, y2, ...
        self.xs = dict(enumerate(xs))  # of the norms

    def input(self, index: int) -> Tensor:
        """What convolution `index` saw."""
        if index not in self.inputs:
            self.inputs[index] = norm_relu.again(self.stats[index - 1], self.x(index - 1))
        return self.inputs[index]

    def x(self, index: int) -> Tensor:
        """What norm `index` saw."""
        if index not in self.xs:
            conv = self.chain.layers[index].convolution
            self.xs[index] = convolve(conv, self.input(index))
        return self.xs[index]


def gradients(
    inside: Inside, y: Tensor | None, dy: tuple[Tensor | None, ...], needed: tuple[bool, ...]
) -> list[Tensor | None]:
    """The gradients for h, the shortcut and the weights, as `run` takes them."""
    first, second = dy if dy[0] is not None else (dy[1], None)
    if first is None:
        return [None] * len(needed)
    if y is None and second is not None:
        first, second = first + second, None
    shortcut: Tensor | None = None
    weights: list[Tensor | None] = []
    g: Tensor | None = first
    for index in reversed(range(len(inside.chain.layers))):
        conv, norm = inside.chain.layers[index]
        assert g is not None  # of every convolution but the first the input's is wanted
        own = index < len(inside.chain.layers) - 1  # g is ours, and may be written over
        after = norm_relu.backward(
            inside.stats[index], (g, second), inside.x(index), y, relu=True, overwrite=own
        )
        if y is not None:
            shortcut = after.residual
        y = second = None
        del inside.xs[index]
        h = inside.input(index)
        wanted = [index > 0 or needed[0], True, conv.bias is not None]
        found = back(conv, after.x, h, wanted)
        del inside.inputs[index]
        own_weight = found[1]
        assert own_weight is not None
        weights[:0] = [own_weight.to(conv.weight.dtype), found[2], after.weight, after.bias]
        g = found[0]
    return [g, shortcut, *weights]


def convolve(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """The convolution in the type of x."""
    bias = None if conv.bias is None else conv.bias.to(x.dtype)
    return torch.conv2d(
        x,
        conv.weight.to(x.dtype),
        bias,
        conv.stride,
        conv.padding,
        conv.dilation,
        conv.groups,
    )


def back(conv: nn.Conv2d, dx: Tensor, h: Tensor, wanted: list[bool]) -> list[Tensor | None]:
    """The gradients of a convolution's input, weight and bias, those that are wanted."""
    if suits(conv, h) and conv.bias is None:
        own = weight_gradient(dx, h)
        inputs = [wanted[0], False, False]
        return [native_back(conv, dx, h, inputs)[0] if wanted[0] else None, own, None]
    return native_back(conv, dx, h, wanted)


def native_back(conv: nn.Conv2d, dx: Tensor, h: Tensor, wanted: list[bool]) -> list[Tensor | None]:
    """The same, by torch."""
    return torch.ops.aten.convolution_backward(
        dx,
        h,
        conv.weight.to(h.dtype),
        None if conv.bias is None else list(conv.bias.shape),
        conv.stride,
        conv.padding,
        conv.dilation,
        False,
        [0, 0],
        conv.groups,
        wanted,
    )
