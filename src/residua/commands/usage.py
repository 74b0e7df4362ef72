"""What is wrong with a command line, in the three lines that every error has."""

from collections.abc import Collection
from typing import Any, get_args

from cyclopts import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from residua.commands import VERBS
from residua.commands.terminal import FLAGS
from residua.errors import Refused, suggestion
from residua.words import harmless

KINDS = {int: "a whole number", float: "a number", bool: "true or false"}


def refusal(error: CycloptsError, verb: str, flags: Collection[str]) -> Refused:
    """A parser's error in our words, with the nearest flag where one was misspelled."""
    manual, usage = f"see residua {verb} --help", f"residua {verb} {VERBS[verb].takes}".rstrip()
    name = label(error.argument)
    match error:
        case UnknownOptionError():
            return no_flag(error.token.keyword or error.token.value, verb, flags)
        case MissingArgumentError() if name.startswith("-"):
            return Refused(f"{name} needs a value", usage, manual)
        case MissingArgumentError():
            return Refused(f"{name} is missing", usage, manual)
        case RepeatArgumentError():
            return Refused(f"{error.token.keyword} is given twice", usage, "give it once")
        case UnusedCliTokensError():
            return surplus((error.unused_tokens or [""])[0], verb, flags)
        case CoercionError() if error.token is not None:
            kind = next((k for k in kinds(error.target_type) if k in KINDS), str)
            what = f"{name} must be {KINDS.get(kind, 'another value')}"
            return Refused(what, f'received "{harmless(error.token.value)}"', manual)
        case _:
            return Refused(harmless(str(error)), usage, manual)


def label(argument: Any) -> str:
    """What a person calls an argument: --epochs, or DATA."""
    if argument is None:
        return "an argument"
    name = str(argument.name)
    return name if name.startswith("-") else name.upper()


def kinds(target: Any) -> tuple[Any, ...]:
    """The alternatives of a type."""
    return get_args(target) or (target,)


def no_flag(flag: str, verb: str, flags: Collection[str]) -> Refused:
    """The error for a flag that the verb does not have."""
    flag = flag.partition("=")[0]
    known = [name.removeprefix("--") for name in (*flags, *FLAGS) if name.startswith("--")]
    nearest = suggestion(flag.lstrip("-"), known).replace('"', '"--', 1)
    where = f"residua {verb}".rstrip()
    return Refused(f'no flag "{harmless(flag)}"', where, nearest or f"see {where} --help")


def surplus(word: str, verb: str, flags: Collection[str]) -> Refused:
    """The error for a word that no argument takes."""
    name, equals, _ = word.partition("=")
    if equals:
        return no_flag(f"--{name}", verb, flags)
    fix = f"see residua {verb} --help"
    return Refused(f'"{harmless(word)}" is one argument too many', f"residua {verb}", fix)
