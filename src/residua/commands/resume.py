"""`residua resume`: go on with a training."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from residua.commands.terminal import EMPHASIS, Terminal, place


def resume(
    run: str,
    /,
    *,
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> None:
    """Go on with a training exactly where it stopped.

    The result has the same bits as if it had never stopped. A run that has ended is left as it is.

    Args:
        run: the run's folder, such as runs/latest
    """
    from residua import workflow
    from residua.commands import progress
    from residua.commands.models import open_run

    directory = open_run(run)
    if directory.info().get("status") == "done":
        terminal.say("the run has ended; nothing is left to do")
        terminal.answer(progress.ending(directory, terminal))
        return
    terminal.live(f"reading the data of {run}")
    directory, job = workflow.reopen(Path(run))
    terminal.close()
    terminal.say((place(directory.path), EMPHASIS))
    progress.watch(job, directory, terminal)
    terminal.answer(progress.ending(directory, terminal))
