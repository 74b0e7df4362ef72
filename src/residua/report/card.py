"""The card of a run: what its weights are for, how good they are, and where they end.

CARD.md travels with weights.safetensors and answers what a stranger asks before using them. It
states what was measured and nothing else; what a run does not hold is said to be absent.
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import NamedTuple

from residua.plots import confused_pairs, number, printable, series
from residua.report.caveats import calibrated, readings, sentence
from residua.report.findings import Findings, HasPath, Result, read
from residua.words import (
    STATUS,
    count,
    duration,
    interval,
    moment,
    percent,
    place,
    plain,
)

FITTED = ("temperature", "abstention")  # on validation images
SELECTION = {  # values of the setting `select`
    "best": "The weights are those of the lowest validation error. "
    "The test split took no part in the choice.",
    "last": "The weights are those of the last step: nothing was chosen.",
}


class Headline(NamedTuple):
    """The number that a run stands for: "Test error", "2.22 %" and how it was measured."""

    label: str
    value: str
    detail: str

    def __str__(self) -> str:
        sentence = f"{self.label} {self.value}".strip()
        return f"{sentence} ({self.detail})" if self.detail else sentence


def headline(found: Findings) -> Headline:
    """Return the test error with its interval and protocol, or what there is instead."""
    if found.results:
        result = found.results[0]
        span = interval(result.low, result.high, result.total)
        parts = [f"95 % interval {span}"] * bool(span)
        parts.append(f"{result.wrong:,} of {result.total:,} wrong")
        parts.append(result.asked)
        parts += reads(found) if result.split == "test" else ["the test split was not read"]
        label = f"{result.split.capitalize()} error"
        return Headline(label, percent(result.error), "; ".join(parts))
    epochs, errors = series(found.rows, "validation", "error")
    known = [pair for pair in zip(errors, epochs, strict=True) if isfinite(pair[0])]
    if not known:
        return Headline("No error measured yet", "", "")
    error, epoch = min(known)
    detail = f"the lowest, at epoch {epoch:g}; not evaluated on the test split"
    return Headline("Validation error", percent(error), detail)


def reads(found: Findings) -> list[str]:
    """How often the test split was read: each look is a chance to choose by it."""
    times = found.run.get("test_reads")
    if not isinstance(times, list) or not times:
        return []
    return [f"test split read {'once' if len(times) == 1 else f'{len(times)} times'}"]


def commands(found: Findings) -> list[str]:
    """Return the command that made the run, and those that repeat and check it."""
    given = found.run.get("command")
    lines = (
        [" ".join(shlex.quote(plain(part)) for part in given)] if isinstance(given, list) else []
    )
    where = shlex.quote(place(found.path))
    data = shlex.quote(plain(found.part("data").get("source", "DATA")))
    lines.append(f"residua train {data} --config {where}/recipe.json")
    return [*lines, f"residua evaluate {where}", f"residua verify {where}"]


def preparation(found: Findings) -> str:
    """Return how a picture becomes the network's input, in a sentence, or nothing."""
    stored = found.weights.get("preprocessing")
    if not isinstance(stored, dict) or "size" not in stored:
        return ""
    size, resize = plain(stored["size"]), plain(stored.get("resize", stored["size"]))
    fits = {
        "crop": f"its shorter side is brought to {resize} pixels and the middle is cut out",
        "pad": "it is reduced as a whole and padded with black",
        "squash": "it is squashed to a square",
    }
    fit = fits.get(str(stored.get("fit")), "it is made square")
    mean = stored.get("mean")
    kind = "pixel" if isinstance(mean, list) and len(mean) > 3 else "channel"
    values = f" ({plain(mean)})" if kind == "channel" else ""
    return (
        f"A picture is decoded to RGB and turned upright; {fit}: {size} x {size} pixels. "
        f"Values run from 0 to 1; the mean of each {kind}{values} is subtracted and the result "
        f"divided by the standard deviation ({plain(stored.get('std'))}). "
        "The weights carry these values, so that every command prepares pictures alike."
    )


def limits(found: Findings) -> list[str]:
    """Return what a user must not expect, from what was measured."""
    lines = [
        "It answers with one of its classes for any picture, also for one that shows none of them."
    ]
    if status := STATUS.get(str(found.run.get("status"))):
        lines.append(status)
    lines += readings(found.run.get("test_reads"))
    if not found.results:
        return [
            *lines,
            "It has not been evaluated: nothing is known of its errors on new pictures.",
        ]
    result = found.results[0]
    lines.append(
        f"The error is that of {result.total:,} pictures from the same source as the training "
        "data. Pictures of another camera, time or place may fare worse: evaluate it on yours."
    )
    return [*lines, *result.caveats, *weak_points(result)]


def weak_points(result: Result) -> list[str]:
    """Return the class most often wrong, the most frequent confusion and how far scores are off."""
    lines = []
    known = [row for row in result.classes if isfinite(row.error)]
    worst = max(known, key=lambda row: row.error, default=None)
    if worst and worst.wrong:
        lines.append(
            f'"{printable(worst.name)}" is most often wrong: {percent(worst.error, 1)} of its '
            f"pictures ({worst.wrong} of {worst.total})."
        )
    names = [row.name for row in result.classes]
    if len(result.confusion) == len(names) and names:
        lines += [
            f'The most frequent confusion: "{printable(true)}" taken for "{printable(other)}", '
            f"{times} times."
            for true, other, times in confused_pairs(result.confusion, names, 1)
        ]
    if isfinite(result.calibration_error):
        by_chance = all(map(isfinite, result.chance))
        lines.append(
            "Its scores differ from how often it is right by "
            + (
                f"{calibrated(result.calibration_error, result.chance)}."
                if by_chance
                else f"{percent(result.calibration_error)}."
            )
        )
    if result.found.get("label_check"):
        lines.append(sentence(result.found["label_check"]))
    return lines


def markdown(text: object) -> str:
    """Return text that Markdown and HTML show as it is written."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&!$])", r"\\\1", printable(plain(text)))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [[markdown(cell) for cell in row] for row in rows]
    return ["| " + " | ".join(line) + " |" for line in ([*head], ["---"] * len(head), *lines)]


def _code(language: str, lines: Iterable[str]) -> list[str]:
    """Return a fenced block that its own text cannot close."""
    text = [printable(line) for line in lines]
    longest = max((len(run) for line in text for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence + language, *text, fence]


def card(run: HasPath) -> str:
    """Return CARD.md: use, classes, data, preparation, numbers, training, limits, reproduction."""
    found = read(run)
    where = place(found.path)
    sections = {
        "What it is for": _purpose(found),
        "How good it is": _numbers(found),
        "Limits": [f"- {markdown(line)}" for line in limits(found)],
        "Data": _data(found),
        "How a picture is prepared": [markdown(preparation(found))] if preparation(found) else [],
        "How it was trained": _training(found),
        "Use it": _use(where),
        "Repeat and check it": _code("sh", commands(found)),
    }
    lines = [
        f"# {markdown(found.path.absolute().name)}",
        "",
        f"**{markdown(str(headline(found)))}**",
    ]
    for title, body in sections.items():
        lines += ["", f"## {title}", "", *(body or ["Not recorded."])]
    if found.missing:
        lines += ["", f"Incomplete: {markdown('; '.join(found.missing))}."]
    return "\n".join(lines) + "\n"


def _purpose(found: Findings) -> list[str]:
    n = len(found.classes)
    parameters = count(number(found.run.get("parameters")))
    size = f", {parameters} parameters" if parameters else ""
    lines = [
        f"A residual network ({markdown(found.network or 'unnamed')}{size}) "
        f"that sorts pictures into {n or 'the'} classes."
    ]
    if n:
        names = ", ".join(markdown(name) for name in found.classes[:200])
        lines += ["", f"Classes: {names}{', ...' * (n > 200)}."]
    return lines


def counted(r: Result) -> tuple[str, str, str, str, str]:
    """An evaluation as cells: split, protocol, error, interval and count."""
    return (
        r.split,
        r.asked,
        percent(r.error),
        interval(r.low, r.high, r.total),
        f"{r.wrong:,} of {r.total:,}",
    )


def _numbers(found: Findings) -> list[str]:
    if not found.results:
        return [markdown(str(headline(found))) + "."]
    head = ("split", "protocol", "error", "95 % interval", "wrong", "top-5 error")
    rows = [
        (
            *counted(r),
            percent(r.top5_error) if len(r.classes) > 5 and isfinite(r.top5_error) else "",
        )
        for r in found.results
    ]
    notes = [f"- {markdown(line)}" for line in remarks(found)]
    rule = next((s.value for s in found.settings if s.name == "select"), "")
    selected = ["", SELECTION[rule]] if rule in SELECTION else []
    return [*_table(head, rows), *([""] * bool(notes)), *notes, *selected]


def remarks(found: Findings) -> list[str]:
    """What lessens each evaluation's number, and what was fitted on validation images."""
    lines = []
    for result in found.results:
        of = f"{result.split}, {result.asked}: "
        lines += [of + line for line in result.caveats]
        lines += [f"{of}{result.found[kind]}." for kind in FITTED if kind in result.found]
    return lines


def _data(found: Findings) -> list[str]:
    data = {k: v for k, v in found.part("data").items() if k not in ("source", "notes")}
    return [
        f"- {markdown(name.replace('_', ' '))}: {markdown(value)}" for name, value in data.items()
    ]


def _training(found: Findings) -> list[str]:
    run = found.run
    facts: Mapping[str, str] = {
        "started": moment(run.get("started")),
        "took": duration(number(run.get("seconds"))),
        "device": plain(run.get("device", "")),
        "precision": plain(run.get("precision", "")),
        "seed": plain(run.get("seed", "")),
        "versions": plain(run.get("versions", "")),
    }
    lines = [f"- {name}: {markdown(value)}" for name, value in facts.items() if value]
    chosen = [
        (s.name.replace("_", "-"), s.value, s.source)
        for s in found.settings
        if s.source != "default" and s.value != "none"
    ]
    if chosen:
        lines += ["", *_table(("setting", "value", "from"), chosen)]
        lines += ["", "All settings, with the defaults, are in recipe.json."]
    return lines


def _use(where: str) -> list[str]:
    python = (
        "import residua as rs",
        "",
        f"run = rs.Run.open({where!r})",
        'run.predict("picture.jpg")',
    )
    return [
        *_code("sh", [f"residua predict {shlex.quote(where)} picture.jpg"]),
        "",
        *_code("python", python),
    ]
