"""Every network by name.

A name is a family with its depth, and any number of options:

    resnet50                as He et al. 2016a built it
    resnet50-stride=3x3     the 3x3 convolutions stride; resnet50-v1.5 for short
    resnet34-shortcut=A     shortcuts without parameters; resnet34-a for short
    resnet50-d-se           ResNet-D with squeeze-and-excitation
    resnet110-cifar         any depth of the form 6n+2
    plain110-cifar          the same network without its shortcuts
    resnet56-cifar-blocks=9.7.5    with other numbers of blocks in its stages than its depth says
"""

from typing import TYPE_CHECKING, NamedTuple

from residua.errors import Refused, unknown
from residua.networks import builders
from residua.networks.builders import Build
from residua.networks.naming import Counts, Number, Options, choice, chosen, counted, split

if TYPE_CHECKING:  # names are checked before the seconds that loading torch takes
    from residua.networks.network import Network

__all__ = ["NETWORKS", "Family", "build", "fewest_layers", "names", "parse"]


class Family(NamedTuple):
    """A row of the registry: how to build a network, and what may vary in it."""

    build: Build
    depths: tuple[int, ...]  # those that the papers use; others may be possible
    options: Options
    classes: int
    size: int  # height and width of the images, in pixels, that it is made for
    about: str
    patches: bool = False  # its first layer is made for whitened patches (initialize.whiten)


# Options.

VARIED: Options = {
    "attention": choice("off", "se"),
    "downsampling": choice("stride", "blur"),
    "norm": choice("batch", "group", "layer", "none", "fixup", "skipinit"),
    "survival": Number("1", 0.05, 1),
}
SMALL: Options = {"blocks": Counts(3)}
LARGE: Options = {"blocks": Counts(4)}
PLAIN: Options = {"norm": choice("batch", "group", "layer", "none")}
INNER: Options = {
    "stride": choice("1x1", "3x3"),
    "width": choice("1x64d", "1x128d", "32x4d", "32x8d", "64x4d"),
    "stem": choice("7x7", "deep"),
}
IMAGENET: Options = {"shortcut": choice("B", "A", "C", "D"), **INNER, **VARIED, **LARGE}
LATER: Options = {**IMAGENET, "stride": choice("3x3", "1x1")}
BRANCH = choice("basic", "bottleneck")
CIFAR: Options = {
    "shortcut": choice("A", "B", "C", "D", "scaled", "gated", "dropout"),
    "branch": BRANCH,
    "join": choice("residual", "mean", "gate", "norm_after", "relu_before", "relu_first"),
    "bias": Number("-6", -20, 20),
    **VARIED,
    **SMALL,
}
PREACT_CIFAR: Options = {
    "shortcut": choice("B", "A", "C", "D"),
    "branch": choice("bottleneck", "basic"),
    **VARIED,
    **SMALL,
}

NETWORKS: dict[str, Family] = {
    "plain{depth}": Family(
        builders.imagenet("plain"),
        depths=(18, 34),
        options={**INNER, **PLAIN, **LARGE},
        classes=1000,
        size=224,
        about="stacked convolutions, the residual networks' plain twins (He et al. 2016a)",
    ),
    "resnet{depth}": Family(
        builders.imagenet("residual"),
        depths=(18, 34, 50, 101, 152),
        options=IMAGENET,
        classes=1000,
        size=224,
        about="residual networks for photographs (He et al. 2016a, table 1)",
    ),
    "preact{depth}": Family(
        builders.imagenet("preact"),
        depths=(18, 34, 50, 101, 152),
        options=IMAGENET,
        classes=1000,
        size=224,
        about="the same with pre-activation (He et al. 2016b)",
    ),
    "resnext{depth}": Family(
        builders.imagenet("residual"),
        depths=(50, 101),
        options={**LATER, "width": choice("32x4d", "32x8d", "64x4d")},
        classes=1000,
        size=224,
        about="bottlenecks of 32 groups (Xie et al. 2017, table 1)",
    ),
    "wide-resnet{depth}": Family(
        builders.imagenet("residual"),
        depths=(50, 101),
        options={**LATER, "width": choice("1x128d")},
        classes=1000,
        size=224,
        about="bottlenecks twice as wide inside (Zagoruyko & Komodakis 2016, table 8)",
    ),
    "plain{depth}-cifar": Family(
        builders.cifar("plain"),
        depths=(20, 32, 44, 56, 110),
        options={"branch": BRANCH, **PLAIN, **SMALL},
        classes=10,
        size=32,
        about="plain networks of 6n+2 layers for small images (He et al. 2016a, section 4.2)",
    ),
    "resnet{depth}-cifar": Family(
        builders.cifar("residual"),
        depths=(20, 32, 44, 56, 110, 1202),
        options=CIFAR,
        classes=10,
        size=32,
        about="residual networks of 6n+2 layers for small images (He et al. 2016a, table 6)",
    ),
    "preact{depth}-cifar": Family(
        builders.cifar("preact"),
        depths=(164, 1001),
        options=PREACT_CIFAR,
        classes=10,
        size=32,
        about="pre-activation bottlenecks, 9n+2 layers, for small images (He et al. 2016b)",
    ),
    "wide{depth}-cifar": Family(
        builders.wide,
        depths=(16, 28, 40),
        options={
            "width": choice("10", "1", "2", "4", "8", "12"),
            "dropout": Number("0", 0, 0.9),
            **VARIED,
            **SMALL,
        },
        classes=10,
        size=32,
        about="few layers, many channels, 6n+4 layers (Zagoruyko & Komodakis 2016, table 1)",
    ),
    "sprint{depth}-cifar": Family(
        builders.sprint,
        depths=(11, 17),
        options={"width": choice("1", "2", "4")},
        classes=10,
        size=32,
        about="a residual network of ours that learns in minutes, 6n+5 layers (recipe fast)",
        patches=True,
    ),
    "highway{depth}-cifar": Family(
        builders.highway_cifar,
        depths=(11, 19, 32),
        options={"bias": Number("-2", -20, 20), "dropout": Number("0.2", 0, 0.9)},
        classes=10,
        size=32,
        about="convolutional highway networks, reconstructed (Srivastava et al. 2015, table 2)",
    ),
    "highway{depth}-fc": Family(
        builders.fully_connected("highway"),
        depths=(10, 20, 50, 100),
        options={"width": Number("50", 1, 4096), "bias": Number("-2", -20, 20)},
        classes=10,
        size=28,
        about="fully connected highway networks (Srivastava et al. 2015, section 3)",
    ),
    "plain{depth}-fc": Family(
        builders.fully_connected("plain"),
        depths=(10, 20, 50, 100),
        options={"width": Number("71", 1, 4096)},
        classes=10,
        size=28,
        about="their plain twins, wider for as many parameters",
    ),
    "alexnet": Family(
        builders.alexnet("2012"),
        depths=(8,),
        options={},
        classes=1000,
        size=227,
        about="two groups and response normalization (Krizhevsky et al. 2012, section 3)",
    ),
    "alexnet-2014": Family(
        builders.alexnet("2014"),
        depths=(8,),
        options={},
        classes=1000,
        size=224,
        about="its later form in one group, without response normalization (Krizhevsky 2014)",
    ),
    "vgg{depth}": Family(
        builders.vgg,
        depths=(11, 13, 16, 19),
        options={"norm": choice("none", "batch")},
        classes=1000,
        size=224,
        about="stacked 3x3 convolutions (Simonyan & Zisserman 2014, table 1)",
    ),
    "nin-cifar": Family(
        builders.nin_cifar,
        depths=(9,),
        options={},
        classes=10,
        size=32,
        about="Network in Network for small images (Lin et al. 2013)",
    ),
    "nin": Family(
        builders.nin_imagenet,
        depths=(12,),
        options={},
        classes=1000,
        size=224,
        about="Network in Network for photographs",
    ),
    "googlenet": Family(
        builders.googlenet,
        depths=(22,),
        options={
            "filters": choice("5x5", "3x3"),
            "norm": choice("none", "batch"),
            "auxiliary": choice("yes", "no"),
        },
        classes=1000,
        size=224,
        about="Inception modules and two auxiliary heads (Szegedy et al. 2014, table 1)",
    ),
    "bn-inception": Family(
        builders.bn_inception,
        depths=(34,),
        options={"bias": choice("no", "yes")},
        classes=1000,
        size=224,
        about="Inception with batch normalization (Ioffe & Szegedy 2015, figure 5)",
    ),
}


def names() -> tuple[str, ...]:
    """Every network that a paper names, without options."""
    return tuple(
        template.format(depth=depth)
        for template, family in NETWORKS.items()
        for depth in family.depths
    )


def build(
    name: str,
    classes: int | None = None,
    channels: int = 3,
    *,
    seed: int = 0,
    zero_init: bool = False,
) -> "Network":
    """Build a network with He-initialized weights.

    Args:
        name: a family, depth and options, as in this module's docstring.
        classes: number of logits; by default the paper's (1000, or 10 for small images).
        channels: channels of the images.
        seed: of the random weights; networks share the draw of every parameter name they share.
        zero_init: start each residual block as the identity.

    Raises:
        Refused: no such family, depth, option or value; the message names the nearest.
    """
    family, depth, options = parse(name)

    import torch

    from residua.networks import initialize
    from residua.networks.network import Size

    classes = family.classes if classes is None else classes
    if classes < 1 or channels < 1:
        raise Refused(
            "a network needs at least one class and one channel",
            where=f"received classes={classes}, channels={channels}",
        )
    device = torch.get_default_device()
    with torch.device("meta"):  # torch's own initial weights would be drawn for nothing
        network = family.build(name, Size(depth, classes, channels), options)
    network.to_empty(device=device)
    initialize.he(network, seed)
    if options.get("norm") == "fixup":
        initialize.fixup(network)
    if zero_init:
        initialize.zero_last_scale(network)
    return network


def weightless(name: str, classes: int | None = None, channels: int = 3) -> "Network":
    """Build a network whose weights take neither time nor memory, where only shapes matter.

    Raises:
        Refused: as `build` does.
    """
    import torch

    with torch.device("meta"):
        return build(name, classes, channels)


def parse(name: str) -> tuple[Family, int, dict[str, str]]:
    """Split a name into its family, depth and options, the defaults filled in."""
    parts = split(name, NETWORKS)
    if parts is None:
        raise unknown("network", name, names())
    family = NETWORKS[parts.template]
    depth = family.depths[0] if parts.depth is None else parts.depth
    return family, depth, chosen(name, parts.rest, family.options, names())


def fewest_layers(name: str) -> int:
    """Weighted layers that a network has at least, without building it."""
    _, depth, options = parse(name)
    blocks = counted(options)
    return depth if blocks is None else 2 * sum(blocks)
