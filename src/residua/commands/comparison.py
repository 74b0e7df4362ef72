"""What `residua evaluate --compare` tells: which of several networks is better, and how surely."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from residua import durable, plots, report
from residua.commands import results
from residua.commands.terminal import EMPHASIS, QUIET, WARNING, Terminal, place
from residua.comparisons import Comparison, compare_all
from residua.evaluate import Evaluation
from residua.report.caveats import caveats

if TYPE_CHECKING:
    from residua.commands.subjects import Subject

COLUMNS = ("both_wrong", "only_first_wrong", "only_second_wrong")


def told(
    subject: "Subject", alone: Sequence[Evaluation], out: str | None, terminal: Terminal
) -> None:
    """Tell the error of each network and the verdict on each pair."""
    pairs = zip(alone, subject.names, strict=True)
    found = compare_all([tested.answers(name) for tested, name in pairs])
    terminal.say(
        (f"{len(alone)} networks", EMPHASIS), f"  {results.on_what(subject, alone[0])}, each alone"
    )
    evaluations = results.members(subject.names, alone, {}, terminal)
    for line in caveats(alone[0].summary()):
        terminal.tell((line, WARNING))
    terminal.tell()
    terminal.table([("one", "other", "both wrong", "only one", "only other", "p"), *rows(found)],
                   right=range(2, 6))  # fmt: skip
    terminal.tell()
    for pair in found:
        terminal.tell((pair.verdict(), EMPHASIS if pair.better else ""))
    saved = None if out is None else written(found, evaluations, Path(out))
    if saved is not None:
        terminal.say()
        terminal.say(("saved in ", QUIET), saved)
    comparisons = [pair.to_dict() for pair in found]
    terminal.answer({"evaluations": evaluations, "comparisons": comparisons, "saved": saved})


def rows(found: Sequence[Comparison]) -> list[tuple[str, ...]]:
    """The pairs as a table: what each gets wrong that the other gets right."""
    return [
        (
            pair.first,
            pair.second,
            *(f"{getattr(pair, column):,}" for column in COLUMNS),
            f"{pair.p:.2g}",
        )
        for pair in found
    ]


def written(
    found: Sequence[Comparison], evaluations: Sequence[Mapping[str, Any]], folder: Path
) -> str:
    """Write the page, the table and the figure of all pairs; return where."""
    table = [pair.to_dict() for pair in found]
    plots.save(partial(plots.differences, table), folder, "differences", table)
    text = json.dumps({"comparisons": table}, indent=1)
    durable.write(folder / "comparisons.json", text.encode() + b"\n")
    page = report.several("Which network is better", evaluations, table)
    durable.write(folder / "comparisons.html", page.encode())
    return place(folder)
