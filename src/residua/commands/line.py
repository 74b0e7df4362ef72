"""From the words of a command line to a verb's answer and an exit code.

`--epochs 20`, `--epochs=20` and `epochs=20` mean the same, and so do dashes and underscores.
"""

import re
import sys
import traceback
from collections.abc import Callable, Collection, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any

from cyclopts import App, CycloptsError, Group

from residua.commands import VERBS, manual
from residua.commands.terminal import FLAGS, Terminal
from residua.commands.usage import no_flag, refusal
from residua.errors import OutOfResources, Refused, ResiduaError, unknown
from residua.interrupt import Interrupt

STDIN = "/dev/stdin"  # what `-` stands for


def run(words: Sequence[str]) -> int:
    """Carry out a command line; return its exit code."""
    given, flags = common(words)
    terminal = Terminal(flags, ("residua", *words))
    try:
        with Interrupt().listening():
            return obey(given, terminal)
    except KeyboardInterrupt:  # before or after that
        return 75
    except Exception as error:
        return fail(error, terminal)
    finally:
        terminal.close()


def fail(error: Exception, terminal: Terminal) -> int:
    """Say what went wrong; return its exit code."""
    if terminal.debug:
        terminal.complain("".join(traceback.format_exception(error)))
    known = explained(error)
    terminal.complain(str(known))
    if not terminal.answered:
        reason = {"what": known.what, "where": known.where, "fix": known.fix}
        terminal.answer({"failed": reason, "exit_code": known.exit_code})
    return known.exit_code


def explained(error: Exception) -> ResiduaError:
    """An exception as an error that a person can act on."""
    if isinstance(error, ResiduaError):
        return error
    if isinstance(error, OSError):
        return OutOfResources(error.strerror or str(error), where=str(error.filename or ""))
    if isinstance(error, MemoryError) or re.search("OutOfMemory|allocate memory", repr(error)):
        fix = "give a smaller --batch or --size, or free memory"
        return OutOfResources("there is not enough memory", fix=fix)
    first = (str(error).strip().splitlines() or [""])[0][:300]
    what = f"unexpected {type(error).__name__}: {first}"
    return ResiduaError(what, fix="run again with --debug for the details, and please report it")


def common(words: Sequence[str]) -> tuple[list[str], set[str]]:
    """Part the flags of every verb from the other words."""
    end = words.index("--") if "--" in words else len(words)
    flags = {word for word in words[:end] if word in FLAGS}
    return [w for at, w in enumerate(words) if at >= end or w not in FLAGS], flags


def obey(words: Sequence[str], terminal: Terminal) -> int:
    """Call the verb that the words name."""
    verb = words[0] if words else "--help"
    if verb in ("--help", "-h", "help"):
        manual.overview(terminal)
        return 0
    if verb == "--version":
        terminal.tell(f"residua {version('residua')}")
        terminal.answer({"version": version("residua")})
        return 0
    if verb not in VERBS:
        if verb.startswith("-"):
            raise no_flag(verb, "", ["--help", "--version"])
        error = unknown("verb", verb, VERBS)
        raise Refused(error.what, fix=f"{error.fix}; see residua --help")
    command, arguments = parse(verb, words[1:], terminal)
    return command(*arguments.args, **arguments.kwargs) or 0


def parse(verb: str, words: Sequence[str], terminal: Terminal) -> tuple[Callable[..., Any], Any]:
    """Find the function of a verb and the arguments that the words give it.

    Raises:
        Refused: the words are not those of the verb.
    """
    module, _, name = VERBS[verb].function.partition(":")
    app = App(
        name=f"residua {verb}",
        default_command=getattr(import_module(f"residua.commands.{module}"), name),
        usage=f"usage: residua {verb} {VERBS[verb].takes}".rstrip() + " [FLAGS]",
        version_flags=[],
        group_parameters=Group("Flags", sort_key=0),
        help_format="plaintext",
        help_formatter=manual.panel,
        help_epilogue=manual.EPILOGUE,
        console=terminal.console,
    )
    flags = [name for argument in app.assemble_argument_collection() for name in argument.names]
    try:
        command, bound, ignored = app.parse_args(
            spelled(words, flags), exit_on_error=False, print_error=False
        )
    except CycloptsError as error:
        raise refusal(error, verb, flags) from None
    if "terminal" in ignored:  # a verb, and not its help
        bound.arguments["terminal"] = terminal
    return command, bound


def spelled(words: Sequence[str], flags: Collection[str]) -> list[str]:
    """Words in the one spelling that is parsed: --epochs=20."""
    end = words.index("--") if "--" in words else len(words)
    result = []
    for word in words[:end]:
        name, equals, value = word.partition("=")
        flag = "--" + name.removeprefix("--").replace("_", "-")
        bare = equals and flag in flags and re.fullmatch(r"[A-Za-z][\w-]*", name)
        if word == "-":
            word = STDIN  # the parser takes a dash for a flag
        result.append(flag + equals + value if bare or name.startswith("--") else word)
    return [*result, *words[end:]]


def main() -> None:
    """The entry point: `residua` and `python -m residua`."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal may lack characters
    sys.exit(run(sys.argv[1:]))
