"""`residua evaluate`: the error of a trained network."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from residua.commands.terminal import EMPHASIS, QUIET, WARNING, Terminal, place
from residua.errors import GateNotMet, Refused

if TYPE_CHECKING:
    from residua.commands.models import Model
    from residua.datasets.dataset import Dataset
    from residua.evaluate import Evaluation


@dataclass(frozen=True)
class Options:
    """How to evaluate."""

    protocol: Annotated[
        str, Parameter(help="views of each image, see `residua list protocols` [single]")
    ] = "single"
    split: Annotated[
        str | None,
        Parameter(help="test, validation, train or all [test; all of data without a test split]"),
    ] = None
    min_top1: Annotated[
        float | None,
        Parameter(metavar="0.9", help="exit with 7 if the share of right answers is below this"),
    ] = None
    batch: Annotated[
        int | None, Parameter(name=("--batch", "--batch-size", "-b"), help="images at a time")
    ] = None
    workers: Annotated[int, Parameter(help="processes that decode images ahead [0]")] = 0
    device: Annotated[str | None, Parameter(help="cpu, cuda or cuda:1")] = None


USUAL = Options()


def evaluate(
    *models: str,
    options: Annotated[Options, Parameter(name="*")] = USUAL,
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> None:
    """Measure the error of a trained network, and how sure the number is.

    An evaluation of a run on its own test images is saved in the run.

    Args:
        models: a run's folder or a weights file; then data, which a run has of its own
    """
    check(options)
    model, source = parted(models)
    from residua import api, workflow
    from residua.commands import results
    from residua.protocols import PROTOCOLS
    from residua.words import PROTOCOLS as WORDS

    if options.protocol not in PROTOCOLS:
        from residua.errors import unknown

        raise unknown("protocol", options.protocol, PROTOCOLS)
    terminal.live(f"reading {source or model.name}")
    dataset = opened(model, source)
    own = model.run is not None and workflow.is_own(model.run, dataset)
    split = options.split or workflow.usual_split(dataset, own)
    kept = model.run if own and split == "test" else None
    with kept.lock() if kept else nullcontext():
        terminal.live(f"evaluating {model.name}")
        tested = workflow.evaluate(
            model.weights,
            dataset,
            split,
            options.protocol,
            api.plain_execution(options.device),
            options.workers,
            options.batch,
        )
        if kept:
            workflow.keep(tested, kept, dataset, "residua evaluate")
    terminal.close()
    terminal.say(
        (model.name, EMPHASIS),
        f"  {tested.total:,} {split} images of {dataset.name}, {WORDS[options.protocol]}",
    )
    results.details(tested, terminal)
    where = finish(model, kept, terminal)
    terminal.answer(tested.summary() | {"saved": where})
    gate(tested, options.min_top1)


def check(options: Options) -> None:
    """Refuse what cannot be, before anything is read."""
    if options.min_top1 is not None and not 0 <= options.min_top1 <= 1:
        raise Refused(
            "--min-top1 is a share from 0 to 1", f"received {options.min_top1:g}", "as in 0.9"
        )
    if options.batch is not None and options.batch < 1 or options.workers < 0:
        raise Refused(
            "--batch must be at least 1 and --workers at least 0",
            f"received {options.batch} and {options.workers}",
        )


def parted(arguments: Sequence[str]) -> "tuple[Model, str | None]":
    """The model among the arguments, and the data if there is one.

    Raises:
        Refused: there is no model, or more than one model or data set.
    """
    from residua.commands.models import is_model, open_model

    models = [argument for argument in arguments if is_model(argument)]
    others = [argument for argument in arguments if not is_model(argument)]
    fix = "residua evaluate RUN, or residua evaluate WEIGHTS DATA"
    if not models and arguments:
        open_model(arguments[0])  # says what is wrong with it
    if not models:
        raise Refused("there is no run and no weights file to evaluate", fix=fix)
    if len(models) > 1:
        raise Refused(
            "several networks are not evaluated together yet",
            f"received {', '.join(models)}",
            "evaluate them one by one",
        )
    if len(others) > 1:
        raise Refused("there is more than one data set", f"received {', '.join(others)}", fix)
    return open_model(models[0]), others[0] if others else None


def opened(model: "Model", source: str | None) -> "Dataset":
    """The data that was given, or the run's own.

    Raises:
        Refused: there is neither.
    """
    from residua import datasets

    own = model.run.info()["data"] if model.run else {}
    source = source or own.get("source")
    if source is None:
        raise Refused("a weights file has no data of its own", fix="name the data after it")
    return datasets.load(source, own.get("seed", 0))  # the seed finds the run's test images again


def finish(model: "Model", kept: Any, terminal: Terminal) -> str | None:
    """Tell where the numbers are; return that place."""
    if kept is None:
        if model.run is not None:
            terminal.say()
            terminal.say(("not saved in the run: these are not its own test images", WARNING))
        return None
    where = place(kept.path / "evaluations")
    terminal.say()
    terminal.say(("saved in ", QUIET), where)
    terminal.say((f"next: residua report {place(kept.path)}", EMPHASIS))
    return where


def gate(tested: "Evaluation", least: float | None) -> None:
    """Raise GateNotMet where fewer answers are right than were demanded."""
    right = 1 - tested.error
    if least is not None and right < least:
        raise GateNotMet(
            f"{right:.4f} of the answers are right, and {least:g} were demanded",
            f"{tested.total - tested.wrong:,} of {tested.total:,} images",
        )
