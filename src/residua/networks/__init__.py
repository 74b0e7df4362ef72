"""Every network by name.

A name is a family with its depth, and any number of options:

    resnet50                as He et al. 2016a built it
    resnet50-stride=3x3     the 3x3 convolutions stride; resnet50-v1.5 for short
    resnet34-shortcut=A     shortcuts without parameters; resnet34-a for short
    resnet110-cifar         any depth of the form 6n+2
    plain110-cifar          the same network without its shortcuts
"""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from residua.errors import Refused, suggestion, unknown

if TYPE_CHECKING:  # names are checked before the seconds that loading torch takes
    from residua.networks.network import Network, Size

__all__ = ["NETWORKS", "Family", "build", "names", "parse"]

Build = Callable[[str, "Size", Mapping[str, str]], "Network"]


class Family(NamedTuple):
    """A row of the registry: how to build a network, and what may vary in it."""

    build: Build
    depths: tuple[int, ...]  # those that the papers use; others may be possible
    options: Mapping[str, tuple[str, ...]]  # name -> values, the default first
    classes: int
    about: str


def imagenet(join: str) -> Build:
    """Networks for photographs whose blocks join as `join` says, a key of residual.JOINS."""

    def build(name: str, size: "Size", options: Mapping[str, str]) -> "Network":
        from residua.networks import residual

        return residual.imagenet(join, name, size, options)

    return build


def cifar(join: str) -> Build:
    """The same for small images."""

    def build(name: str, size: "Size", options: Mapping[str, str]) -> "Network":
        from residua.networks import residual

        return residual.cifar(join, name, size, options)

    return build


IMAGENET = {"shortcut": ("B", "A", "C"), "stride": ("1x1", "3x3")}
CIFAR = {"shortcut": ("A", "B", "C"), "branch": ("basic", "bottleneck")}
CIFAR_BOTTLENECK = {"shortcut": ("B", "A", "C"), "branch": ("bottleneck", "basic")}

NETWORKS: dict[str, Family] = {
    "plain{depth}": Family(
        imagenet("plain"),
        depths=(18, 34),
        options=IMAGENET,
        classes=1000,
        about="stacked convolutions, the residual networks' plain twins (He et al. 2016a)",
    ),
    "resnet{depth}": Family(
        imagenet("residual"),
        depths=(18, 34, 50, 101, 152),
        options=IMAGENET,
        classes=1000,
        about="residual networks for photographs (He et al. 2016a, table 1)",
    ),
    "preact{depth}": Family(
        imagenet("preact"),
        depths=(18, 34, 50, 101, 152),
        options=IMAGENET,
        classes=1000,
        about="the same with pre-activation (He et al. 2016b)",
    ),
    "plain{depth}-cifar": Family(
        cifar("plain"),
        depths=(20, 32, 44, 56, 110),
        options=CIFAR,
        classes=10,
        about="plain networks of 6n+2 layers for small images (He et al. 2016a, section 4.2)",
    ),
    "resnet{depth}-cifar": Family(
        cifar("residual"),
        depths=(20, 32, 44, 56, 110, 1202),
        options=CIFAR,
        classes=10,
        about="residual networks of 6n+2 layers for small images (He et al. 2016a, table 6)",
    ),
    "preact{depth}-cifar": Family(
        cifar("preact"),
        depths=(164, 1001),
        options=CIFAR_BOTTLENECK,
        classes=10,
        about="pre-activation bottlenecks, 9n+2 layers, for small images (He et al. 2016b)",
    ),
}

SHORT = {
    "a": "shortcut=A",
    "b": "shortcut=B",
    "c": "shortcut=C",
    "v1": "stride=1x1",
    "v1.5": "stride=3x3",
    "basic": "branch=basic",
    "bottleneck": "branch=bottleneck",
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
    if zero_init:
        initialize.zero_last_scale(network)
    return network


def parse(name: str) -> tuple[Family, int, dict[str, str]]:
    """Split a name into its family, depth and options, the defaults filled in."""
    parts = name.split("-")
    for end in range(len(parts), 0, -1):  # the longest family first: resnet20-cifar, not resnet20
        stem = "-".join(parts[:end])
        template = re.sub(r"\d+", "{depth}", stem, count=1)
        if template in NETWORKS:
            family, depth = NETWORKS[template], int(re.findall(r"\d+", stem)[0])
            return family, depth, parse_options(name, parts[end:], family)
    raise unknown("network", name, names())


def parse_options(name: str, parts: list[str], family: Family) -> dict[str, str]:
    """Read `a`, `v1.5` or `shortcut=A` into {option: value}."""
    options = {option: values[0] for option, values in family.options.items()}
    for part in parts:
        option, _, value = SHORT.get(part.lower(), part).partition("=")
        if value not in family.options.get(option, ()):
            known = [f"{key}={value}" for key, values in family.options.items() for value in values]
            fix = f"{suggestion(name, names())} known: {', '.join(known)}".strip()
            raise Refused(f'no option named "{part}"', where=f"network {name}", fix=fix)
        options[option] = value
    return options
