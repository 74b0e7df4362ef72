"""The flags of `train`, made from the fields of Recipe: a new setting has its flag at once."""

from dataclasses import Field, dataclass, fields, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from residua.recipes import RECIPES, Recipe
from residua.settings import FIELDS, choices_of, kinds_of
from residua.words import plain

ALIASES = {
    "batch": ("--batch-size", "-b"),
    "learning_rate": ("--lr",),
    "size": ("--imgsz", "--img-size"),
}
VALUES = {
    "network": "NAME",
    "init": "WEIGHTS",
    "time": "20m",
    "memory": "2G",
    "device": "cpu|cuda|cuda:1",
    "milestones": "0.5,0.75",
    "grow": "0.75,1",
    "families": "plain,residual",
    "networks": "NAME,NAME",
    "depths": "20,56",
    "widths": "0.5,1",
    "blocks": "stage1.1,stage2.0",
    "removed": "1,4,8",
    "lengths": "0,5,9",
    "biases": "0,-6",
    "shares": "0.1,1",
}  # what stands for the value where its type does not say it
GROUPS = ("everyday", "run", "hardware", "data", "augmentation", "optimization", "schedule")


@dataclass(frozen=True)
class Flag:
    """A flag that is not a field of Recipe."""

    name: str
    about: str
    value: str  # what stands for it in the help; "" for a switch
    group: str = "run"


FIRST = Flag("recipe", "named settings, see `residua list recipes` [auto]", "NAME", "everyday")
OTHERS = (
    Flag("dry_run", "only print parameters, memory, steps and estimated time", "", "everyday"),
    Flag("config", "settings from a TOML or JSON file, or from a run's recipe.json", "FILE"),
    Flag("log_samples", "write a line `step<tab>image` for each image of each step", "FILE"),
    Flag("runs", "folder for the run's own folder [runs]", "DIR"),
)


def setting(name: str) -> tuple[str, Any, None]:
    """A field of Recipe as a field of Flags, None where it is not given."""
    return name, *of_field(FIELDS[name], getattr(RECIPES["quick"][1], name))


def of_field(field: Field[Any], usual: Any = None) -> tuple[Any, None]:
    """The type of a field's flag, and what it is where it is not given."""
    name, kinds = field.name, kinds_of(field)
    about = field.metadata["help"] + ("" if usual in (None, ()) else f" [{plain(usual)}]")
    if bool in kinds:
        return annotated(name, about, "", field.metadata["group"]), None
    choices = "|".join(str(choice) for kind in kinds for choice in choices_of(kind))
    value = VALUES.get(name) or choices or ("N" if int in kinds else "X")
    return annotated(name, about, value, field.metadata["group"]), None


def annotated(name: str, about: str, value: str, group: str) -> Any:
    """The type of a flag with what the parser and the help need; values are converted later."""
    flag = "--" + name.replace("_", "-")
    order = GROUPS.index(group) if group in GROUPS else len(GROUPS)
    parameter = Parameter(
        name=(flag, *ALIASES.get(name, ())),
        help=about,
        metavar=value or None,
        group=Group(group.capitalize(), sort_key=order),
        negative=f"--no-{name.replace('_', '-')}" if name in FIELDS and not value else "",
    )
    return Annotated[str | None if value else bool | None, parameter]


def other(flag: Flag) -> tuple[str, Any, None]:
    return flag.name, annotated(flag.name, flag.about, flag.value, flag.group), None


if TYPE_CHECKING:
    Flags = Any
else:
    names = [field.name for field in fields(Recipe)]
    rows = [setting(name) for name in names]
    Flags = make_dataclass("Flags", [rows[0], other(FIRST), *rows[1:], *map(other, OTHERS)])
    Flags.__module__ = __name__  # where the parser looks up the types


def given(flags: Flags) -> dict[str, Any]:
    """The settings that were given."""
    values = {name: getattr(flags, name) for name in FIELDS}
    return {name: value for name, value in values.items() if value is not None}
