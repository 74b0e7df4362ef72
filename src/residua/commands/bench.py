"""`residua bench`: how fast a training goes here, what was chosen for it, and what holds it up."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from residua import datasets, settings
from residua.commands.flags import Flags
from residua.commands.terminal import EMPHASIS, Terminal
from residua.commands.train import chosen, tell_choices, wanted
from residua.environment import environment

if TYPE_CHECKING:
    from residua.prepare import Job

HARDWARE = ("device", "precision", "processes", "threads", "workers", "fused", "compile", "batch")
ADVICE = {
    "loader": "give --workers or --cache, or convert the images to the network's size",
    "step": "a smaller network, smaller images, or a GPU",
    "memory": "a smaller --batch, or more --memory: what is kept need not be computed again",
}


def bench(
    data: str,
    /,
    *,
    flags: Annotated[Flags, Parameter(name="*")] = None,
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> None:
    """Measure how fast a training goes on this machine, and write nothing.

    Takes the flags of `train`. Times the loader alone, whole steps, and the same steps in the plain
    way (one process, the network as it is written), and names what holds them up.

    Args:
        data: as for train
    """
    flags = Flags() if flags is None else flags
    name, layers = wanted(flags)
    settings.resolve(name, layers)
    datasets.find(data)
    from residua import pace, prepare

    terminal.live(f"reading {data}")
    job = prepare.prepare(data, name, layers, Path(flags.runs or "runs"))
    terminal.live(f"timing {job.task.network.name}")
    measured = pace.pace(job.task, job.recipe, job.execution)
    terminal.close()
    introduce(job, terminal)
    plan = job.execution.plan
    bottleneck = measured.bottleneck if job.execution.roomy else "memory"
    terminal.say()
    terminal.facts(
        [
            ("loader", f"{measured.loader:,.0f} images a second"),
            ("training", f"{measured.both:,.0f} images a second"),
            ("plain way", f"{measured.plain:,.0f} images a second"),
            ("gain", f"{measured.both / measured.plain:.2f} times"),
            ("memory", f"{plan.bytes / 1e6:,.0f} MB; {plan.cost}" if plan else ""),
            ("bottleneck", f"the {bottleneck}: {ADVICE[bottleneck]}"),
        ]
    )
    terminal.say(("next: residua train with the same words", EMPHASIS))
    terminal.answer(
        {
            "network": job.task.network.name,
            "images_per_second": measured._asdict(),
            "bottleneck": bottleneck,
            "plan": plan and plan._asdict(),
            "settings": {name: getattr(job.recipe, name) for name in settings.FIELDS},
            "sources": dict(job.sources),
            "notes": list(job.notes),
        }
    )


def introduce(job: "Job", terminal: Terminal) -> None:
    """Tell what is measured on what, and what was chosen why."""
    recipe, machine = job.recipe, environment()["machine"]
    terminal.say(
        (job.task.network.name, EMPHASIS),
        f"  {recipe.batch} images of {recipe.size} pixels in a step;"
        f" {machine['cores']} cores, {machine['processor']}",
    )
    for note in job.notes:
        terminal.say("  ", note)
    tell_choices([row for row in chosen(job) if row[0] in HARDWARE], terminal)
