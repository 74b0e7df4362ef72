"""Residual networks and their plain twins, written the way the papers define them.

A block computes y = f(F(x) + h(x)): F is a short stack of convolutions (the branch), h the
shortcut, f whatever follows the addition. Every network here is one choice of the three.

    plain      y = f(F(x))                      He et al. 2016a, section 3.3     arXiv:1512.03385
    residual   y = f(F(x) + h(x))               He et al. 2016a, equations 1, 2
    pre-act    y = F(x) + h(x)                  He et al. 2016b, equation 5      arXiv:1603.05027
    gated      y = f(T(x) F(x) + (1-T(x)) h(x)) Srivastava et al. 2015, eq. 3    arXiv:1507.06228

Axes in comments: b batch; c, d channels; h, w and p, q height and width, before and after a stride.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from residua.networks.network import named
from residua.networks.shortcuts import Gate, Scaled, Shortcut, pixel_gate

# (channels in, channels out, stride) -> layers
Branch = Callable[[int, int, int], nn.Sequential]
Join = Callable[[nn.Sequential, nn.Module], nn.Module]


def convolution(c: int, d: int, size: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Without a bias, because batch normalization follows and has one."""
    return nn.Conv2d(c, d, size, stride, padding=size // 2, groups=groups, bias=False)


# Branches: F(x).


def basic(c: int, d: int, stride: int) -> nn.Sequential:
    """Two 3x3 convolutions (2016a, figure 5, left)."""
    return named(
        conv1=convolution(c, d, 3, stride),
        norm1=nn.BatchNorm2d(d),
        relu1=nn.ReLU(),
        conv2=convolution(d, d, 3),
        norm2=nn.BatchNorm2d(d),
    )


class Inner(NamedTuple):
    """What a bottleneck does between its 1x1 convolutions.

    `groups` and `width` are a row of Xie et al. 2017, table 3 (arXiv:1611.05431): ResNet-50 is
    1x64d, ResNeXt-50 is 32x4d. 1x128d is the wide ResNet-50-2 of Zagoruyko & Komodakis 2016, table
    8 (arXiv:1605.07146).
    """

    groups: int = 1
    width: int = 64  # channels of a group in the first stage, which is 256 channels wide
    stride: str = "1x1"  # the convolution that strides: the first, as in 2016a, or the 3x3


PAPER = Inner()


def bottleneck(c: int, d: int, stride: int, inner: Inner = PAPER) -> nn.Sequential:
    """1x1 narrows, 3x3 works there, 1x1 widens to d (2016a, figure 5, right).

    The paper's strides in the first 1x1; with the stride in the 3x3, as in most later code, a
    ResNet-50 computes 6 % more.
    """
    narrow = inner.groups * inner.width * d // 256
    first, second = (stride, 1) if inner.stride == "1x1" else (1, stride)
    return named(
        conv1=convolution(c, narrow, 1, first),
        norm1=nn.BatchNorm2d(narrow),
        relu1=nn.ReLU(),
        conv2=convolution(narrow, narrow, 3, second, inner.groups),
        norm2=nn.BatchNorm2d(narrow),
        relu2=nn.ReLU(),
        conv3=convolution(narrow, d, 1),
        norm3=nn.BatchNorm2d(d),
    )


# Blocks: how branch and shortcut join.


class Residual(nn.Module):
    """y = after(F(z) + h(z)) with z = before(x); `before` only matters to pre-activation."""

    def __init__(
        self, branch: nn.Module, shortcut: nn.Module, after: nn.Module, before: nn.Module
    ) -> None:
        super().__init__()
        self.before, self.branch, self.shortcut, self.after = before, branch, shortcut, after

    def forward(self, x: Tensor) -> Tensor:  # (b, c, h, w) -> (b, d, p, q)
        x = self.before(x)
        return self.after(self.branch(x) + self.shortcut(x))


class Gated(nn.Module):
    """y = after(T(x) F(x) + (1 - T(x)) h(x)): the gate T says how much of x to transform."""

    def __init__(
        self, branch: nn.Module, shortcut: nn.Module, gate: Gate, after: nn.Module
    ) -> None:
        super().__init__()
        self.branch, self.shortcut, self.gate, self.after = branch, shortcut, gate, after

    def forward(self, x: Tensor) -> Tensor:  # (b, c, h, w) -> (b, d, p, q)
        t = self.gate(x)
        return self.after(t * self.branch(x) + (1 - t) * self.shortcut(x))


def plain(branch: nn.Sequential, shortcut: nn.Module) -> nn.Module:
    """y = relu(F(x)): the residual block with its shortcut left out."""
    return named(branch=branch, after=nn.ReLU())


def residual(branch: nn.Sequential, shortcut: nn.Module) -> nn.Module:
    """y = relu(F(x) + h(x)) (2016a, figure 2)."""
    return Residual(branch, shortcut, nn.ReLU(), nn.Identity())


def mean(branch: nn.Sequential, shortcut: nn.Module) -> nn.Module:
    """y = relu(F(x)/2 + x/2), where the shortcut is the identity (2016b, section 3.1)."""
    if isinstance(shortcut, nn.Identity):
        branch.add_module("scaled", Scaled(0.5))
        shortcut = Scaled(0.5)
    return residual(branch, shortcut)


def gated(branch: nn.Sequential, shortcut: nn.Module) -> nn.Module:
    """y = relu(T(x) F(x) + (1 - T(x)) x), where the shortcut is the identity (2016b, section 3.2).

    Also known as exclusive gating; the gate is a 1x1 convolution.
    """
    if not isinstance(shortcut, nn.Identity):
        return residual(branch, shortcut)
    channels = branch.get_submodule("conv1").get_parameter("weight").shape[1]
    return Gated(branch, shortcut, pixel_gate(channels), nn.ReLU())


def norm_after(branch: nn.Sequential, shortcut: nn.Module) -> nn.Module:
    """y = relu(norm(F(x) + h(x))): the last norm follows the addition (2016b, figure 4b)."""
    *_, (name, norm) = branch.named_children()
    delattr(branch, name)
    return Residual(branch, shortcut, named(norm=norm, relu=nn.ReLU()), nn.Identity())


def relu_before(branch: nn.Sequential, shortcut: nn.Module) -> nn.Module:
    """y = relu(F(x)) + h(x): the last ReLU precedes the addition (2016b, figure 4c)."""
    branch.add_module("relu", nn.ReLU())
    return Residual(branch, shortcut, nn.Identity(), nn.Identity())


def relu_first(branch: nn.Sequential, shortcut: nn.Module) -> nn.Module:
    """y = F(relu(x)) + h(x): ReLUs, but not norms, precede convolutions (2016b, figure 4d)."""
    branch = named(relu=nn.ReLU(), **dict(branch.named_children()))
    return Residual(branch, shortcut, nn.Identity(), nn.Identity())


def preactivation(branch: nn.Sequential, shortcut: nn.Module) -> nn.Module:
    """y = F(x) + h(x), every norm and ReLU in front of its convolution (2016b, figure 4e).

    Where the shape changes, branch and shortcut start from the same activated input, and the
    shortcut is a bare convolution (2016b, section 4.1, and its counts).
    """
    block = Residual(preactivated(branch), shortcut, nn.Identity(), nn.Identity())
    if isinstance(shortcut, nn.Identity):
        return block
    if isinstance(shortcut, nn.Sequential):
        del shortcut.norm
    return activate_before(block)


def preactivated(branch: nn.Sequential) -> nn.Sequential:
    """Move every norm and ReLU of a branch in front of its convolution."""
    convolutions = [layer for layer in branch if isinstance(layer, nn.Conv2d)]
    layers: dict[str, nn.Module] = {}
    for index, conv in enumerate(convolutions, 1):
        layers[f"norm{index}"] = nn.BatchNorm2d(conv.in_channels)
        layers[f"relu{index}"] = nn.ReLU()
        layers[f"conv{index}"] = conv
    return named(**layers)


def activate_before(block: Residual) -> Residual:
    """Let the shortcut, too, start after the branch's first norm and ReLU."""
    (_, norm), (_, relu), *rest = block.branch.named_children()
    block.before = named(norm=norm, relu=relu)
    block.branch = named(**dict(rest))
    return block


JOINS: dict[str, Join] = {
    "plain": plain,
    "residual": residual,
    "preact": preactivation,
    "mean": mean,
    "gate": gated,
    "norm_after": norm_after,
    "relu_before": relu_before,
    "relu_first": relu_first,
}


# Networks: a stem, stages of blocks.


class Design(NamedTuple):
    """What varies inside the family."""

    join: Join
    branch: Branch
    shortcut: Shortcut


def stages(
    c: int, sizes: Sequence[tuple[int, int]], design: Design
) -> Iterator[tuple[str, nn.Sequential]]:
    """Yield the stages of `sizes`, pairs (channels, blocks) as in 2016a, table 1."""
    join, branch, shortcut = design
    for stage, (d, count) in enumerate(sizes, 1):
        blocks = nn.Sequential()
        for index in range(count):
            stride = 2 if stage > 1 and index == 0 else 1  # each later stage halves the image
            blocks.append(join(branch(c, d, stride), shortcut(c, d, stride)))
            c = d
        yield f"stage{stage}", blocks


def assemble(
    stem: nn.Sequential, sizes: Sequence[tuple[int, int]], design: Design
) -> nn.Sequential:
    """Join stem and stages, with the norm and ReLU where pre-activation moves them.

    Pre-activation leaves the stem's last convolution bare and the last sum without a ReLU: the
    first unit then activates before it splits, and one more activation follows the last (2016b,
    section 4.1), as it does where only the ReLUs move.
    """
    last_convolution = [layer for layer in stem if isinstance(layer, nn.Conv2d)][-1]
    rest = dict(stages(last_convolution.out_channels, sizes, design))
    features = named(stem=stem, **rest)
    if design.join is preactivation:
        layers = dict(stem.named_children())
        norm = [name for name in layers if name.startswith("norm")][-1]
        relu = [name for name in layers if name.startswith("relu")][-1]
        delattr(stem, norm)
        delattr(stem, relu)
        first = rest["stage1"][0]
        assert isinstance(first, Residual)
        if isinstance(first.before, nn.Identity):
            activate_before(first)
        last = named(norm=nn.BatchNorm2d(sizes[-1][0]), relu=nn.ReLU())
        features.add_module("last", last)
    elif design.join is relu_first:
        features.add_module("last", nn.ReLU())
    return features


def branches(features: nn.Module) -> dict[str, nn.Sequential]:
    """The branch of every block, by its path."""
    return {
        path: module
        for path, module in features.named_modules()
        if path.endswith(".branch") and isinstance(module, nn.Sequential)
    }
