"""`residua claims`: what is said of deep networks, and what of it holds here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from residua.claims import CLAIMS, CONFIRMED, NOT_RUN, REFUTED, STATUSES, named
from residua.commands.terminal import BAD, EMPHASIS, GOOD, QUIET, WARNING, Terminal, place
from residua.errors import Refused, Stopped
from residua.words import duration, listed, plain

if TYPE_CHECKING:
    from residua.claims.ledger import Event, Judged

STYLES = {CONFIRMED: GOOD, REFUTED: BAD, NOT_RUN: QUIET}


def claims(
    *names: str,
    data: str = "digits",
    budget: Annotated[str | None, Parameter(metavar="5m|1h|full")] = None,
    workers: int | None = None,
    runs: Annotated[str, Parameter(metavar="DIR")] = "runs",
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> None:
    """Check what is claimed about deep and residual networks: confirmed, refuted, or not run.

    Without a budget nothing is trained: claims are counted, computed, or read from finished studies
    of the same data. With one, studies and trainings that are missing are made, those first that
    tell most for their cost.

    Args:
        names: such as C4, see `residua list claims` [all]
        data: images for the studies and trainings, as for train
        budget: how long it may take: any time such as 5m, or as long as the papers took
        workers: processor cores to use [all]
        runs: folder of the studies
    """
    named(names)  # what is misspelled is refused before torch is loaded
    from residua import inquiry
    from residua.claims import ledger

    if workers is not None and budget is None:
        raise Refused("--workers is of no use without --budget", "received --workers alone")
    allowed = None if budget is None else inquiry.budget_of(budget, workers)
    terminal.live("counting")
    rows: dict[str, dict[str, Any]] = {}
    try:
        for event in ledger.follow(names, data, Path(runs), allowed, terminal.command):
            if isinstance(event, ledger.Judged):
                rows[event.claim] = row(event)
                terminal.live(f"{event.claim} {event.finding.status}")
            else:
                happens(event, terminal)
    except Stopped as error:
        again = " ".join(terminal.command)
        raise Stopped(error.what, runs, f"the same command goes on: {again}") from error
    finally:
        terminal.close()
    ordered = [rows[name] for name in CLAIMS if name in rows]
    for each in ordered:
        tell(each, terminal)
    summary(ordered, budget, terminal)
    terminal.answer({"data": data, "budget": budget, "claims": ordered})


def row(judged: "Judged") -> dict[str, Any]:
    """What a program is told of a claim."""
    status, evidence, source = judged.finding
    return {
        "id": judged.claim,
        "claim": CLAIMS[judged.claim].words,
        "status": status,
        "evidence": evidence,
        "source": source,
    }


def happens(event: "Event", terminal: Terminal) -> None:
    """Tell what is measured."""
    from residua.claims.ledger import Began, Failed
    from residua.sweeps import Measured

    if isinstance(event, Began):
        length = f"  {duration(event.seconds)}" if event.seconds else ""
        terminal.close()
        terminal.say((f"measuring {event.need}", EMPHASIS), (length, QUIET))
    elif isinstance(event, Failed):
        terminal.say((f"{event.need}: {event.why}", WARNING))
    elif isinstance(event, Measured):
        name = " ".join(plain(value) for value in event.cell.values.values())
        status = event.row.get("status", "")
        terminal.say((f"  {name}  {status}  {duration(event.seconds)}", QUIET))


def tell(each: dict[str, Any], terminal: Terminal) -> None:
    """A claim, what became of it, and why."""
    terminal.tell(
        (f"{each['id']:<4}", EMPHASIS),
        (f"{each['status']:<10} ", STYLES[each["status"]]),
        each["claim"],
    )
    where = f"  {place(Path(each['source']))}" if each["source"] else ""
    terminal.tell((f"               {each['evidence']}{where}", QUIET))


def summary(rows: list[dict[str, Any]], budget: str | None, terminal: Terminal) -> None:
    """How many claims there are of each status, and how to know more."""
    counts = {status: [r["id"] for r in rows if r["status"] == status] for status in STATUSES}
    terminal.tell()
    terminal.facts(
        [
            (status, f"{len(ids)}: {listed(ids, 30)}" if ids else "")
            for status, ids in counts.items()
        ]
    )
    if counts[NOT_RUN]:
        longer = {None: "1h", "1h": "full"}.get(budget, "1h" if budget != "full" else "")
        more = f"next: residua claims {' '.join(counts[NOT_RUN])} --budget {longer}"
        terminal.say(more if longer else "what is not run takes other data, or more seeds")
