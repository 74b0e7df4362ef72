"""A study from its question to its report.

begin       make the folder of a new one, or
reopen      take one up again
follow      measure its cells, conclude, draw, report

    <data>-<study>-<n>/
      study.json        question, factors, rows, verdict; status, command, versions, machine
      cells/            one file for each cell that is done
      figures/          the main figure's CSV holds the rows
      report.html
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from residua import checkpoints, datasets, plots, report, settings, studies
from residua.automatic import SMALL, automatic
from residua.checkpoints import Weights
from residua.datasets.dataset import Dataset
from residua.datasets.memory import in_memory
from residua.environment import environment
from residua.errors import Refused
from residua.execution import execution
from residua.factors import FACTORS, Factors
from residua.images import Preprocessing
from residua.prepare import facts, measured, refuse_unreadable, resized
from residua.question import Budget, Study, Subject, Verdict
from residua.recipes import Recipe
from residua.resources import cores
from residua.runs import DONE, STUDY, RunDirectory
from residua.sweeps import ALONE, Measured, Row, sweep
from residua.workflow import differences, now, status_after

FULL = "full"  # the budget of those who have the time that the papers took
SIDE = 32  # pixels that larger pictures are shrunk to, unless asked otherwise
RECIPE = Recipe(
    learning_rate=0.1,
    optimizer="sgd",
    schedule="step",
    validation=0.0,
    select="last",
    in_memory=True,
    **ALONE,
)  # He et al. 2016a, section 4.2, in torch's form of momentum


@dataclass(frozen=True)
class Inquiry:
    """A study under way."""

    name: str
    study: Study
    subject: Subject
    factors: Factors
    budget: Budget


class Concluded(NamedTuple):
    """All cells are measured."""

    rows: list[Row]
    verdict: Verdict


def prepare(
    name: str,
    source: str | Path | Dataset,
    given: Mapping[str, Any],
    budget: Budget,
    weights: Weights | None = None,
    device: str | None = None,
) -> Inquiry:
    """Decide everything about a study, and write nothing.

    Args:
        name: of a study.
        source: a data set, its path or its name.
        given: factors of the study.
        budget: how long it may take.
        weights: of the trained network that it is about, if it is about one.
        device: cpu, cuda or cuda:1; by default a GPU if there is one.

    Raises:
        Refused: no such study or factor, or a value that it cannot have.
        BadData: the data cannot be used.
    """
    study = studies.find(name)
    values = taken(name, study, given)
    if study.trained != (weights is not None):
        of = "a trained network" if study.trained else "images, not a trained network"
        raise Refused(f"the study {name} is about {of}", fix=f"see residua study {name} --help")
    subject = subject_of(source, values, weights, device)
    if weights is not None:
        weights.check(subject.classes, subject.data.name)
    if subject.execution.device.type != "cpu":
        budget = replace(budget, workers=1)
    factors = study.scale(limited(subject, values), values, budget)
    return Inquiry(name, study, limited(subject, factors), factors, budget)


def budget_of(text: str, workers: int | None) -> Budget:
    """A budget in words.

    Raises:
        Refused: it is no time, or there are not so many cores.
    """
    seconds = None if text == FULL else settings.duration(text)
    if seconds is None and text != FULL or seconds == 0:
        raise Refused(
            "a budget is a time such as 5m or 1h, or full", where=f"received --budget {text}"
        )
    have = cores()
    if workers is not None and not 1 <= workers <= have:
        raise Refused(
            "this machine does not have so many cores",
            where=f"received --workers {workers}",
            fix=f"it has {have}",
        )
    return Budget(text, seconds, workers or have)


def taken(name: str, study: Study, given: Mapping[str, Any]) -> Factors:
    """The factors that are given, checked."""
    source = f"residua study {name}"
    values = {key: settings.convert(key, each, source, FACTORS) for key, each in given.items()}
    for key, value in values.items():
        if key not in study.takes and value is not None:
            words = ", ".join("--" + each.replace("_", "-") for each in study.takes)
            raise Refused(
                f"the study {name} has no factor {key.replace('_', '-')}", fix=f"it has {words}"
            )
    return Factors(**values)


def subject_of(
    source: str | Path | Dataset, given: Factors, weights: Weights | None, device: str | None
) -> Subject:
    """Read the images, and shrink them to what a study can afford."""
    dataset = datasets.load(source)
    refuse_unreadable(dataset)
    known = facts(dataset, replace(RECIPE, device=device))._replace(cores=1)
    size, notes = given.size or known.size, []
    if weights is not None:
        size = weights.preprocessing.size
    elif given.size is None and size > SMALL:
        notes.append(f"images are shrunk from {size} to {SIDE} pixels; --size changes that")
        size = SIDE
    recipe, _ = automatic(replace(RECIPE, size=size, device=device), known)
    run_on = execution(recipe)
    look = Preprocessing(size, recipe.fit or "crop", resized(size))
    look = look if weights is None else weights.preprocessing
    splits = {role: in_memory(dataset.splits[role], look, cores()) for role in ("train", "test")}
    train, test = splits["train"], splits["test"]
    if weights is None:  # of all images, so that how many are studied changes no preprocessing
        look = measured(look, train, recipe)
    return Subject(dataset, train, test, look, recipe, run_on, weights, tuple(notes))


def limited(subject: Subject, factors: Factors) -> Subject:
    """The subject with so many training images as the factors allow."""
    return replace(subject, train=subject.train.evenly(factors.images))


def begin(inquiry: Inquiry, parent: Path, command: Sequence[str]) -> RunDirectory:
    """Make the folder of a new study."""
    data, weights = inquiry.subject.data, inquiry.subject.weights
    run = RunDirectory.create(parent, data.name, inquiry.name, STUDY)
    if weights is not None:
        checkpoints.write_weights(run.weights, weights)
    run.update(
        {
            "study": inquiry.name,
            "question": inquiry.study.question,
            "source": inquiry.study.source,
            "status": "new",
            "command": list(command),
            **environment(),
            "budget": asdict(inquiry.budget),
            "device": str(inquiry.subject.execution.device),
            "precision": inquiry.subject.execution.precision,
            "data": data.describe(),
            "network": weights.network if weights is not None else None,
            "factors": asdict(inquiry.factors),
            "notes": [*data.notes, *inquiry.subject.notes],
            "started": now(),
        }
    )
    return run


def reopen(path: Path) -> tuple[RunDirectory, Inquiry]:
    """Take up a study where it stopped.

    Raises:
        BadData: `path` is not a study.
        Refused: the data has changed since.
    """
    run = RunDirectory.open(path, STUDY)
    info = run.info()
    study, budget = studies.find(info["study"]), Budget(**info["budget"])
    given = taken(info["study"], study, {k: v for k, v in info["factors"].items() if v is not None})
    data = info["data"]
    dataset = datasets.load(data["source"], data["seed"])
    if dataset.fingerprint != data["fingerprint"]:
        raise Refused(
            "the data has changed since the study began",
            where=f"{dataset.source}: {differences(data, dataset.describe())}",
            fix="restore it, or begin anew: rows of different data cannot be compared",
        )
    weights = checkpoints.read_weights(run.weights) if run.weights.exists() else None
    subject = limited(subject_of(dataset, given, weights, info["device"]), given)
    return run, Inquiry(info["study"], study, subject, given, budget)


def follow(inquiry: Inquiry, run: RunDirectory) -> Iterator[Measured | Concluded]:
    """Measure what is not measured yet, conclude, draw and report, telling of each cell.

    Raises:
        Locked: another process works on it.
        Stopped, OutOfResources: the study can be taken up again.
    """
    study, chosen = inquiry.study, inquiry.factors
    cells = study.cells(chosen)
    order = {cell.key: place for place, cell in enumerate(cells)}
    measure = partial(study.measure, inquiry.subject, chosen)
    with run.lock():
        run.update({"status": "running", "cells": len(cells)})
        found: dict[str, Row] = {}
        try:
            for each in sweep(cells, measure, run.path / "cells", inquiry.budget.workers):
                found[each.cell.key] = each.row
                yield each
        except BaseException as error:
            run.update({"status": status_after(error), "ended": now()})
            raise
        rows = [found[key] for key in sorted(found, key=order.__getitem__)]
        verdict = study.conclude(chosen, rows)
        write(run, inquiry, rows, verdict)
    yield Concluded(rows, verdict)


def rewrite(path: Path) -> Path:
    """Write the page of a study again from what its folder holds.

    Raises:
        BadData: `path` is not a study.
    """
    run = RunDirectory.open(path, STUDY)
    with run.lock():
        run.write_text("report.html", report.study_page(run))
    return run.path / "report.html"


def write(run: RunDirectory, inquiry: Inquiry, rows: list[Row], verdict: Verdict) -> None:
    """Leave the rows, the figures, the verdict and the page."""
    study = inquiry.study
    table = [{column: row.get(column) for column in study.columns} for row in rows]
    main = next(iter(study.figures))
    for name, picture in study.figures.items():
        draw = partial(picture.draw, inquiry.factors, rows)
        plots.save(draw, run.figures, name, table if name == main else ())
    run.update(
        {
            "status": DONE,
            "ended": now(),
            "columns": list(study.columns),
            "captions": {name: picture.caption for name, picture in study.figures.items()},
            "rows": rows,
            "verdict": verdict.words,
            "holds": verdict.holds,
            "p_value": verdict.p_value,
            "numbers": dict(verdict.numbers),
            "limits": list(verdict.limits),
            "table": f"figures/{main}.csv",
            "figure": f"figures/{main}.svg",
        }
    )
    run.write_text("report.html", report.study_page(run))
