"""`residua resume`: go on with a training."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from residua.commands import study
from residua.commands.models import is_study, open_run
from residua.commands.terminal import EMPHASIS, Terminal, place


def resume(
    run: str,
    /,
    *,
    log_samples: Annotated[str | None, Parameter(metavar="FILE")] = None,
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> None:
    """Go on with a training or a study exactly where it stopped.

    The result has the same bits as if it had never stopped. A run that has ended is left as it is.

    Args:
        run: the folder of a run, such as runs/latest, or of a study
        log_samples: add a line `step<tab>image` for each image of each step
    """
    if is_study(run):
        study.resume(Path(run), terminal)
        return
    directory = open_run(run)
    from residua import workflow
    from residua.commands import progress
    from residua.runs import DONE

    if directory.info().get("status") == DONE:
        terminal.say("the run has ended; nothing is left to do")
        terminal.answer(progress.ending(directory, terminal))
        return
    terminal.live(f"reading the data of {run}")
    directory, job = workflow.reopen(Path(run))
    terminal.close()
    terminal.say((place(directory.path), EMPHASIS))
    progress.watch(job, directory, terminal, log_samples)
    terminal.answer(progress.ending(directory, terminal))
