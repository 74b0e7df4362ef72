"""Which convolution of a bottleneck strides: what a name may leave open, and tensors cannot tell.

    resnet50-v1      the first 1x1, as He et al. 2016a built it
    resnet50-v1.5    the 3x3, as torchvision's and timm's code does

Where it is trained here, `resnet50` is v1; where it names weights of others, it leaves this open.
"""

from residua.errors import Refused
from residua.networks import NETWORKS, parse
from residua.networks.elsewhere import STYLES
from residua.networks.naming import meaning, split


def agree(asked: str, said: str) -> bool:
    """Whether two names are of one network, where the first may leave the stride open."""
    later = f"{asked}-{'v1' if said.endswith('-v1') else 'v1.5'}"
    return parse(said) in (
        parse(asked),
        parse(later) if leaves_stride_open(asked) else None,
    )


def leaves_stride_open(name: str) -> bool:
    """Whether a network of bottlenecks has a stride that its name does not choose."""
    family, depth, options = parse(name)
    parts = split(name, NETWORKS)
    chosen = [meaning(part, family.options) for part in parts.rest] if parts else []
    return "stride" in options and depth >= 50 and not any("stride" in part for part in chosen)


def strided(name: str, style: str, source: str) -> tuple[str, list[str]]:
    """Choose the stride that a name leaves open: that of the style's own code.

    Raises:
        Refused: its code has both.
    """
    if not leaves_stride_open(name):
        return name, []
    later, known = f"{name}-v1.5", strides(name, style)
    if not known or parse(later) == parse(name):
        return name, []
    if len(known) > 1:
        fix = f"give the folder with its config.json, or --network {name}-v1 or {later}"
        what = f"{style} has {name} with either stride, and tensors cannot tell which"
        raise Refused(what, source, fix)
    return later, [
        f"tensors cannot tell which convolution strides; in {style}'s code it is the 3x3, so this "
        f"is {later}: give --network {name}-v1 where it is the first 1x1"
    ]


def strides(name: str, style: str) -> set[str]:
    """Where the bottlenecks of a project's networks of the same family and depth stride."""
    family, depth, _ = parse(name)
    rows = [parse(ours) for ours in STYLES[style].networks if "{" not in ours]
    return {row[2]["stride"] for row in rows if row[:2] == (family, depth)}
