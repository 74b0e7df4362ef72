"""Our names of modules become those of another project, by the tables of elsewhere.py."""

import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from residua.networks import NETWORKS, parse
from residua.networks.elsewhere import STYLES, Names
from residua.networks.naming import split

if TYPE_CHECKING:
    from residua.networks.network import Network


def family(name: str) -> str:
    """The registry's key of a network, such as resnet{depth}."""
    parts = split(name, NETWORKS)
    return parts.template if parts else ""


def has(style: str, name: str) -> bool:
    """Tell whether a project has one of our networks, whatever options its name spells out."""
    given = parse(name)
    return any(
        parse(ours.replace("{depth}", str(given[1]))) == given for ours in STYLES[style].networks
    )


def styles_of(name: str) -> list[str]:
    """The projects that have one of our networks."""
    return [style for style in STYLES if has(style, name)]


class Place(NamedTuple):
    """Where one of our tensors is elsewhere, and its shape there."""

    name: str
    shape: tuple[int, ...]


def places(network: "Network", style: str) -> dict[str, Place]:
    """Where each tensor of `network` is in files of a style; nothing if it has no names for one."""
    names = STYLES[style].names.get(family(network.name), ())
    numbers = numbered(network)
    found: dict[str, Place] = {}
    for key, tensor in network.state_dict().items():
        module, _, last = key.rpartition(".")
        theirs, window = rename(module, names, numbers)
        if not theirs:
            return {}
        shape = tuple(tensor.shape)
        if window and len(shape) == 2:
            shape = (shape[0], shape[1] // window**2, window, window)
        found[key] = Place(f"{theirs}.{last}", shape)
    return found


def numbered(network: "Network") -> dict[tuple[str, str], int]:
    """The number of each layer among all below each module that it is in."""
    numbers: dict[tuple[str, str], int] = {}
    counts: Counter[str] = Counter()
    for path, module in network.named_modules():
        if any(module.children()):
            continue
        parts = path.split(".")
        for above in (".".join(parts[:end]) for end in range(1, len(parts))):
            numbers[above, path] = counts[above]
            counts[above] += 1
    return numbers


def rename(module: str, names: Names, numbers: Mapping[tuple[str, str], int]) -> tuple[str, int]:
    """Their name of one of our modules, and the window of a convolution in place of a linear layer.

    The name is empty where the table has none.
    """
    for ours, theirs, *window in names:
        match = re.fullmatch(pattern(ours), module)
        if match is not None:
            if "#" in theirs:
                above = module.removesuffix("." + match["rest"])
                theirs = theirs.replace("#", str(numbers[above, module]))
            return fill(theirs, match.groupdict()), window[0] if window else 0
    return "", 0


def ours_of(theirs: str, names: Names) -> str:
    """Our name of a module of theirs, numbered where they number; "" if the table has none."""
    for ours, pattern_of_theirs, *_ in names:
        match = re.fullmatch(pattern(pattern_of_theirs), theirs)
        if match is not None:
            values = {
                key: value if f"{{{key}-1}}" not in pattern_of_theirs else str(int(value) + 1)
                for key, value in match.groupdict().items()
            }
            return fill(ours.replace("*", values.get("rest", "")), values)
    return ""


@cache
def pattern(template: str) -> str:
    """A table's cell as a regular expression with a group for each letter, and `rest`."""
    escaped = re.escape(template).replace(r"\{", "{").replace(r"\}", "}").replace(r"\-", "-")
    numbered = re.sub(r"{(\w)(-1)?}", r"(?P<\1>\\d+|[a-z])", escaped)
    return numbered.replace(r"\*", "(?P<rest>.+)").replace(r"\#", r"(?P<rest>\d+)")


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put the values into a table's cell."""
    return re.sub(
        r"{(\w)(-1)?}",
        lambda cell: str(int(values[cell[1]]) - 1) if cell[2] else values[cell[1]],
        template,
    )
