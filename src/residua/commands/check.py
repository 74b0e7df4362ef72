"""`residua check`: what is wrong with a data set."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from residua.commands.terminal import BAD, EMPHASIS, GOOD, QUIET, WARNING, Terminal
from residua.errors import Refused
from residua.words import harmless

if TYPE_CHECKING:
    from residua.datasets.dataset import Dataset
    from residua.datasets.inspect import Inspection, Problem

ITEMS = 5  # printed of each problem, unless all are asked for
NOTE = 100  # characters printed of a note on an item, unless all are asked for


def check(
    data: str,
    /,
    *,
    all: bool = False,
    workers: int | None = None,
    seed: int = 0,
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> int:
    """List everything that is wrong with a data set, before any training.

    Every image is read once. Exits with 3 if training would be unsafe.

    Args:
        data: a folder, a CSV of path,label, CIFAR, or a name from `residua list datasets`
        all: print every item, instead of the first few of each problem
        workers: threads that decode images; by default one for each core
        seed: of the splits that the data lacks
    """
    if workers is not None and workers < 1:
        raise Refused("--workers must be at least 1", f"received {workers}")
    from residua import datasets

    terminal.live(f"reading {data}")
    dataset = datasets.load(data, seed)
    found = inspected(dataset, workers, terminal)
    terminal.answer({"data": dataset.describe(), "notes": list(dataset.notes), **found.to_dict()})
    for severity in ("error", "warning"):
        tell_problems([p for p in found.problems if p.severity == severity], all, terminal)
    verdict(found, data, terminal)
    return 0 if found.safe else 3


def inspected(dataset: "Dataset", workers: int | None, terminal: Terminal) -> "Inspection":
    """Read every image, and tell what data it is."""
    from residua.datasets import inspect
    from residua.resources import cores

    found = inspect.inspect(
        dataset,
        workers or cores(),
        lambda done, total: terminal.live(f"{done:,} of {total:,} images  {done / total:.0%}"),
    )
    terminal.close()
    images = ", ".join(f"{count:,} {role}" for role, count in found.images.items())
    sizes = ""
    if found.sizes is not None:
        (low, wide), (high, wider) = found.sizes.smallest, found.sizes.largest
        sizes = f"; {wide} x {low} pixels" + (f" to {wider} x {high}" * (found.sizes.distinct > 1))
    terminal.tell(
        (dataset.name, EMPHASIS), f"  {len(dataset.classes)} classes; images: {images}{sizes}"
    )
    for note in dataset.notes:
        terminal.say("  ", note)
    return found


def tell_problems(problems: "list[Problem]", all: bool, terminal: Terminal) -> None:
    """Print problems of one severity, each with its first items."""
    for problem in problems:
        style = BAD if problem.severity == "error" else WARNING
        terminal.tell()
        terminal.tell((f"{problem.severity}: ", style), (problem.what, EMPHASIS))
        shown = problem.items if all else problem.items[:ITEMS]
        width = max(len(harmless(item)) for item in shown)
        for item, note in zip(shown, problem.notes, strict=False):
            brief = note if all or len(note) <= NOTE else note[:NOTE] + " ..."
            terminal.tell(f"  {harmless(item):<{width}}  ", (brief, QUIET))
        if len(shown) < len(problem.items):
            terminal.tell((f"  and {len(problem.items) - len(shown):,} more (--all)", QUIET))
        terminal.tell(("  fix: ", QUIET), problem.fix)


def verdict(found: "Inspection", data: str, terminal: Terminal) -> None:
    """Tell whether training is safe, on what, and what comes next."""
    terminal.tell()
    if not found.problems:
        terminal.tell(("nothing is wrong", GOOD))
    terminal.facts(
        [
            ("recommended", f"--size {found.size} --fit {found.fit}: {found.reason}"),
            ("content", f"sha256 {found.content}" if found.content else ""),
        ]
    )
    if found.safe:
        terminal.say((f"next: residua train {data}", EMPHASIS))
    else:
        terminal.tell(("training would be unsafe: fix the errors, then check again", BAD))
