"""`residua audit`: where a training departs from a paper's, and what that does."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from residua.commands.terminal import BAD, EMPHASIS, GOOD, QUIET, WARNING, Terminal
from residua.errors import Refused
from residua.words import harmless, plain

if TYPE_CHECKING:
    from residua.audit import Departure
    from residua.audit.terms import Unread

STYLES = {"changes the result": BAD, "may change it": WARNING, "cosmetic": QUIET}


def audit(
    source: str,
    /,
    *,
    against: Annotated[str | None, Parameter(metavar="RECIPE")] = None,
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> None:
    """Hold the settings of a training against a paper's, and tell what each departure does.

    What cannot be read, and what is not said, is told as unknown.

    Args:
        source: a run's folder, or a TOML or JSON file of settings, ours or another project's
        against: paper-cifar or paper-imagenet [the one whose networks or images they are]
    """
    from residua.audit import open_audit

    path = Path(source)
    if not path.exists():
        fix = "give a run's folder, or a TOML or JSON file of settings"
        raise Refused(f'no run or file "{harmless(source)}"', fix=fix)
    found = open_audit(path, against)
    terminal.tell((f"{source} against {found.against}", EMPHASIS), f"  {found.title}")
    terminal.tell()
    departures(found.departures, terminal)
    unknown(found.unknown, terminal)
    same = ", ".join(each.setting for each in found.agrees)
    terminal.facts([("as in the paper", same), ("decide nothing", ", ".join(found.neutral))])
    for each in found.agrees:
        if each.note:
            terminal.tell((f"{each.setting}: {each.note}", QUIET))
    terminal.answer({"source": source, **found.to_dict()})


def departures(found: "Sequence[Departure]", terminal: Terminal) -> None:
    """Tell each departure with the paper's value, its source, and what it does."""
    if not found:
        terminal.tell(("no departures", GOOD))
    for each in found:
        name = each.setting.replace("_", " ")
        terminal.tell(
            (f"{each.grade}: ", STYLES[each.grade]), (f"{name} {plain(each.received)}", EMPHASIS)
        )
        terminal.tell(("  paper   ", QUIET), each.paper, (f"  ({each.source})", QUIET))
        expected = "" if each.direction == "not known" else f"; expect {each.direction}"
        terminal.tell(("  effect  ", QUIET), each.effect + expected)
    terminal.tell()


def unknown(found: "Sequence[Unread]", terminal: Terminal) -> None:
    """Tell what could not be judged."""
    if found:
        terminal.tell((f"{len(found)} unknown", WARNING))
        rows = [(each.setting, plain(each.value), each.why) for each in found]
        terminal.table([("setting", "value", "why"), *rows])
        terminal.tell()
