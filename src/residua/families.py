"""Kinds of network that differ in their shortcuts alone, by depth."""

from residua.errors import unknown
from residua.factors import Factors

FAMILIES = {
    "plain": "plain{}-cifar",
    "residual": "resnet{}-cifar",
    "highway": "resnet{}-cifar-join=gate",
    "preact": "preact{}-cifar-branch=basic",
}


def network_name(family: str, depth: int) -> str:
    """The network of a family and depth.

    Raises:
        Refused: there is no such family.
    """
    if family not in FAMILIES:
        raise unknown("family", family, FAMILIES)
    return FAMILIES[family].format(depth)


def names(factors: Factors) -> list[str]:
    """The networks of all families and depths."""
    return [
        network_name(family, depth)
        for depth in sorted(factors.depths or ())
        for family in factors.families or ()
    ]
