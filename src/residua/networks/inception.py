"""Inception: see every place at several sizes at once, and pay for it with 1x1 convolutions.

A module sends its input through parallel branches and concatenates their channels,

    y = [F1(x), F2(x), ..., Fn(x)]

and 1x1 convolutions narrow the input of each large one (Szegedy et al. 2014, figure 2b).

    GoogLeNet       Szegedy et al. 2014, table 1        arXiv:1409.4842
    BN-Inception    Ioffe & Szegedy 2015, figure 5      arXiv:1502.03167

The max pools between the stages open a stage, so that each stage has one resolution.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from residua.networks.network import Head, Network, Size, named

# 1x1 | 3x3 reduce, 3x3 | 5x5 reduce, 5x5 | pool projection: channels (2014, table 1)
GOOGLENET = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
GOOGLENET_STAGES = {
    "stage3": ("pool", "3a", "3b"),
    "stage4a": ("pool", "4a"),
    "stage4d": ("4b", "4c", "4d"),
    "stage4e": ("4e",),
    "stage5": ("pool", "5a", "5b"),
}
AUXILIARY = {"stage4a": 512, "stage4d": 528}  # stages with a head of their own, and their channels

# 1x1 | 3x3 reduce, 3x3 | double 3x3 reduce, double 3x3 | pool, projection (2015, figure 5);
# the modules without 1x1 and projection have a stride of 2
BN_INCEPTION = {
    "3a": (64, 64, 64, 64, 96, "average", 32),
    "3b": (64, 64, 96, 64, 96, "average", 64),
    "3c": (0, 128, 160, 64, 96, "max", 0),
    "4a": (224, 64, 96, 96, 128, "average", 128),
    "4b": (192, 96, 128, 96, 128, "average", 128),
    "4c": (160, 128, 160, 128, 160, "average", 128),
    "4d": (96, 128, 192, 160, 192, "average", 128),
    "4e": (0, 128, 192, 192, 256, "max", 0),
    "5a": (352, 192, 320, 160, 224, "average", 128),
    "5b": (352, 192, 320, 192, 224, "max", 128),
}
BN_INCEPTION_STAGES = {
    "stage3": ("pool", "3a", "3b"),
    "stage3c": ("3c",),
    "stage4": ("4a", "4b", "4c", "4d"),
    "stage4e": ("4e",),
    "stage5": ("5a", "5b"),
}


class Inception(nn.Module):
    """Concatenate the channels of branches that see the same input.

    Args:
        branches: each by its name, in the order of their channels.
        width: how many channels they have together.
    """

    def __init__(self, branches: Mapping[str, nn.Module], width: int) -> None:
        super().__init__()
        self.width = width
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:  # (b, c, h, w) -> (b, width, p, q)
        return torch.cat([branch(x) for branch in self.children()], 1)


class Layer(NamedTuple):
    """A convolution and what follows it, before the ReLU."""

    bias: bool
    norm: bool
    epsilon: float = 1e-5


Window = tuple[int, int, int]  # of a convolution: channels out, size, stride


def layers(c: int, windows: Sequence[Window], layer: Layer) -> dict[str, nn.Module]:
    """Return a chain of convolutions from `c` channels, each with its norm and ReLU, by name."""
    found: dict[str, nn.Module] = {}
    for index, (d, size, stride) in enumerate(windows, 1):
        number = str(index) if len(windows) > 1 else ""
        found[f"conv{number}"] = nn.Conv2d(c, d, size, stride, size // 2, bias=layer.bias)
        if layer.norm:
            found[f"norm{number}"] = nn.BatchNorm2d(d, layer.epsilon)
        found[f"relu{number}"] = nn.ReLU()
        c = d
    return found


def inception(
    c: int,
    windows: Mapping[str, Sequence[Window]],
    pool: nn.Module,
    projection: int,
    layer: Layer,
) -> Inception:
    """Return a module: a branch for each chain of `windows`, and one that pools.

    The pooled branch ends in a 1x1 convolution to `projection` channels; 0 passes all c on.
    """
    branches = {name: named(**layers(c, chain, layer)) for name, chain in windows.items()}
    narrowed = layers(c, [(projection, 1, 1)] if projection else [], layer)
    branches["pool"] = named(pool=pool, **narrowed)
    width = sum(chain[-1][0] for chain in windows.values()) + (projection or c)
    return Inception(branches, width)


def stem(
    channels: int, layer: Layer, after: Mapping[str, Mapping[str, nn.Module]]
) -> nn.Sequential:
    """7x7/2, 1x1 and 3x3 convolutions, and what comes `after` a layer, by its name."""
    found: dict[str, nn.Module] = {}
    for name, module in layers(channels, [(64, 7, 2), (64, 1, 1), (192, 3, 1)], layer).items():
        found |= {name: module, **after.get(name, {})}
    return named(**found)


def stages(
    table: Mapping[str, Sequence[str]],
    make: Callable[[int, str], Inception],
    pool: Callable[[], nn.Module],
) -> Iterator[tuple[str, nn.Sequential]]:
    """Yield the stages of `table`; module 4b becomes child "b" of its stage."""
    c = 192  # channels of the stem
    for stage, modules in table.items():
        children: dict[str, nn.Module] = {}
        for module in modules:
            if module == "pool":
                children["pool"] = pool()
                continue
            made = make(c, module)
            children[module[-1]], c = made, made.width
        yield stage, named(**children)


# GoogLeNet.


def googlenet(name: str, size: Size, options: Mapping[str, str]) -> Network:
    """The network of 2014, table 1, for images of about 224 pixels: 22 weighted layers in a row.

    The paper leaves the constants of local response normalization open; here they are those of
    Krizhevsky et al. 2012. Of pools it prints size and stride; those of 3x3/2 round up here, which
    gives the printed 112, 56, 28, 14 and 7 positions and is what published weights expect.

    Args:
        name: the network's.
        size: of classes and channels.
        options: `filters`, the large ones: 5x5, as the paper, or 3x3, a slip of much later code,
            whose last max pool is 2x2 as well; `norm` none, as the paper, with response
            normalization in the stem, or batch, as in that code, after each convolution, which then
            has no bias; `auxiliary` yes or no: two heads that help in training (section 5).
    """
    batch = options["norm"] == "batch"
    layer = Layer(bias=not batch, norm=batch, epsilon=1e-3)
    paper = options["filters"] == "5x5"
    features = googlenet_features(size.channels, layer, 5 if paper else 3)
    smallest, heads = 31 if paper else 15, {}
    if not paper:
        features.get_submodule("stage5").pool = nn.MaxPool2d(2, ceil_mode=True)
    if options["auxiliary"] == "yes":
        smallest = 47
        heads = {stage: auxiliary(c, size.classes, layer) for stage, c in AUXILIARY.items()}
    head = named(
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        dropout=nn.Dropout(0.4),
        linear=nn.Linear(1024, size.classes),
    )
    return Network(name, features, head, size, smallest=smallest, auxiliary=heads)


def googlenet_features(channels: int, layer: Layer, large: int) -> nn.Sequential:
    """Stem and stages; the large filters of a module are `large` x `large`."""

    def make(c: int, module: str) -> Inception:
        one, reduce3, three, reduce5, five, projection = GOOGLENET[module]
        windows = {
            "one": [(one, 1, 1)],
            "three": [(reduce3, 1, 1), (three, 3, 1)],
            "five": [(reduce5, 1, 1), (five, large, 1)],
        }
        return inception(c, windows, nn.MaxPool2d(3, stride=1, padding=1), projection, layer)

    first: dict[str, nn.Module] = {"pool": halving_pool()}
    last: dict[str, nn.Module] = {}
    if not layer.norm:
        first["response1"], last["response2"] = response_norm(), response_norm()
    bottom = stem(channels, layer, {"relu1": first, "relu3": last})
    return named(stem=bottom, **dict(stages(GOOGLENET_STAGES, make, halving_pool)))


def auxiliary(c: int, classes: int, layer: Layer) -> nn.Sequential:
    """A head on c channels of 14x14 positions (2014, section 5).

    Its pool leaves 4x4 positions, as its first linear layer needs; those that other images than
    224x224 leave are averaged to as many.
    """
    return named(
        pool=nn.AvgPool2d(5, stride=3, ceil_mode=True),
        resize=nn.AdaptiveAvgPool2d(4),
        **layers(c, [(128, 1, 1)], layer),
        flatten=nn.Flatten(),
        linear1=nn.Linear(128 * 4 * 4, 1024),
        relu1=nn.ReLU(),
        dropout=nn.Dropout(0.7),
        linear2=nn.Linear(1024, classes),
    )


def halving_pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def response_norm() -> nn.LocalResponseNorm:
    """k = 2, n = 5, alpha = 1e-4, beta = 0.75; torch divides its alpha by n."""
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)


# BN-Inception.


def bn_inception(name: str, size: Size, options: Mapping[str, str]) -> Network:
    """The network of 2015, figure 5, for images of about 224 pixels.

    Two 3x3 convolutions take the place of a 5x5, a module more works at 28x28 positions, modules 3c
    and 4e stride in place of pools, and batch normalization comes before each ReLU. The table gives
    11.29 million parameters, and 11.30 with the biases that the norms make superfluous; the paper's
    text says 13.6 million, which the table does not explain. The text makes the first convolution
    separable, with 8 results for each channel; the table does not, nor is it here.

    The paper leaves the borders open: all pools are padded by one position here, so that the
    branches of a module agree on every image, and averages leave the padding out.

    Args:
        name: the network's.
        size: of classes and channels.
        options: `bias` of the convolutions, no or yes.
    """
    layer = Layer(bias=options["bias"] == "yes", norm=True)

    def make(c: int, module: str) -> Inception:
        one, reduce, three, reduce_double, double, pool, projection = BN_INCEPTION[module]
        stride = 1 if one else 2
        windows: dict[str, list[Window]] = {
            "one": [(one, 1, 1)],
            "three": [(reduce, 1, 1), (three, 3, stride)],
            "double3": [(reduce_double, 1, 1), (double, 3, 1), (double, 3, stride)],
        }
        if not one:
            del windows["one"]
        return inception(c, windows, padded_pool(pool, stride), projection, layer)

    features = named(
        stem=stem(size.channels, layer, {"relu1": {"pool": padded_pool()}}),
        **dict(stages(BN_INCEPTION_STAGES, make, padded_pool)),
    )
    return Network(name, features, Head(1024, size.classes), size, smallest=1)


def padded_pool(kind: str = "max", stride: int = 2) -> nn.Module:
    """3x3; one position of padding keeps h x w, or halves them and rounds up."""
    if kind == "max":
        return nn.MaxPool2d(3, stride, padding=1)
    return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
