"""`residua predict`: what is in pictures."""

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.cells import cell_len

from residua.commands.models import open_model
from residua.commands.sorting import copy_into
from residua.commands.terminal import (
    EMPHASIS,
    GOOD,
    QUIET,
    WARNING,
    Terminal,
    padded,
    place,
)
from residua.errors import Refused
from residua.words import harmless, percent

if TYPE_CHECKING:
    from residua.predictor import Answer

FORMATS = (".csv", ".jsonl")
NAME_WIDTH = 48  # columns up to which names are aligned
SHOWN = 3  # classes printed for each picture


@dataclass(frozen=True)
class Options:
    """How to predict."""

    top: Annotated[int, Parameter(help="classes to give for each picture [5]")] = 5
    out: Annotated[str | None, Parameter(metavar="FILE", help="write FILE.csv or FILE.jsonl")] = (
        None
    )
    threshold: Annotated[
        float, Parameter(metavar="0.5", help="below this score the label is left empty: unsure [0]")
    ] = 0.0
    sort_into: Annotated[
        str | None,
        Parameter(metavar="DIR", help="copy each picture into the folder of its class here"),
    ] = None
    shard: Annotated[
        str | None, Parameter(metavar="i/n", help="only every n-th picture: 1/4, 2/4, 3/4 or 4/4")
    ] = None
    device: Annotated[str | None, Parameter(help="cpu, cuda or cuda:1")] = None


USUAL = Options()


def predict(
    model: str,
    /,
    *images: str,
    options: Annotated[Options, Parameter(name="*")] = USUAL,
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> int:
    """Name what is in pictures, with a score for each class.

    A picture that cannot be read is listed at the end, does not stop the others, and makes the
    exit code 3.

    Args:
        model: a run's folder, such as runs/latest, or a weights file
        images: files, folders, patterns such as 'new/*.jpg', or - for paths on standard input
    """
    check(options, images)
    weights = open_model(model).weights
    from residua import api
    from residua.commands.pictures import expanded, shard

    paths = shard(expanded(images, sys.stdin), options.shard)
    answers = api.predict(weights, paths, options.top, options.device)
    longest = max((len(harmless(str(path))) for path in paths), default=0)
    widths = min(NAME_WIDTH, longest), min(NAME_WIDTH, max(map(cell_len, weights.classes)))
    rows = []
    for done, answer in enumerate(answers, 1):
        row = row_of(answer, options.threshold)
        if options.sort_into and not answer.error:
            copy = copy_into(Path(options.sort_into), row["label"], Path(answer.name))
            row["copy"] = str(copy)
        rows.append(row)
        if not answer.error and not options.out:
            tell(row, widths, terminal)
        terminal.live(f"{done:,} of {len(paths):,} pictures")
    terminal.close()
    if options.out:
        write(Path(options.out), rows)
    return conclude(rows, options, weights.sha256, terminal)


def check(options: Options, images: tuple[str, ...]) -> None:
    """Refuse what cannot be, before anything is read."""
    suffix = Path(options.out or "x.csv").suffix.lower()
    if suffix not in FORMATS:
        raise Refused(
            f'predictions are not written as "{suffix}"',
            f"--out {options.out}",
            f"give a file that ends in {' or '.join(FORMATS)}",
        )
    if not images:
        fix = "residua predict RUN FILE, FOLDER or 'new/*.jpg'; - reads paths on standard input"
        raise Refused("IMAGES are missing", "residua predict", fix)
    if options.top < 1:
        raise Refused("--top must be at least 1", f"received {options.top}")
    if not 0 <= options.threshold <= 1:
        fix = "give a score from 0 to 1"
        raise Refused("--threshold is a score", f"received {options.threshold:g}", fix)


def row_of(answer: "Answer", threshold: float) -> dict[str, Any]:
    """What is written about one picture; an unsure label is empty."""
    if answer.error:
        return {"name": answer.name, "error": answer.error}
    best = answer.predictions[0]
    return {
        "name": answer.name,
        "label": best.label if best.score >= threshold else "",
        "score": best.score,
        "predictions": [prediction._asdict() for prediction in answer.predictions],
    }


def tell(row: dict[str, Any], widths: tuple[int, int], terminal: Terminal) -> None:
    """Print the answer for one picture: its name, the best class, and dimly the next ones."""
    sure = bool(row["label"])
    others = row["predictions"][1 if sure else 0 : SHOWN]
    terminal.tell(
        padded(harmless(row["name"]), widths[0]) + "  ",
        (padded(row["label"] or "unsure", widths[1]), EMPHASIS if sure else WARNING),
        (f"  {percent(row['score'], 1):>7}" if sure else "", GOOD),
        ("".join(f"   {other['label']} {percent(other['score'], 1)}" for other in others), QUIET),
    )


def write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write the answers whole or not at all."""
    from residua import durable

    lines = jsonl(rows) if path.suffix.lower() == ".jsonl" else table(rows)
    durable.write(path, "".join(lines).encode("utf-8", "surrogateescape"))


def jsonl(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    return (json.dumps(row) + "\n" for row in rows)


def table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """CSV with the columns name, label, score, top ("cat:0.61 dog:0.20") and error."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("name", "label", "score", "top", "error"))
    for row in rows:
        top = " ".join(f"{p['label']}:{p['score']:.4f}" for p in row.get("predictions", ()))
        score = f"{row['score']:.6f}" if "score" in row else ""
        writer.writerow((row["name"], row.get("label", ""), score, top, row.get("error", "")))
    yield file.getvalue()


def conclude(rows: list[dict[str, Any]], options: Options, weights: str, terminal: Terminal) -> int:
    """Tell what was done and what could not be read; return the exit code."""
    failed = [row for row in rows if "error" in row]
    unsure = sum(1 for row in rows if row.get("label") == "")
    if failed:
        terminal.complain(f"{len(failed):,} of {len(rows):,} pictures cannot be read")
        for row in failed:
            terminal.complain(f"  {row['name']}: {row['error']}")
    counts = f"{len(rows) - len(failed):,} pictures answered" + (
        f", {unsure:,} unsure" * bool(unsure)
    )
    terminal.say((counts, QUIET))
    terminal.facts(
        [
            ("predictions", place(Path(options.out)) if options.out else ""),
            ("copies", place(Path(options.sort_into)) if options.sort_into else ""),
        ]
    )
    terminal.answer(
        {
            "weights": weights,
            "answered": len(rows) - len(failed),
            "unsure": unsure,
            "predictions": [row for row in rows if "error" not in row],
            "failed": failed,
            "out": options.out,
        }
    )
    return 3 if failed else 0
