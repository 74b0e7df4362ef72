"""Shortcut A (networks.shortcuts.ZeroPad) in channels_last memory, forward and back.

torch's own gradient of a strided slice comes in another memory format than that of the branch which
it is added to, and adding the two takes as long as a convolution.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from residua.networks.shortcuts import ZeroPad


def padded(shortcut: ZeroPad, x: Tensor) -> Tensor:
    """The shortcut of x (b, c, h, w), in channels_last memory."""
    return Padded.apply(x, shortcut.stride, shortcut.front, shortcut.behind)  # type: ignore[no-untyped-call]


class Padded(torch.autograd.Function):
    """Subsample, then pad with zero channels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: int, front: int, behind: int) -> Tensor:
        ctx.shape, ctx.stride, ctx.front = x.shape, stride, front
        y = zeros(x, (x.shape[1] + front + behind, *x.shape[2:]), stride)
        y[:, front : front + x.shape[1]] = x[:, :, ::stride, ::stride]
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None, None]:
        dx = zeros(dy, ctx.shape[1:])
        dx[:, :, :: ctx.stride, :: ctx.stride] = dy[:, ctx.front : ctx.front + ctx.shape[1]]
        return dx, None, None, None


def zeros(like: Tensor, shape: tuple[int, ...], stride: int = 1) -> Tensor:
    """Zeros (b, c, h / stride, w / stride), rounded up, in channels_last memory."""
    c, h, w = shape
    size = (len(like), -(-h // stride), -(-w // stride), c)
    return like.new_zeros(size).permute(0, 3, 1, 2)
