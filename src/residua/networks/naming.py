"""What a network's name says: `resnet50-v1.5-se` is a family with its depth, and options.

An option is written out, stride=3x3, or by its value alone where no other option of the family has
such a value, 3x3, or by a name that the field has for it, v1.5.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from residua.errors import Refused, suggestion


@dataclass(frozen=True)
class Choice:
    """An option that takes one of a few values; the first is the default."""

    values: tuple[str, ...]

    @property
    def default(self) -> str:
        return self.values[0]

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return "|".join(self.values)


@dataclass(frozen=True)
class Number:
    """An option that takes any number from `low` to `high`."""

    default: str
    low: float
    high: float

    @property
    def values(self) -> tuple[str, ...]:
        return (self.default,)

    def __contains__(self, value: object) -> bool:
        try:
            return self.low <= float(str(value)) <= self.high
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"


@dataclass(frozen=True)
class Counts:
    """An option that takes a number of blocks for each of so many stages: blocks=9.7.5."""

    stages: int
    default: str = "depth"  # as many as the depth says

    @property
    def values(self) -> tuple[str, ...]:
        return (self.default,)

    def __contains__(self, value: object) -> bool:
        numbers = rf"{COUNT}(\.{COUNT}){{{self.stages - 1}}}"
        return value == self.default or re.fullmatch(numbers, str(value)) is not None

    def __str__(self) -> str:
        return ".".join(["N"] * self.stages)


COUNT = r"[1-9]\d{0,2}"  # blocks of a stage: a short name must not ask for a billion
Options = Mapping[str, Choice | Number | Counts]


def choice(*values: str) -> Choice:
    """One of `values`, the first by default."""
    return Choice(values)


# Names that the field has for options, and for several of them at once.
SHORT: Mapping[str, Mapping[str, str]] = {
    "v1": {"stride": "1x1"},
    "v1.5": {"stride": "3x3"},
    "d": {"stem": "deep", "shortcut": "D", "stride": "3x3"},  # He et al. 2018, figure 2
    "bn": {"norm": "batch"},
    "gn": {"norm": "group"},
    "ln": {"norm": "layer"},
}


class Parts(NamedTuple):
    """A name taken apart: the registry's key, the depth written in it, and the rest."""

    template: str
    depth: int | None
    rest: tuple[str, ...]


def split(name: str, templates: Mapping[str, object]) -> Parts | None:
    """Find the longest of `templates` that `name` starts with; None where there is none."""
    parts = re.split("(?<!=)-", name)  # bias=-6 is one part
    for end in range(len(parts), 0, -1):  # the longest first: resnet20-cifar, not resnet20
        stem, rest = "-".join(parts[:end]), tuple(parts[end:])
        if stem in templates:
            return Parts(stem, None, rest)
        template = re.sub(r"\d+", "{depth}", stem, count=1)
        if template in templates and template != stem:
            return Parts(template, int(re.findall(r"\d+", stem)[0]), rest)
    return None


def chosen(
    name: str, parts: tuple[str, ...], options: Options, names: tuple[str, ...] = ()
) -> dict[str, str]:
    """Every option's value as the parts of a name choose it.

    Raises:
        Refused: a part chooses nothing; the message lists what there is, and the like of `names`.
    """
    values = {option: known.default for option, known in options.items()}
    for part in parts:
        meant = meaning(part, options)
        if not meant:
            known = "; ".join(f"{option}={known}" for option, known in options.items())
            fix = f"choose among {known}" if known else "leave it out: this network has none"
            raise Refused(
                f'no option "{part}"',
                where=f"network {name}",
                fix=f"{suggestion(name, names)} {fix}".strip(),
            )
        values |= meant
    return values


def meaning(part: str, options: Options) -> Mapping[str, str]:
    """The options that one part of a name chooses, and their values; none where it has no meaning.

    What a short name says about options that the family lacks is passed over, if it has the first.
    """
    option, equals, value = part.partition("=")
    if equals:
        return {option: value} if value in options.get(option, ()) else {}
    short = SHORT.get(part.lower(), {})
    known = {key: value for key, value in short.items() if value in options.get(key, ())}
    if next(iter(short), "") in known:
        return known
    found = {
        option: value
        for option, known in options.items()
        for value in known.values
        if value.lower() == part.lower() and isinstance(known, Choice)
    }
    return found if len(found) == 1 else {}


def counted(options: Mapping[str, str]) -> tuple[int, ...] | None:
    """The blocks in each stage that a name asks for; None where its depth says how many."""
    value = options.get("blocks", "depth")
    return None if value == "depth" else tuple(map(int, value.split(".")))


def no_such_depth(name: str, what: str, depth: int, known: Collection[int]) -> Refused:
    """What to raise for a depth that a paper's table lacks."""
    nearest = min(known, key=lambda other: abs(other - depth))
    return Refused(
        f"there is no {depth}-layer {what}",
        where=f"network {name}",
        fix=f"choose a depth of {', '.join(map(str, known))}; nearest is {nearest}",
    )


def written(stem: str, values: Mapping[str, str], options: Options) -> str:
    """The shortest name of a family with these options: `chosen` reads it back."""
    other = {key: value for key, value in values.items() if value != options[key].default}
    parts = []
    for short, group in sorted(SHORT.items(), key=lambda item: -len(item[1])):
        if all(other.get(key) == value for key, value in group.items()):
            parts.append(short)
            other = {key: value for key, value in other.items() if key not in group}
    for key, value in other.items():
        alone = meaning(value, options) == {key: value}
        parts.append(value.lower() if alone else f"{key}={value}")
    return "-".join([stem, *parts])
