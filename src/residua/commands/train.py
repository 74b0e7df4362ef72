"""`residua train`: from labeled images to a run directory."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from residua import datasets, settings
from residua.commands.flags import Flags, given
from residua.commands.terminal import EMPHASIS, QUIET, Terminal
from residua.words import byte_count, count, duration, plain

if TYPE_CHECKING:
    from residua.prepare import Job

Layers = list[tuple[str, dict[str, Any]]]


def train(
    data: str,
    /,
    *,
    flags: Annotated[Flags, Parameter(name="*")] = None,
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> None:
    """Train a classifier on labeled images.

    What is not given is chosen from the data and the hardware, and the choice is printed with its
    reason. [Brackets] hold the values of the usual recipe, quick.

    Args:
        data: a folder with a folder of images for each class, a CSV of path,label, CIFAR in any
            official layout, or a name from `residua list datasets`
    """
    flags = Flags() if flags is None else flags
    name, layers = wanted(flags)
    settings.resolve(name, layers)  # what is misspelled is refused before torch is loaded
    datasets.find(data)
    from residua import prepare, workflow
    from residua.commands import progress
    from residua.commands.terminal import place

    terminal.live(f"reading {data}")
    job = prepare.prepare(data, name, layers, Path(flags.runs or "runs"))
    terminal.close()
    introduce(job, terminal)
    if flags.dry_run:
        foresee(job, prepare.estimate(job), data, terminal)
        return
    run = workflow.begin(job, Path(flags.runs or "runs"), terminal.command)
    terminal.say((place(run.path), EMPHASIS))
    progress.watch(job, run, terminal, flags.log_samples)
    terminal.answer(progress.ending(run, terminal))


def wanted(flags: Flags) -> tuple[str, Layers]:
    """The recipe that is asked for, and the settings over it, the strongest last."""
    name, layers = None, []
    if flags.config is not None:
        name, table = settings.read_config(Path(flags.config))
        layers.append((f"--config {flags.config}", table))
    layers += [("environment", dict(settings.environment())), ("flag", given(flags))]
    return flags.recipe or name or "auto", [layer for layer in layers if layer[1]]


def introduce(job: "Job", terminal: Terminal) -> None:
    """Tell what is trained on what, and what was chosen why."""
    data = job.dataset
    images = ", ".join(f"{len(split):,} {role}" for role, split in job.splits.items())
    terminal.say((data.name, EMPHASIS), f"  {len(data.classes)} classes; images: {images}")
    for note in (*data.notes, *job.notes):
        terminal.say("  ", note)
    weights = sum(weight.numel() for weight in job.task.network.parameters())
    network = job.task.network.name
    terminal.say((network, EMPHASIS), f"  {count(weights)} parameters; recipe {job.name}")
    tell_choices(chosen(job), terminal)
    terminal.say()


def chosen(job: "Job") -> list[tuple[str, str, str]]:
    """The settings that no recipe decided: name, value, and why."""
    return [
        (name, shown(name, getattr(job.recipe, name)), source.removeprefix("automatic: "))
        for name, source in job.sources.items()
        if source != "default" and not source.startswith("recipe ")
    ]


def shown(name: str, value: Any) -> str:
    return byte_count(value) if name == "memory" else plain(value)


def tell_choices(choices: Sequence[tuple[str, str, str]], terminal: Terminal) -> None:
    """Tell settings and their reasons, a line each."""
    widths = [max((len(row[column]) for row in choices), default=0) for column in (0, 1)]
    for name, value, why in choices:
        terminal.say(f"  {name:<{widths[0]}}  {value:<{widths[1]}}  ", (why, QUIET))


def foresee(job: "Job", estimate: Any, data: str, terminal: Terminal) -> None:
    """Tell what a training would need."""
    terminal.facts(
        [
            ("parameters", f"{estimate.parameters:,}"),
            ("multiply-adds", f"{count(estimate.multiply_adds)} per image"),
            ("memory", f"{estimate.memory / 1e6:,.0f} MB"),
            ("steps", f"{estimate.steps:,} of {job.recipe.batch} images"),
            ("time", duration(estimate.seconds)),
        ]
    )
    terminal.say(("next: the same command without --dry-run", EMPHASIS))
    terminal.answer(
        {
            "data": data,
            "network": job.task.network.name,
            **estimate._asdict(),
            "settings": {name: getattr(job.recipe, name) for name in settings.FIELDS},
            "sources": dict(job.sources),
        }
    )
