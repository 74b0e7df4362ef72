"""Shortcuts: h(x) in y = f(F(x) + h(x)), and the gates that weigh it against the branch.

    A, B, C                 He et al. 2016a, section 3.3                arXiv:1512.03385
    D                       He et al. 2018, figure 2c                   arXiv:1812.01187
    scaled, gated, dropout  He et al. 2016b, section 3 and table 1      arXiv:1603.05027

Where shapes agree, A and B are the identity, and scaled, gated and dropout alter it; where shapes
change, those three are A, as 2016b alters identities only. 2016b's 1x1 convolution is C.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from residua.networks.network import named

Shortcut = Callable[[int, int, int], nn.Module]  # (channels in, channels out, stride) -> module


class ZeroPad(nn.Module):
    """Shortcut A: subsample, then pad with zero channels (2016a, section 3.3). It learns nothing.

    The paper does not say where the zeros go. Half go in front and half behind, as in the CIFAR
    weights that others have published; renumbering channels turns one choice into the other.
    """

    def __init__(self, extra: int, stride: int) -> None:
        super().__init__()
        self.front, self.behind, self.stride = extra // 2, extra - extra // 2, stride

    def forward(self, x: Tensor) -> Tensor:  # (b, c, h, w) -> (b, d, p, q)
        subsampled = x[:, :, :: self.stride, :: self.stride]
        return F.pad(subsampled, (0, 0, 0, 0, self.front, self.behind))


def zero_pad(c: int, d: int, stride: int) -> nn.Module:
    """Option A."""
    return nn.Identity() if c == d and stride == 1 else ZeroPad(d - c, stride)


def projection(c: int, d: int, stride: int) -> nn.Module:
    """Option B: a strided 1x1 convolution, but only where shapes disagree."""
    return nn.Identity() if c == d and stride == 1 else every_projection(c, d, stride)


def every_projection(c: int, d: int, stride: int) -> nn.Module:
    """Option C: a 1x1 convolution around every block."""
    return named(conv=nn.Conv2d(c, d, 1, stride, bias=False), norm=nn.BatchNorm2d(d))


def pooled_projection(c: int, d: int, stride: int) -> nn.Module:
    """Option D: as B, but an average over 2x2 pixels strides, so that none is passed over."""
    if c == d and stride == 1:
        return nn.Identity()
    pool = nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)
    return named(
        pool=pool if stride > 1 else nn.Identity(),
        conv=nn.Conv2d(c, d, 1, bias=False),
        norm=nn.BatchNorm2d(d),
    )


class Gate(nn.Module):
    """g(x) = sigmoid(W x + b), a weight between 0 and 1 for each result of `layer`.

    Args:
        layer: W and b.
        bias: where b starts; negative for a gate that lets its block carry x at first.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear, bias: float) -> None:
        super().__init__()
        self.layer, self.sigmoid, self.bias = layer, nn.Sigmoid(), bias

    def reset_parameters(self) -> None:
        assert self.layer.bias is not None  # a gate without a bias is half open at first
        nn.init.constant_(self.layer.bias, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.sigmoid(self.layer(x))


class Carry(nn.Module):
    """h(x) = (1 - g(x)) x: the shortcut alone is gated (2016b, section 3.2)."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:  # (b, c, h, w) -> (b, c, h, w)
        return (1 - self.gate(x)) * x


class Scaled(nn.Module):
    """Multiply by a constant (2016b, section 3.1)."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def altered(identity: Callable[[int], nn.Module]) -> Shortcut:
    """Put `identity`, made for a number of channels, where the shortcut would be the identity."""

    def shortcut(c: int, d: int, stride: int) -> nn.Module:
        return identity(c) if c == d and stride == 1 else zero_pad(c, d, stride)

    return shortcut


def pixel_gate(channels: int) -> Gate:
    """A gate from a 1x1 convolution; -6 is the best start that 2016b found (table 1)."""
    return Gate(nn.Conv2d(channels, channels, 1), bias=-6.0)


SHORTCUTS: dict[str, Shortcut] = {
    "A": zero_pad,
    "B": projection,
    "C": every_projection,
    "D": pooled_projection,
    "scaled": altered(lambda channels: Scaled(0.5)),
    "gated": altered(lambda channels: Carry(pixel_gate(channels))),
    "dropout": altered(lambda channels: nn.Dropout(0.5)),
}
