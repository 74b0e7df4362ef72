"""y = relu(batch_norm(x) + residual) as one differentiable operation.

The plain modules pass over the tensors of a layer eleven times forward and back; the C++ passes of
norm_relu.cpp need five, and keep x alone where there is no residual (the ReLU's mask is computed
again from it). Where they do not apply (no compiler, a GPU, another type or memory format) the same
functions are made of torch's own operators.

`stats` (4, c), float32, is what a forward pass leaves for the others: mean, 1 / standard deviation,
scale and shift, with y = relu(x scale + shift + residual).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from residua.rewrites.native import Library, library

LAST = torch.channels_last
EVERYWHERE, FROM_X, FROM_Y = range(3)  # where ReLU let values through: enum Mask in norm_relu.cpp


class Gradients(NamedTuple):
    """What a backward pass returns; the residual's is None where there is no residual."""

    x: Tensor
    residual: Tensor | None
    weight: Tensor
    bias: Tensor


def norm_relu(
    norm: nn.BatchNorm2d, x: Tensor, residual: Tensor | None = None, relu: bool = True
) -> Tensor:
    """relu(norm(x) + residual), the running statistics updated as `norm` does.

    Args:
        norm: in training or evaluation mode.
        x: (b, c, h, w).
        residual: of the same shape, or None.
        relu: whether a ReLU follows.
    """
    if not (norm.training and understood(norm) and native(x, norm.weight)):
        y = norm(x) if residual is None else norm(x) + residual
        return F.relu(y) if relu else y
    return NormReLU.apply(norm, relu, x, residual, norm.weight, norm.bias)  # type: ignore[no-untyped-call]


def understood(norm: nn.BatchNorm2d) -> bool:
    """Whether a norm has all that batch normalization may have."""
    return norm.affine and norm.track_running_stats


def native(x: Tensor, numbers: Tensor) -> Library | None:
    """The C++ functions if they apply to `x`, with `numbers` for each channel."""
    if (
        numbers.dtype is not torch.float32
        or x.device.type != "cpu"
        or x.dtype not in (torch.bfloat16, torch.float32)
        or x.dim() != 4
    ):
        return None
    if not x.is_contiguous(memory_format=LAST) or x.numel() <= x.shape[1]:
        return None  # torch refuses a single value per channel, and says so
    return library()[0]


class NormReLU(torch.autograd.Function):
    """The operation; what it keeps is x, and y where a residual hides the ReLU's mask."""

    @staticmethod
    def forward(
        ctx: Any,
        norm: nn.BatchNorm2d,
        relu: bool,
        x: Tensor,
        residual: Tensor | None,
        weight: Tensor,
        bias: Tensor,
    ) -> Tensor:
        y, stats = forward(norm, x, residual, relu)
        ctx.relu, ctx.residual = relu, residual is not None
        ctx.save_for_backward(x, y if relu and ctx.residual else None, stats, weight, bias)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, y, stats, _, _ = ctx.saved_tensors
        found = backward(stats, (dy, None), x, y, ctx.relu)
        residual = (found.residual if ctx.relu else dy) if ctx.residual else None
        return None, None, found.x, residual, found.weight, found.bias


def forward(
    norm: nn.BatchNorm2d, x: Tensor, residual: Tensor | None, relu: bool
) -> tuple[Tensor, Tensor]:
    """Return y and stats, and update the running statistics once."""
    momentum = count(norm)
    if residual is not None:
        residual = residual.to(x.dtype).expand_as(x)
    functions = native(x, norm.weight)
    if functions is None:
        return plain_forward(norm, x, residual, relu, momentum)
    if residual is not None:
        residual = residual.contiguous(memory_format=LAST)
    y, stats = torch.empty_like(x), x.new_empty((4, x.shape[1]), dtype=torch.float32)
    assert norm.running_mean is not None and norm.running_var is not None
    functions.forward(
        *shape(x),
        relu,
        x.data_ptr(),
        None if residual is None else residual.data_ptr(),
        y.data_ptr(),
        stats.data_ptr(),
        norm.weight.data_ptr(),
        norm.bias.data_ptr(),
        norm.eps,
        norm.running_mean.data_ptr(),
        norm.running_var.data_ptr(),
        momentum,
    )
    return y, stats


def again(stats: Tensor, x: Tensor, relu: bool = True) -> Tensor:
    """Rebuild y = relu(x scale + shift) from what a forward pass left."""
    functions = native(x, stats)
    if functions is None:
        _, _, scale, shift = stats
        mean, variance = torch.zeros_like(scale), torch.ones_like(scale)
        # Torch 2.11's functional form refuses an epsilon of zero.
        y = torch.batch_norm(x, scale, shift, mean, variance, False, 0.0, 0.0, False)
        return y.relu_() if relu else y
    y = torch.empty_like(x)
    functions.again(*shape(x), relu, x.data_ptr(), None, y.data_ptr(), stats.data_ptr())
    return y


def backward(
    stats: Tensor,
    dy: tuple[Tensor, Tensor | None],
    x: Tensor,
    y: Tensor | None,
    relu: bool,
    overwrite: bool = False,
) -> Gradients:
    """The gradients for those of y.

    Args:
        stats: of the forward pass.
        dy: one or two tensors, whose sum is the gradient of y; two only where y is given.
        x: the norm's input.
        y: the result, where a residual was added before a ReLU.
        relu: whether a ReLU followed.
        overwrite: the first of `dy` may be lost, and hold the gradient of x.
    """
    first = dy[0].to(x.dtype).contiguous(memory_format=LAST)
    functions = native(x, stats)
    if functions is None:
        return plain_backward(stats, dy, x, y, relu)
    second = None if dy[1] is None else dy[1].to(x.dtype).contiguous(memory_format=LAST)
    dx = first if overwrite else torch.empty_like(x)
    residual = None if y is None else torch.empty_like(x)
    d_norm = torch.empty_like(stats[:2])
    functions.backward(
        *shape(x),
        FROM_Y if y is not None else FROM_X if relu else EVERYWHERE,
        first.data_ptr(),
        None if second is None else second.data_ptr(),
        x.data_ptr(),
        None if y is None else y.data_ptr(),
        stats.data_ptr(),
        dx.data_ptr(),
        None if residual is None else residual.data_ptr(),
        d_norm.data_ptr(),
    )
    return Gradients(dx, residual, *d_norm.unbind())


def shape(x: Tensor) -> tuple[bool, int, int, int]:
    """What the C++ functions take first: type, rows, channels and threads."""
    c = x.shape[1]
    return x.dtype is torch.bfloat16, x.numel() // c, c, torch.get_num_threads()


def count(norm: nn.BatchNorm2d) -> float:
    """Count a batch and return the share that it has in the running statistics."""
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    if norm.momentum is not None:
        return norm.momentum
    assert norm.num_batches_tracked is not None  # all batches weigh the same
    return 1 / float(norm.num_batches_tracked)


def plain_forward(
    norm: nn.BatchNorm2d, x: Tensor, residual: Tensor | None, relu: bool, momentum: float
) -> tuple[Tensor, Tensor]:
    y, mean, inverse = torch.native_batch_norm(
        x, norm.weight, norm.bias, norm.running_mean, norm.running_var, True, momentum, norm.eps
    )
    if residual is not None:
        y.add_(residual)
    scale = norm.weight * inverse
    stats = torch.stack([mean, inverse, scale, norm.bias - mean * scale])
    return y.relu_() if relu else y, stats


def plain_backward(
    stats: Tensor, dy: tuple[Tensor, Tensor | None], x: Tensor, y: Tensor | None, relu: bool
) -> Gradients:
    mean, inverse, scale, _ = stats
    g = dy[0] if dy[1] is None else dy[0] + dy[1]
    if y is not None:
        g = torch.where(y > 0, g, 0)
    elif relu:
        g = torch.where(again(stats, x, relu=False) > 0, g, 0)
    found = torch.ops.aten.native_batch_norm_backward(
        g.to(x.dtype), x, scale / inverse, None, None, mean, inverse, True, 0.0, [True] * 3
    )
    return Gradients(found[0], None if y is None else g, found[1], found[2])
