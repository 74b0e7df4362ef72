"""From what people write to a Recipe: five layers of settings, strictly read.

Order: defaults < recipe < configuration file < environment < flags. Every key must be known and
every value must have its type: a misspelled setting that silently does nothing ruins an experiment.
"""

import json
import math
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import Field, asdict, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from residua import networks
from residua.errors import BadData, Refused, suggestion, unknown
from residua.recipes import RECIPES, Recipe

Fields = Mapping[str, Field[Any]]  # of a table of settings, by their names
FIELDS: Fields = {field.name: field for field in fields(Recipe)}
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
BYTES = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def resolve(
    recipe: str, layers: Sequence[tuple[str, Mapping[str, Any]]]
) -> tuple[Recipe, dict[str, str]]:
    """Lay settings over a named recipe.

    Args:
        recipe: a key of RECIPES, or "auto".
        layers: pairs of a source ("flag", "recipe.json") and its settings, the strongest last.

    Returns:
        The recipe, and where each setting came from.

    Raises:
        Refused: an unknown recipe, setting or network, or a value of the wrong type or range.
    """
    recipe = named(recipe, layers)
    result = RECIPES[recipe][1]
    sources = {
        name: f"recipe {recipe}" if getattr(result, name) != field.default else "default"
        for name, field in FIELDS.items()
    }
    for source, layer in layers:
        values = {name: convert(name, value, source) for name, value in layer.items()}
        changes: dict[str, Any] = silenced(values) | values
        result = replace(result, **changes)
        sources |= dict.fromkeys(values, source)
    if result.network is not None:
        networks.parse(result.network)
    return result, sources


def named(recipe: str, layers: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """What a name stands for: "auto" is `finetune` where there is an init, else `quick`."""
    if recipe == "auto":
        return "finetune" if any(layer.get("init") for _, layer in layers) else "quick"
    if recipe not in RECIPES:
        raise unknown("recipe", recipe, ["auto", *RECIPES])
    return recipe


def silenced(values: Mapping[str, Any]) -> dict[str, Any]:
    """Any one of epochs, steps and time takes the place of the weaker layers' others."""
    lengths = ("epochs", "steps", "time")
    given = any(values.get(name) is not None for name in lengths)
    return dict.fromkeys(lengths) if given else {}


def environment() -> dict[str, str]:
    """Settings from variables such as RESIDUA_EPOCHS=20."""
    named = {f"RESIDUA_{name.upper()}": name for name in FIELDS}
    return {named[key]: value for key, value in os.environ.items() if key in named}


def read_config(path: Path) -> tuple[str | None, dict[str, Any]]:
    """Read a TOML or JSON file of settings, or the recipe.json of a run.

    Returns:
        The recipe that it names, if any, and its settings.

    Raises:
        BadData: the file is missing or not of its format.
    """
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise BadData(f"the configuration cannot be read: {error.strerror}", str(path)) from error
    except (ValueError, RecursionError) as error:
        raise BadData(f"the configuration is malformed: {error}", str(path)) from error
    if not isinstance(table, dict):
        raise BadData("the configuration is not a table of settings", str(path))
    settings = table.get("settings", table)
    if not isinstance(settings, dict):
        raise BadData('"settings" is not a table', str(path))
    if "settings" in table and (strange := table.keys() - {"recipe", "settings", "sources"}):
        raise BadData(f'"{min(strange)}" stands beside "settings", not in it', str(path))
    settings = dict(settings)
    recipe = settings.pop("recipe", table.get("recipe"))
    if not isinstance(recipe, str | None):
        raise BadData(f"the recipe must be a name, not {recipe!r}", str(path))
    return recipe, settings


def as_json(recipe: Recipe, sources: Mapping[str, str], name: str) -> dict[str, Any]:
    """What recipe.json holds: every setting and where it came from."""
    return {"recipe": name, "settings": asdict(recipe), "sources": dict(sources)}


def convert(name: str, value: Any, source: str, known: Fields = FIELDS) -> Any:
    """Check a setting's name and bring its value to the field's type.

    Args:
        name: of a field.
        value: as it was written, or already of its type.
        source: what wrote it, for the message.
        known: the fields that there are.

    Raises:
        Refused: no such field, or the value is none of its type.
    """
    if name not in known:
        nearest = suggestion(name, known) or "see `residua train --help`"
        raise Refused(f'no setting named "{name}"', where=source, fix=nearest)
    kinds = kinds_of(known[name])
    if type(None) in kinds and value in (None, "", "auto"):  # to be chosen automatically
        return None
    for kind in kinds:
        result = as_kind(kind, value, name)
        if result is not None:
            return result
    raise wrong(name, kinds, value, source)


def kinds_of(field: Field[Any]) -> tuple[Any, ...]:
    """The alternatives of a field's type: int | None -> (int, NoneType)."""
    kind = field.type
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def as_kind(kind: Any, value: Any, name: str) -> Any:
    """`value` as the type `kind`, or None where it is not one."""
    if choices := choices_of(kind):
        return value if value in choices else None
    if get_origin(kind) is tuple:
        parts = re.split(r"\s*,\s*", value.strip()) if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or "" in parts:
            return None
        items = [as_kind(get_args(kind)[0], part, name) for part in parts]
        return tuple(items) if None not in items else None
    if kind is bool:
        words = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
        return words.get(str(value).lower())
    if name == "time" and kind is float:
        return duration(value)
    if name == "memory" and kind is int:
        return size_of(value)
    if kind in (int, float):
        return number(kind, value)
    return value if kind is str and isinstance(value, str) else None


def choices_of(kind: Any) -> tuple[Any, ...]:
    """The values of a Literal, nothing for other types."""
    return get_args(kind) if get_origin(kind) is Literal else ()


def number(kind: type, value: Any) -> Any:
    try:
        near = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if isinstance(value, bool) or not math.isfinite(near):
        return None
    if kind is float:
        return near
    try:
        return int(str(value))  # a float would round a seed above 2^53
    except ValueError:
        return int(near) if near == int(near) else None  # such as 64.0 or "1e3"


def duration(value: Any) -> float | None:
    """Seconds in 90, "90", "90s", "20m", "1.5h" or "1h30m"."""
    text = str(value).strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not parts or "".join(amount + unit for amount, unit in parts) != text:
        return None
    return sum(float(amount) * UNITS[unit] for amount, unit in parts)


def size_of(value: Any) -> int | None:
    """Bytes in 2000000000, "600M", "2G" or "1.5 GB"."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", str(value).strip().lower())
    return round(float(found[1]) * BYTES.get(found[2], 1)) if found else None


def wrong(name: str, kinds: Sequence[Any], value: Any, source: str) -> Refused:
    choices = [str(choice) for kind in kinds for choice in choices_of(kind)]
    expected = "one of " + ", ".join(choices) if choices else expectation(name, kinds)
    nearest = suggestion(str(value), choices)
    where = f"{source}: received {value!r}"
    return Refused(f"{name} must be {expected}", where=where, fix=nearest)


def expectation(name: str, kinds: Sequence[Any]) -> str:
    if name == "time":
        return "a duration such as 90s, 20m or 1h"
    if name == "memory":
        return "a size such as 600M or 2G"
    words = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a name",
        tuple[int, ...]: "whole numbers such as 20,56",
        tuple[float, ...]: "numbers such as 0.5,0.75",
        tuple[str, ...]: "names such as plain,residual",
    }
    return next(words[kind] for kind in kinds if kind in words)
