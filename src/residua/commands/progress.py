"""A training as it is told: one live line, and one permanent line for each epoch."""

import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, TextIO

from residua import workflow
from residua.batches import steps_per_epoch
from residua.checkpoints import read_weights
from residua.commands.results import headline
from residua.commands.terminal import EMPHASIS, GOOD, QUIET, WARNING, Terminal, place
from residua.errors import Stopped
from residua.events import Advance, Epoch, Note, Saved
from residua.interrupt import Interrupt
from residua.prepare import Job
from residua.runs import RunDirectory
from residua.words import duration, percent

TESTED = "evaluations/single.json"  # what the end of a training writes
LONG = ("per_class", "confusion")  # left out of the answer
SILENCE = 60  # seconds without a line in a log, where no live line shows that it goes on


def watch(job: Job, run: RunDirectory, terminal: Terminal, samples: str | None = None) -> None:
    """Follow a training to its end and tell it.

    Args:
        job: what is trained.
        run: where.
        terminal: where it is told.
        samples: a file for the names of the images that each step learns from.

    Raises:
        Stopped: a signal came; the error says how to go on.
    """
    telling, interrupt = Telling(job, terminal), Interrupt()
    try:
        with interrupt.listening(), sample_log(samples, run) as log:
            for event in workflow.follow(job, run, interrupt, log):
                match event:
                    case Advance():
                        telling.advance(event)
                    case Epoch():
                        telling.epoch(event)
                    case Saved():
                        terminal.say((f"saved step={event.step} path={event.path}", QUIET))
                        if event.step >= telling.steps:
                            terminal.close()
                            terminal.live("reading the test images once, and drawing the report")
                    case Note():
                        terminal.say((event.text, WARNING))
    except Stopped as error:
        raise Stopped(error.what, place(run.path), f"residua resume {place(run.path)}") from error
    finally:
        terminal.close()


def sample_log(name: str | None, run: RunDirectory) -> AbstractContextManager[TextIO | None]:
    """The file for the names, continued where the run is; each line is written at once."""
    if name is None:
        return nullcontext()
    mode: Literal["a", "w"] = "a" if any(run.checkpoints.iterdir()) else "w"
    return open(name, mode, buffering=1, encoding="utf-8", errors="surrogateescape")


class Telling:
    """How far a training has come, in words."""

    def __init__(self, job: Job, terminal: Terminal) -> None:
        self.terminal = terminal
        batch = job.recipe.batch or len(job.task.train)
        self.per_epoch = steps_per_epoch(job.task.train, batch)
        self.epochs = self.steps = 0
        self.spoke = time.monotonic()

    def advance(self, event: Advance) -> None:
        """A step was taken: change the live line, or add to a log that has long been silent."""
        self.steps = event.steps
        self.epochs = max(1, -(-event.steps // self.per_epoch))
        share = (event.step - (event.epoch - 1) * self.per_epoch) / self.per_epoch
        line = (
            f"epoch {event.epoch}/{self.epochs}  {percent(share, 0):>5}  "
            f"{event.images_per_second:,.0f} img/s  loss {event.loss:.3f}  "
            f"{clock(event.seconds_left)} left"
        )
        self.terminal.live(line)
        if not self.terminal.lively and time.monotonic() - self.spoke > SILENCE:
            self.say(line)

    def epoch(self, event: Epoch) -> None:
        """An epoch ended."""
        rows = {row["split"]: row for row in event.rows}
        width = len(str(self.epochs))
        cells = [f"epoch {event.number:>{width}}/{self.epochs}"]
        cells += [f"{role} error {percent(row['error']):>8}" for role, row in rows.items()]
        cells.append(f"{rows['train']['images_per_second']:>7,.0f} img/s")
        self.say("  ".join(cells), best=event.best)

    def say(self, line: str, best: bool = False) -> None:
        self.terminal.say(line, ("  best" if best else "", GOOD))
        self.spoke = time.monotonic()


def clock(seconds: float) -> str:
    """4000 -> "1:06:40"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def ending(run: RunDirectory, terminal: Terminal) -> dict[str, Any]:
    """Tell what came of a run, where it is and what to do next; return it for a program."""
    info, chosen, where = run.info(), read_weights(run.weights).metrics, place(run.path)
    measured = (run.path / TESTED).is_file()
    tested = run.read_json(TESTED) if measured else {}
    validation = f", validation error {percent(chosen['error'])}" if "error" in chosen else ""
    terminal.say()
    terminal.facts(
        [
            ("test error", headline(tested) if tested else ""),
            ("selected", f"epoch {chosen['epoch']}{validation}" if "epoch" in chosen else ""),
            ("time", duration(info.get("seconds", 0))),
            ("run", where),
            ("weights", place(run.weights)),
            ("report", place(run.path / "report.html")),
        ]
    )
    terminal.say((f"next: residua predict {where} IMAGES", EMPHASIS))
    return {
        "run": str(run.path),
        "weights": str(run.weights),
        "report": str(run.path / "report.html"),
        "status": info.get("status"),
        "test": {key: value for key, value in tested.items() if key not in LONG} or None,
    }
