"""An evaluation as it is told."""

from collections.abc import Mapping
from typing import Any

from residua.commands.terminal import EMPHASIS, QUIET, Part, Terminal
from residua.evaluate import Evaluation
from residua.words import interval, percent

WORST = 5  # classes that are listed


def headline(tested: Mapping[str, Any]) -> Part:
    """The error, how sure it is, and what was counted."""
    low, high = tested["interval"]
    return (
        f"{percent(tested['error'])}  (95 % interval {interval(low, high, tested['total'])} %; "
        f"{tested['wrong']:,} of {tested['total']:,} wrong)",
        EMPHASIS,
    )


def details(tested: Evaluation, terminal: Terminal) -> None:
    """Tell every number, and the classes with the largest errors."""
    numbers = tested.to_dict()
    terminal.facts(
        [
            ("error", headline(numbers)),
            ("top-5 error", percent(tested.top5_error) if len(tested.classes) > 5 else ""),
            ("calibration error", percent(numbers["calibration_error"])),
        ]
    )
    measured = [row for row in numbers["per_class"] if row["wrong"]]
    worst = sorted(measured, key=lambda row: -row["error"])[:WORST]
    if worst:
        terminal.tell()
        terminal.table(
            [
                ("hardest classes", "error", "wrong", "of", "precision"),
                *(
                    (
                        row["class"],
                        percent(row["error"], 1),
                        f"{row['wrong']:,}",
                        f"{row['total']:,}",
                        percent(row["precision"], 1),
                    )
                    for row in worst
                ),
            ],
            right=(1, 2, 3, 4),
        )
    perfect = sum(1 for row in numbers["per_class"] if row["total"] and not row["wrong"])
    if perfect:
        terminal.tell((f"{perfect} of {len(tested.classes)} classes without an error", QUIET))
