"""An evaluation as it is told."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from residua.commands.terminal import EMPHASIS, QUIET, WARNING, Part, Terminal
from residua.comparisons import compare
from residua.evaluate import Evaluation
from residua.report.caveats import calibrated, caveats
from residua.words import interval, listed, percent

if TYPE_CHECKING:
    from residua.commands.subjects import Subject

WORST = 5  # classes that are listed, and images that could not be read
DOUBTED = 5  # labels that are listed


def headline(tested: Mapping[str, Any]) -> Part:
    """The error, how sure it is, and what was counted."""
    low, high = tested["interval"]
    return (
        f"{percent(tested['error'])}  (95 % interval {interval(low, high, tested['total'])} %; "
        f"{tested['wrong']:,} of {tested['total']:,} wrong)",
        EMPHASIS,
    )


def on_what(subject: "Subject", tested: Evaluation) -> str:
    """The images, and the protocol with its scales."""
    usual = tested.scales if not tested.protocol.scales else ()  # given ones are in its words
    scales = f" ({', '.join(map(str, usual))} pixels)" if usual else ""
    return (
        f"{tested.total:,} {subject.split} images of {subject.dataset.name}, "
        f"{tested.protocol.words()}{scales}"
    )


def numbers(tested: Evaluation) -> dict[str, Any]:
    """The numbers of an evaluation that are short enough for an answer."""
    every = tested.to_dict()
    return {key: value for key, value in every.items() if key not in ("per_class", "confusion")}


def details(tested: Evaluation, about: Mapping[str, Any], terminal: Terminal) -> None:
    """Tell every number, the classes with the largest errors, and what to beware of."""
    every = tested.to_dict()
    terminal.facts(
        [
            ("error", headline(every)),
            ("top-5 error", percent(tested.top5_error) if len(tested.classes) > 5 else ""),
            (
                "calibration error",
                calibrated(every["calibration_error"], every["calibration_error_by_chance"]),
            ),
            ("scores", about.get("temperature", {}).get("verdict", "")),
            ("answers", about.get("abstention", {}).get("verdict", "")),
            ("labels", about.get("label_check", {}).get("verdict", "")),
        ]
    )
    for line in caveats({**every, **about}):
        terminal.tell((line, WARNING))
    bad = [name for name, known in zip(tested.names, tested.readable, strict=True) if not known]
    if bad or tested.skipped:
        terminal.tell("unreadable: ", listed([*bad, *tested.skipped], WORST))
    suspects = about.get("label_check", {}).get("suspects", [])[:DOUBTED]
    if suspects:
        terminal.tell()
        head = ("doubted labels", "label", "rather", "margin")
        rows = [(s["name"], s["label"], s["suggested"], f"{s['margin']:.2f}") for s in suspects]
        terminal.table([head, *rows], right=(3,))
    hardest(every["per_class"], terminal)


def hardest(classes: Sequence[Mapping[str, Any]], terminal: Terminal) -> None:
    """Tell the classes with the largest errors."""
    measured = [row for row in classes if row["wrong"]]
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
    perfect = sum(1 for row in classes if row["total"] and not row["wrong"])
    if perfect:
        terminal.tell((f"{perfect} of {len(classes)} classes without an error", QUIET))


def members(
    names: Sequence[str], alone: Sequence[Evaluation], about: Mapping[str, Any], terminal: Terminal
) -> list[dict[str, Any]]:
    """Tell the error of each network, and its share where one was fitted."""
    shares = about.get("shares", {})
    rows = [
        (
            name,
            percent(each.error),
            f"{interval(*each.interval, each.total)} %",
            f"{each.wrong:,}",
            *([percent(shares[name], 1)] if shares else []),
        )
        for name, each in zip(names, alone, strict=True)
    ]
    head = ("network", "error", "95 % interval", "wrong", *(["share"] if shares else []))
    terminal.tell()
    terminal.table([head, *rows], right=range(1, len(head)))
    return [{"network": n} | each.summary() for n, each in zip(names, alone, strict=True)]


def gain(
    names: Sequence[str], together: Evaluation, alone: Sequence[Evaluation], terminal: Terminal
) -> dict[str, Any]:
    """Tell what the ensemble gains over the network that is best on these images, and the mean."""
    name, best = min(zip(names, alone, strict=True), key=lambda pair: pair[1].wrong)
    found = compare(together.answers("the ensemble"), best.answers(name))
    mean = sum(each.error for each in alone) / len(alone)
    terminal.tell()
    terminal.tell(
        f"alone the networks have {percent(mean)} on average, at best {percent(best.error)}"
    )
    terminal.tell((found.verdict(), EMPHASIS))
    return found.to_dict() | {"mean_error": mean}
