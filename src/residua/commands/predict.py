"""`residua predict`: what is in pictures."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.cells import cell_len

from residua import engines
from residua.commands import tables
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
from residua.engines import Choice
from residua.errors import BadData, Refused
from residua.words import harmless, percent

if TYPE_CHECKING:
    from residua.checkpoints import Weights
    from residua.images import Pixels
    from residua.predictor import Answer, Predictor

NAME_WIDTH = 48  # columns up to which names are aligned
SHOWN = 3  # classes printed for each picture
SAMPLES = 100  # pictures from which int8 takes the ranges of its numbers


@dataclass(frozen=True)
class Options:
    """How to predict."""

    top: Annotated[int, Parameter(help="classes to give for each picture [5]")] = 5
    out: Annotated[
        str | None,
        Parameter(metavar="FILE", help="write FILE.csv, FILE.jsonl or FILE.parquet"),
    ] = None
    features: Annotated[
        str | None,
        Parameter(
            metavar="FILE",
            help="write the network's feature vector of each picture, FILE.parquet or FILE.npz",
        ),
    ] = None
    level: Annotated[
        int | None,
        Parameter(help="take the features where maps have the input's size / 2^level [the last]"),
    ] = None
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
    engine: Annotated[
        str,
        Parameter(
            help="what runs the network, see `residua list engines`; auto is the fastest one that "
            "keeps the best class [folded]"
        ),
    ] = "folded"
    precision: Annotated[
        str | None, Parameter(metavar="fp32|bf16|int8", help="of the engine [fp32]")
    ] = None


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
    from residua.predictor import Predictor

    paths = shard(expanded(images, sys.stdin), options.shard)
    choice = Choice(options.engine, options.precision or "", len(paths), bool(options.features))
    calibration = samples(paths) if options.precision == "int8" else []
    run_on = api.plain_execution(options.device)
    predictor = Predictor(weights, run_on, choice=choice, calibration=calibration)
    for note in predictor.notes:
        terminal.complain(f"note: {note}")
    stage = predictor.stage(options.level) if options.features else ""
    longest = max((len(harmless(str(path))) for path in paths), default=0)
    widths = min(NAME_WIDTH, longest), min(NAME_WIDTH, max(map(cell_len, weights.classes)))
    written = options.out or options.features
    tally = Tally()
    about = origin(weights, predictor, stage) if written else {}
    with tables.tables(options.out, options.features, about) as add:
        for answer in predictor.predict(paths, options.top, stage):
            row = row_of(answer, options.threshold)
            if options.sort_into and not answer.error:
                copy = copy_into(Path(options.sort_into), row["label"], Path(answer.name))
                row["copy"] = str(copy)
            add(row, answer.features)
            tally.count(row, keep=terminal.json and not written)
            if not answer.error and not written:
                tell(row, widths, terminal)
            terminal.live(f"{tally.pictures:,} of {len(paths):,} pictures")
    terminal.close()
    return conclude(tally, options, weights.sha256, terminal)


def check(options: Options, images: tuple[str, ...]) -> None:
    """Refuse what cannot be, before anything is read."""
    engines.check(Choice(options.engine, options.precision or ""))
    tables.check("--out", options.out, tables.PREDICTIONS)
    tables.check("--features", options.features, tables.FEATURES)
    if options.out and options.features and Path(options.out) == Path(options.features):
        raise Refused("predictions and features need a file each", f"--out {options.out}")
    if options.level is not None and options.features is None:
        fix = "add --features FILE.parquet"
        raise Refused("--level chooses among features", f"received --level {options.level}", fix)
    if not images:
        fix = "residua predict RUN FILE, FOLDER or 'new/*.jpg'; - reads paths on standard input"
        raise Refused("IMAGES are missing", "residua predict", fix)
    if options.top < 1:
        raise Refused("--top must be at least 1", f"received {options.top}")
    if not 0 <= options.threshold <= 1:
        fix = "give a score from 0 to 1"
        raise Refused("--threshold is a score", f"received {options.threshold:g}", fix)


def samples(paths: Sequence[Path]) -> "list[Pixels]":
    """Some of the pictures, those left out that cannot be read."""
    from residua.predictor import decoded_or_why

    found = (decoded_or_why(path) for path in paths[:: max(1, len(paths) // SAMPLES)])
    return [pixels for pixels in found if not isinstance(pixels, BadData)][:SAMPLES]


def origin(weights: "Weights", predictor: "Predictor", stage: str) -> dict[str, Any]:
    """Where predictions and features come from, for whoever finds the file."""
    import numpy as np

    from residua.environment import environment

    size = weights.preprocessing.size
    about = {
        "weights": weights.sha256,
        "network": weights.network,
        "preprocessing": weights.preprocessing.to_dict(),
        "versions": environment()["versions"],
    }
    if not stage:
        return about
    _, features = predictor.both([np.zeros((size, size, 3), np.uint8)], stage)
    return about | {"layer": f"features.{stage}", "width": features.shape[1]}


@dataclass
class Tally:
    """What is known of all pictures so far."""

    answered: int = 0
    unsure: int = 0
    failed: list[dict[str, Any]] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)  # answers

    @property
    def pictures(self) -> int:
        return self.answered + len(self.failed)

    def count(self, row: dict[str, Any], keep: bool) -> None:
        """Take one more picture into account, and keep its answer if so asked."""
        if "error" in row:
            self.failed.append(row)
            return
        self.answered += 1
        self.unsure += row["label"] == ""
        if keep:
            self.kept.append(row)


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


def conclude(tally: Tally, options: Options, weights: str, terminal: Terminal) -> int:
    """Tell what was done and what could not be read; return the exit code."""
    failed = tally.failed
    if failed:
        terminal.complain(f"{len(failed):,} of {tally.pictures:,} pictures cannot be read")
        for row in failed:
            terminal.complain(f"  {row['name']}: {row['error']}")
    counts = f"{tally.answered:,} pictures answered" + f", {tally.unsure:,} unsure" * bool(
        tally.unsure
    )
    terminal.say((counts, QUIET))
    places = {
        "predictions": options.out,
        "features": options.features,
        "copies": options.sort_into,
    }
    terminal.facts([(name, place(Path(path)) if path else "") for name, path in places.items()])
    answers = {} if options.out or options.features else {"predictions": tally.kept}
    terminal.answer(
        {
            "weights": weights,
            "answered": tally.answered,
            "unsure": tally.unsure,
            **answers,
            "failed": failed,
            "out": options.out,
            "features": options.features,
        }
    )
    return 3 if failed else 0
