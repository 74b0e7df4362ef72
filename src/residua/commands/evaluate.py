"""`residua evaluate`: the error of a trained network, or of several together."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import Parameter

from residua.commands import subjects
from residua.commands.asking import USUAL, Options, check, choice_of, protocol_of
from residua.commands.terminal import EMPHASIS, QUIET, WARNING, Terminal, place
from residua.errors import GateNotMet, Refused

if TYPE_CHECKING:
    from residua.checkpoints import Weights
    from residua.commands.subjects import Subject
    from residua.evaluate import Evaluation
    from residua.execution import Execution
    from residua.protocols import Protocol
    from residua.testing import Asking


class Asked(NamedTuple):
    """What the networks answered together and alone, and what else was found."""

    tested: "Evaluation"
    alone: "list[Evaluation]"
    about: dict[str, Any]


def evaluate(
    *models: str,
    options: Annotated[Options, Parameter(name="*")] = USUAL,
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> None:
    """Measure the error of a trained network, and how sure the number is.

    Several networks answer together: the mean of their scores; with --compare each alone.
    An evaluation of one run on its own test images is saved in the run.

    Args:
        models: runs' folders or weights files; then data, which runs have of their own
    """
    arguments, source = subjects.parted(models)
    check(options, len(arguments))
    from residua import distributed

    protocol = protocol_of(options)
    terminal.live(f"reading {source or arguments[0]}")
    subject = subjects.opened(arguments, source, options.split)
    with subjects.locked(subject.readers):
        terminal.live(f"evaluating {', '.join(subject.names)}")
        asked = ask(subject, options, protocol)
        if distributed.rank():
            return  # the first process tells and writes
        about = recorded(subject, asked, options)
    terminal.close()
    if options.compare:
        from residua.commands import comparison

        comparison.told(subject, asked.alone, options.out, terminal)
        return
    told(subject, asked._replace(about=about), options, terminal)
    gate(asked.tested, options.min_top1)


def ask(subject: "Subject", options: Options, protocol: "Protocol") -> Asked:
    """Ask about the validation images, if something is fitted on them, and then about the split.

    Raises:
        Refused: there is nothing to fit on, or the validation images cannot promise so much.
    """
    from residua import api, selection, testing

    weights = [model.weights for model in subject.models]
    run_on = api.plain_execution(options.device)
    how = (options.skip_unreadable, options.workers, options.batch, choice_of(options))
    asking = testing.Asking(protocol, (), *how)
    about: dict[str, Any] = {}
    if options.engine != "torch" or options.precision:
        about["engine"] = f"{options.engine} {options.precision or ''}".strip()
    cut = heat = None
    if options.weigh or options.calibrate or options.answers_right is not None:
        together, alone = validated(subject, weights, run_on, asking)
        if options.weigh:
            asking = asking._replace(shares=selection.fit_shares(alone))
            about["shares"] = dict(zip(subject.names, asking.shares, strict=True))
        else:
            heat = selection.temperature(together)
        if options.answers_right is not None:
            cut = selection.threshold(together, options.answers_right)
    tested, alone = testing.evaluate(weights, subject.dataset, subject.split, run_on, asking)
    if tested.notes:
        about["engine_notes"] = list(tested.notes)
    if heat is not None:
        about["temperature"] = selection.cooled(heat, tested)
    if cut is not None:
        about["abstention"] = selection.withheld(cut, tested)
    if len(weights) == 1 and subject.split in ("test", "validation"):
        about["label_check"] = selection.doubted(tested)
    return Asked(tested, alone, about)


def validated(
    subject: "Subject", weights: "list[Weights]", run_on: "Execution", asking: "Asking"
) -> "tuple[Evaluation, list[Evaluation]]":
    """What the networks answer about the images that their runs selected by."""
    from residua import selection, testing

    if subject.split != "test":
        raise Refused(
            "what is fitted on validation images is confirmed on test images",
            where=f"received --split {subject.split}",
            fix="leave --split out",
        )
    dataset = selection.with_validation(subject.runs, subject.dataset)
    return testing.evaluate(weights, dataset, "validation", run_on, asking)


def recorded(subject: "Subject", asked: Asked, options: Options) -> dict[str, Any]:
    """Save what belongs into the runs and what is asked for elsewhere; return all that was found.

    A run keeps the evaluation of itself alone, and that its test images were read.
    """
    from residua import evaluate, workflow

    about = asked.about
    for model, alone in zip(subject.models, asked.alone, strict=True):
        if model.run is None or model.run not in subject.readers:
            continue
        why = "residua evaluate" + " --compare" * options.compare
        if len(subject.models) > 1 and not options.compare:
            why += f", together with {len(subject.models) - 1} more"
        if len(subject.models) == 1:
            about = workflow.keep(alone, model.run, subject.dataset, why, about)
        else:
            workflow.note_reading(alone, model.run, why)
    if options.out is not None:
        several = len(subject.models) > 1
        for name, alone in zip(subject.names if several else (), asked.alone, strict=False):
            evaluate.write(alone, folder(options.out, name), {"network": name})
        if not options.compare:
            more = {"networks": list(subject.names)}
            evaluate.write(asked.tested, folder(options.out), about | more)
    return about


def folder(out: str, name: str = "") -> Path:
    """A folder that is there, for the evaluations of a network or of all."""
    path = Path(out) / name.replace("/", "-").strip("-.")
    path.mkdir(parents=True, exist_ok=True)
    return path


def told(subject: "Subject", asked: Asked, options: Options, terminal: Terminal) -> None:
    """Tell every number, and where they are."""
    from residua.commands import results

    tested, many = asked.tested, len(subject.models) > 1
    terminal.say(
        (f"ensemble of {len(subject.models)}" if many else subject.names[0], EMPHASIS),
        f"  {results.on_what(subject, tested)}",
    )
    results.details(tested, asked.about, terminal)
    answer = results.numbers(tested) | asked.about | {"networks": list(subject.names)}
    if many:
        answer["gain"] = results.gain(subject.names, tested, asked.alone, terminal)
    if options.members:
        answer["members"] = results.members(subject.names, asked.alone, asked.about, terminal)
    if many and options.out is not None:
        write_page(subject, asked, answer["gain"], Path(options.out))
    terminal.answer(answer | {"saved": finish(subject, options.out, terminal)})


def write_page(subject: "Subject", asked: Asked, gain: dict[str, Any], folder: Path) -> None:
    """Write what the networks say together and alone as one page."""
    from residua import durable, report

    names = ("all together", *subject.names)
    rows = [
        each.summary() | {"network": name}
        for name, each in zip(names, (asked.tested, *asked.alone), strict=True)
    ]
    title = f"An ensemble of {len(subject.names)} networks"
    page = report.several(title, [rows[0] | asked.about, *rows[1:]], [gain])
    durable.write(folder / "ensemble.html", page.encode())


def finish(subject: "Subject", out: str | None, terminal: Terminal) -> str | None:
    """Tell where the numbers are; return that place."""
    kept = subject.readers[0] if len(subject.models) == 1 and subject.readers else None
    where = [place(kept.evaluations)] if kept else []
    where += [place(Path(out))] if out is not None else []
    terminal.say()
    if not where and subject.models[0].run is not None:
        what = (
            "an ensemble belongs to no run; --out DIR writes it"
            if len(subject.models) > 1
            else "these are not its own test images"
        )
        terminal.say((f"not saved in the run: {what}", WARNING))
    if where:
        terminal.say(("saved in ", QUIET), " and ".join(where))
    if kept:
        terminal.say((f"next: residua report {place(kept.path)}", EMPHASIS))
    return where[0] if where else None


def gate(tested: "Evaluation", least: float | None) -> None:
    """Raise GateNotMet where fewer answers are right than were demanded."""
    right = 1 - tested.error
    if least is not None and right < least:
        raise GateNotMet(
            f"{right:.4f} of the answers are right, and {least:g} were demanded",
            f"{tested.total - tested.wrong:,} of {tested.total:,} images",
        )
