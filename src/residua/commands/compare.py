"""`residua compare`: what depth and width buy: the errors of runs against their costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from residua.commands.models import open_run
from residua.commands.terminal import EMPHASIS, QUIET, Terminal, place
from residua.errors import Refused
from residua.runs import RunDirectory
from residua.words import harmless, listed, percent


@dataclass(frozen=True)
class Options:
    """What to compare."""

    protocol: Annotated[
        str, Parameter(help="the evaluation to take of each run, by its file's name [single]")
    ] = "single"
    out: Annotated[
        str | None, Parameter(metavar="DIR", help="write the figure and the table here")
    ] = None
    device: Annotated[str | None, Parameter(help="where speed is measured: cpu or cuda")] = None


USUAL = Options()


def compare(
    *runs: str,
    options: Annotated[Options, Parameter(name="*")] = USUAL,
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> None:
    """Show the test errors of runs against multiply-adds, parameters and measured speed.

    A star marks the Pareto front: no other run has less error for no more multiply-adds.

    Args:
        runs: folders of finished runs
    """
    if not runs:
        raise Refused("RUNS are missing", "residua compare", "residua compare runs/*")
    if options.out is not None and Path(options.out).is_file():
        raise Refused("there is a file of this name", f"--out {options.out}", "name a folder")
    directories = comparable(runs, options.protocol, terminal)
    from residua import api, durable, plots, report
    from residua.costs import by_network, costs

    terminal.live("measuring speed")
    rows = costs(directories, options.protocol, api.plain_execution(options.device))
    terminal.close()
    best = plots.front(rows, "multiply_adds")
    heading = ("run", "test error", "95 % interval", "parameters", "multiply-adds", "images/s", "")
    cells = [(*texts(row), "*" if at in best else "") for at, row in enumerate(rows)]
    terminal.table([heading, *cells], right=(1, 2, 3, 4, 5))
    seeds = by_network(rows)
    if seeds:
        terminal.tell()
    for network, over in seeds.items():
        terminal.tell((network, EMPHASIS), f"  {over}")
    where = None
    if options.out is not None:
        folder = Path(options.out)
        folder.mkdir(parents=True, exist_ok=True)
        table = [{key: flat(value) for key, value in row.items()} for row in rows]
        plots.save(partial(plots.cost, rows), folder, "cost", table)
        page = report.several("What an error costs", (), costs=rows)
        durable.write(folder / "cost.html", page.encode())
        where = place(folder)
        terminal.say()
        terminal.facts(
            [("page", place(folder / "cost.html")), ("table", place(folder / "cost.csv"))]
        )
    terminal.say(("next: residua evaluate --compare RUN OTHER", QUIET))
    answer: dict[str, Any] = {
        "runs": [row | {"front": at in best} for at, row in enumerate(rows)],
        "networks": {network: over._asdict() for network, over in seeds.items()},
        "out": where,
    }
    terminal.answer(answer)


def comparable(arguments: Sequence[str], protocol: str, terminal: Terminal) -> list[RunDirectory]:
    """The runs that have been tested, each once; what else lies among them, as in runs/*, is told.

    Raises:
        Refused: there is no such folder, or none of several holds a run with this evaluation.
        BadData: the only folder is no run.
    """
    found, others = [], []
    named = {Path(each).resolve() for each in arguments if not Path(each).is_symlink()}
    for argument in arguments:
        run = RunDirectory(Path(argument))
        again = run.path.is_symlink() and run.path.resolve() in named  # such as runs/latest
        tested = (run.evaluations / f"{protocol}.json").is_file()
        if len(arguments) > 1 and run.path.exists() and (again or not tested):
            others.append(run.path.name)
        else:
            found.append(open_run(argument))
    if not found:
        raise Refused(
            f"none of these is a run with the evaluation {harmless(protocol)}",
            where=listed(list(map(harmless, arguments))),
            fix="train one to its end, or ask it: residua evaluate RUN --protocol NAME",
        )
    if others:
        terminal.say((f"left out, not tested runs: {listed(others)}", QUIET))
    return found


def texts(row: dict[str, Any]) -> tuple[str, ...]:
    """A row as a person reads it."""
    low, high = row["interval"]
    return (
        harmless(row["name"]),
        percent(row["error"]),
        f"{100 * low:.2f} to {percent(high)}",
        f"{row['parameters']:,}",
        f"{row['multiply_adds']:,}",
        f"{row['images_per_second']:,.0f}",
    )


def flat(value: Any) -> Any:
    """A value for a cell of a CSV file."""
    return " to ".join(map(str, value)) if isinstance(value, list) else value
