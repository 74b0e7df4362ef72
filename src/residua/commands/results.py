"""An evaluation as it is told."""

from typing import Any

from residua.commands.terminal import EMPHASIS, QUIET, Terminal
from residua.evaluate import Evaluation
from residua.words import interval, percent

WORST = 5  # classes that are listed


def headline(tested: Evaluation, name: str, terminal: Terminal) -> None:
    """Tell the error, how sure it is, and what was counted."""
    terminal.tell(
        (f"{name}  {percent(tested.error)}", EMPHASIS),
        f"   95 % interval {interval(*tested.interval, tested.total)} %,",
        f" {tested.wrong:,} of {tested.total:,} wrong",
    )


def details(tested: Evaluation, terminal: Terminal) -> None:
    """Tell the other numbers, and the classes with the largest errors."""
    numbers = tested.to_dict()
    terminal.facts(
        [
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


def summary(tested: Evaluation) -> dict[str, Any]:
    """The numbers of an evaluation that a program reads."""
    return tested.summary()
