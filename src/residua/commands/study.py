"""`residua study`: a question about depth and shortcuts, answered on a person's own images."""

from collections.abc import Mapping, Sequence
from dataclasses import make_dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from residua import studies
from residua.commands.flags import of_field
from residua.commands.models import is_model, open_model
from residua.commands.terminal import EMPHASIS, GOOD, QUIET, WARNING, Terminal, place
from residua.errors import Refused, Stopped
from residua.factors import FACTORS
from residua.runs import DONE, RunDirectory
from residua.words import count, duration, percent, plain

if TYPE_CHECKING:
    from residua.inquiry import Concluded, Inquiry
    from residua.question import Study
    from residua.sweeps import Measured, Row

    Given = Any
else:
    Given = make_dataclass("Given", [(name, *of_field(each)) for name, each in FACTORS.items()])
    Given.__module__ = __name__  # where the parser looks up the types

USUAL = "5m"
BAR = 30  # characters of a bar that stands for 100 %
NUMBERS = 4  # of a cell without errors that are told


def study(
    name: str,
    /,
    *arguments: str,
    budget: Annotated[str, Parameter(metavar="5m|1h|full")] = USUAL,
    workers: int | None = None,
    device: str | None = None,
    runs: Annotated[str, Parameter(metavar="DIR")] = "runs",
    given: Annotated[Given, Parameter(name="*")] = None,
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> None:
    """Answer a question about depth and shortcuts, with figures, a table and a verdict.

    What is not given is chosen so that the study ends within its budget. A study that is stopped
    goes on with `residua resume`.

    Args:
        name: of a study, see `residua list studies`
        arguments: the data as for train [digits]; for a study of a trained network, the run or
            weights, and the data if they do not name theirs
        budget: how long it may take: any time such as 90s, or as long as the papers took [5m]
        workers: processor cores to use [all]
        device: cpu, cuda or cuda:1
        runs: folder for the study's own folder
    """
    from residua import inquiry

    found = studies.find(name)
    terminal.live("reading the images")
    source, weights = subject(found, arguments)
    allowed = inquiry.budget_of(budget, workers)
    chosen = {key: value for key, value in vars(given or Given()).items() if value is not None}
    asked = inquiry.prepare(name, source, chosen, allowed, weights, device)
    terminal.close()
    run = inquiry.begin(asked, Path(runs), terminal.command)
    introduce(asked, run, terminal)
    terminal.answer(watch(asked, run, terminal))


def subject(found: "Study", arguments: Sequence[str]) -> tuple[str, Any]:
    """The data, and the trained network of a study about one.

    Raises:
        Refused: something of it is missing, or there is too much.
    """
    models = [word for word in arguments if is_model(word)]
    others = [word for word in arguments if not is_model(word)]
    if len(others) > 1 or len(models) > 1 or (models and not found.trained):
        what = "one run or weights file, and its data" if found.trained else "one data set"
        raise Refused(f"this study takes {what}", f"received {' '.join(arguments)}")
    if not found.trained:
        return (others or ["digits"])[0], None
    if not models:
        raise Refused(
            "this study is about a trained network",
            fix="give a run, a .safetensors file, or a name from `residua list weights`",
        )
    model = open_model(models[0])
    if not others and model.run is None:
        raise Refused("a weights file has no data of its own", fix="name the data after it")
    return (others or [model.run.info()["data"]["source"]])[0], model.weights  # type: ignore[union-attr]


def resume(path: Path, terminal: Terminal) -> None:
    """Go on with a study where it stopped; one that is done is told again."""
    from residua import inquiry

    terminal.live("reading the images")
    run, asked = inquiry.reopen(path)
    terminal.close()
    introduce(asked, run, terminal)
    terminal.answer(watch(asked, run, terminal))


def introduce(asked: "Inquiry", run: RunDirectory, terminal: Terminal) -> None:
    """Tell the question, and what was chosen for the budget."""
    data, known = asked.subject.data, asked.subject
    terminal.say((asked.study.question, EMPHASIS))
    cells = len(asked.study.cells(asked.factors))
    terminal.say(
        f"{data.name}: {count(len(known.train))} training and {count(len(known.test))} test images,"
        f" {known.look.size} pixels, {len(known.classes)} classes"
    )
    for note in (*data.notes, *known.notes):
        terminal.say("  ", note)
    chosen = {key: getattr(asked.factors, key) for key in asked.study.takes}
    words = ", ".join(
        f"{key.replace('_', ' ')} {plain(value)}"
        for key, value in chosen.items()
        if value is not None
    )
    terminal.say((f"  {words}", QUIET))
    terminal.say(f"{cells} cells on {asked.budget.workers} cores  ", (place(run.path), QUIET))


def watch(asked: "Inquiry", run: RunDirectory, terminal: Terminal) -> dict[str, Any]:
    """Follow a study to its end and tell it; what a program is told.

    Raises:
        Stopped: a signal came; the error says how to go on.
    """
    from residua import inquiry

    total, known = len(asked.study.cells(asked.factors)), 0
    try:
        for event in inquiry.follow(asked, run):
            if isinstance(event, inquiry.Concluded):
                terminal.close()
                ending(event, asked, run, terminal)
                continue
            known += 1
            tell(event, f"{known:>{len(str(total))}}/{total}  ", asked.study.columns, terminal)
            terminal.live(f"{known} of {total} cells are measured")
    except Stopped as error:
        raise Stopped(error.what, place(run.path), f"residua resume {place(run.path)}") from error
    finally:
        terminal.close()
    return answer(run.info(), run)


def tell(event: "Measured", at: str, columns: Sequence[str], terminal: Terminal) -> None:
    """Tell what came of a cell in a line: its errors, or its first numbers."""
    row, values = event.row, event.cell.values
    known = [key for key in columns if key in row and key not in (*values, "status")]
    errors = [key for key in known if key.endswith("error")]
    numbers = [
        f"{key.replace('_', ' ')} {percent(row[key]) if errors else plain(row[key])}"
        for key in errors or known[:NUMBERS]
    ]
    names = [
        value if isinstance(value, str) else f"{key.replace('_', ' ')} {plain(value)}"
        for key, value in values.items()
    ]
    terminal.say(
        at,
        (" ".join(names), EMPHASIS),
        f"  {', '.join(numbers)}",
        (f"  {duration(event.seconds)}", QUIET),
        (f"  {row['status']}" if row["status"] != DONE else "", WARNING),
    )


def ending(found: "Concluded", asked: "Inquiry", run: RunDirectory, terminal: Terminal) -> None:
    """Tell the errors over seeds, the verdict, where everything is, and what to do next."""
    info, verdict, where = run.info(), found.verdict, place(run.path)
    if rows := over_seeds(found.rows, asked.study.columns):
        terminal.tell()
        terminal.table(rows, right=range(1, len(rows[0]) - 1))
    terminal.tell()
    style = {True: GOOD, False: WARNING, None: EMPHASIS}[verdict.holds]
    terminal.tell((verdict.words, style))
    for line in verdict.limits:
        terminal.tell((line, QUIET))
    terminal.facts(
        [
            ("figure", place(run.path / info["figure"])),
            ("table", place(run.path / info["table"])),
            ("report", f"{where}/report.html"),
        ]
    )


def over_seeds(rows: "Sequence[Row]", columns: Sequence[str]) -> list[list[str]]:
    """The mean errors of rows that differ in their seed alone, the first one as a bar, too."""
    errors = [c for c in columns if c.endswith("error") and any(c in row for row in rows)]
    first = columns.index("status") if "status" in columns else 0
    names = [column for column in columns[:first] if column != "seed"]
    if not errors or not names:
        return []
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for row in rows:
        if row.get("status") != DONE or any(error in row for error in errors):  # else no training
            groups.setdefault(tuple(row.get(name) for name in names), []).append(row)
    table = [[" ".join(names), *(error.replace("_", " ") for error in errors), ""]]
    for key, group in groups.items():
        means = [fmean(float(row.get(error, 1.0)) for row in group) for error in errors]
        bar = "\N{FULL BLOCK}" * round(BAR * min(1.0, means[0]))
        table.append([" ".join(map(plain, key)), *map(percent, means), bar])
    return table


def answer(info: Mapping[str, Any], run: RunDirectory) -> dict[str, Any]:
    """What a program is told."""
    keys = ("study", "question", "holds", "p_value", "verdict", "numbers", "limits", "rows")
    paths = {key: str(run.path / info[key]) for key in ("table", "figure")}
    report = str(run.path / "report.html")
    return {"folder": str(run.path), **{key: info[key] for key in keys}, **paths, "report": report}
