"""Residual networks and their plain twins, written the way the papers define them.

A block computes y = f(F(x) + h(x)): F is a short stack of convolutions (the branch), h the
shortcut, f whatever follows the addition. Every network here is one choice of the three.

    plain      y = f(F(x))              He et al. 2016a, section 3.3      arXiv:1512.03385
    residual   y = f(F(x) + h(x))       He et al. 2016a, equations 1, 2
    pre-act    y = F(x) + h(x)          He et al. 2016b, equation 5       arXiv:1603.05027

Axes in comments: b batch; c, d channels; h, w and p, q height and width, before and after a stride.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from residua.errors import Refused
from residua.networks.network import Head, Network, Size

# (channels in, channels out, stride) -> layers
Branch = Callable[[int, int, int], nn.Sequential]
Shortcut = Callable[[int, int, int], nn.Module]


def convolution(c: int, d: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Without a bias, because batch normalization follows and has one."""
    return nn.Conv2d(c, d, size, stride, padding=size // 2, bias=False)


def named(**modules: nn.Module) -> nn.Sequential:
    """A Sequential whose children, and so its parameters, have names."""
    return nn.Sequential(OrderedDict(modules))


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


def bottleneck(c: int, d: int, stride: int) -> nn.Sequential:
    """1x1 narrows to d/4, 3x3 works there, 1x1 widens to d (2016a, figure 5, right).

    The first 1x1 strides, as in the paper.
    """
    return named(
        conv1=convolution(c, d // 4, 1, stride),
        norm1=nn.BatchNorm2d(d // 4),
        relu1=nn.ReLU(),
        conv2=convolution(d // 4, d // 4, 3),
        norm2=nn.BatchNorm2d(d // 4),
        relu2=nn.ReLU(),
        conv3=convolution(d // 4, d, 1),
        norm3=nn.BatchNorm2d(d),
    )


def bottleneck_v15(c: int, d: int, stride: int) -> nn.Sequential:
    """A bottleneck whose 3x3 strides, as in most later code; ResNet-50 computes 6 % more."""
    branch = bottleneck(c, d, 1)
    branch.conv2 = convolution(d // 4, d // 4, 3, stride)
    return branch


# Shortcuts: h(x). Where shapes agree, A and B are the identity.


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
    return named(conv=convolution(c, d, 1, stride), norm=nn.BatchNorm2d(d))


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


def plain(branch: nn.Sequential, shortcut: nn.Module) -> nn.Module:
    """y = relu(F(x)): the residual block with its shortcut left out."""
    return named(branch=branch, after=nn.ReLU())


def residual(branch: nn.Sequential, shortcut: nn.Module) -> nn.Module:
    """y = relu(F(x) + h(x)) (2016a, figure 2)."""
    return Residual(branch, shortcut, nn.ReLU(), nn.Identity())


def preactivation(branch: nn.Sequential, shortcut: nn.Module) -> nn.Module:
    """y = F(x) + h(x), every norm and ReLU in front of its convolution (2016b, figure 4e).

    Where the shape changes, branch and shortcut start from the same activated input, and the
    shortcut is a bare convolution (2016b, section 4.1, and its counts).
    """
    block = Residual(preactivated(branch), shortcut, nn.Identity(), nn.Identity())
    if isinstance(shortcut, nn.Identity):
        return block
    if isinstance(shortcut, nn.Sequential):
        block.shortcut = shortcut[0]
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


BRANCHES: dict[str, Branch] = {
    "basic": basic,
    "bottleneck-1x1": bottleneck,
    "bottleneck-3x3": bottleneck_v15,
}
SHORTCUTS: dict[str, Shortcut] = {"A": zero_pad, "B": projection, "C": every_projection}
JOINS: dict[str, Callable[[nn.Sequential, nn.Module], nn.Module]] = {
    "plain": plain,
    "residual": residual,
    "preact": preactivation,
}


# Networks: a stem, stages of blocks, a head.


class Design(NamedTuple):
    """What varies inside the family: a key of JOINS, of BRANCHES and of SHORTCUTS."""

    join: str
    branch: str
    shortcut: str


def stages(
    c: int, sizes: Sequence[tuple[int, int]], design: Design
) -> Iterator[tuple[str, nn.Sequential]]:
    """Yield the stages of `sizes`, pairs (channels, blocks) as in 2016a, table 1."""
    branch, shortcut = BRANCHES[design.branch], SHORTCUTS[design.shortcut]
    for stage, (d, count) in enumerate(sizes, 1):
        blocks = nn.Sequential()
        for index in range(count):
            stride = 2 if stage > 1 and index == 0 else 1  # each later stage halves the image
            blocks.append(JOINS[design.join](branch(c, d, stride), shortcut(c, d, stride)))
            c = d
        yield f"stage{stage}", blocks


def assemble(
    stem: nn.Sequential, sizes: Sequence[tuple[int, int]], design: Design
) -> nn.Sequential:
    """Join stem and stages, with the norm and ReLU where pre-activation moves them.

    Pre-activation leaves the stem's convolution bare and the last sum without a ReLU: the first
    unit then activates before it splits, and one more activation follows the last (2016b, section
    4.1).
    """
    first_convolution = stem[0]
    assert isinstance(first_convolution, nn.Conv2d)  # for every stem below
    rest = dict(stages(first_convolution.out_channels, sizes, design))
    features = named(stem=stem, **rest)
    if design.join == "preact":
        del stem.norm, stem.relu
        first = rest["stage1"][0]
        assert isinstance(first, Residual)
        if isinstance(first.before, nn.Identity):
            activate_before(first)
        last = named(norm=nn.BatchNorm2d(sizes[-1][0]), relu=nn.ReLU())
        features.add_module("last", last)
    return features


IMAGENET_BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}  # blocks in each stage (2016a, table 1); from 50 on they are bottlenecks


def imagenet(join: str, name: str, size: Size, options: Mapping[str, str]) -> Network:
    """A network of 2016a, table 1, for images of about 224 pixels.

    Options: `shortcut` A, B or C; `stride`, the convolution of a bottleneck that strides: 1x1 as in
    the paper, 3x3 as in most later code.

    Raises:
        Refused: the table has no such depth.
    """
    depth, classes, channels = size
    if depth not in IMAGENET_BLOCKS:
        nearest = min(IMAGENET_BLOCKS, key=lambda known: abs(known - depth))
        raise Refused(
            f"there is no {depth}-layer network in the paper's table 1",
            where=f"network {name}",
            fix=f"choose a depth of {', '.join(map(str, IMAGENET_BLOCKS))}; nearest is {nearest}; "
            "names that end in -cifar are networks for small images",
        )
    branch = "basic" if depth < 50 else f"bottleneck-{options['stride']}"
    widths = [(64 if depth < 50 else 256) * 2**stage for stage in range(4)]
    stem = named(
        conv=nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False),
        norm=nn.BatchNorm2d(64),
        relu=nn.ReLU(),
        pool=nn.MaxPool2d(3, stride=2, padding=1),
    )
    sizes = list(zip(widths, IMAGENET_BLOCKS[depth], strict=True))
    features = assemble(stem, sizes, Design(join, branch, options["shortcut"]))
    return Network(name, features, Head(widths[-1], classes), size, stride=32)


def cifar(join: str, name: str, size: Size, options: Mapping[str, str]) -> Network:
    """A network for images of about 32 pixels (2016a, section 4.2; 2016b, section 3).

    Three stages of n blocks, 16, 32 and 64 channels wide (bottlenecks: four times that), give
    6n+2 layers of 3x3 convolutions or 9n+2 layers in bottlenecks.

    Options: `shortcut` A, B or C; `branch` basic or bottleneck.

    Raises:
        Refused: the depth is not of that form.
    """
    depth, classes, channels = size
    basic_branch = options["branch"] == "basic"
    period = 6 if basic_branch else 9
    count, remainder = divmod(depth - 2, period)
    if remainder or count < 1:
        below = max(count, 1) * period + 2
        raise Refused(
            f"a depth of {depth} is impossible: it must be {period}n+2",
            where=f"network {name}",
            fix=f"the nearest are {below} and {below + period}",
        )
    branch = "basic" if basic_branch else "bottleneck-1x1"
    widths = [(16 if basic_branch else 64) * 2**stage for stage in range(3)]
    stem = named(conv=convolution(channels, 16, 3), norm=nn.BatchNorm2d(16), relu=nn.ReLU())
    sizes = [(width, count) for width in widths]
    features = assemble(stem, sizes, Design(join, branch, options["shortcut"]))
    return Network(name, features, Head(widths[-1], classes), size, stride=4)
