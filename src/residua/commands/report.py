"""`residua report`: a run or a study as one page."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from residua.commands.models import is_study, open_run
from residua.commands.terminal import Terminal, place


def report(
    run: str,
    /,
    *,
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> None:
    """Write the page of a run or a study again, from what its folder holds, and a run's card.

    The page is one file that needs nothing else: open it in a browser, or mail it.

    Args:
        run: the folder of a run, such as runs/latest, or of a study
    """
    if is_study(run):
        from residua import inquiry

        page = inquiry.rewrite(Path(run))
        terminal.facts([("report", place(page))])
        terminal.answer({"folder": str(Path(run)), "report": str(page)})
        return
    directory = open_run(run)
    from residua import workflow

    with directory.lock():
        page = workflow.write_report(directory)
    card = directory.path / "CARD.md"
    terminal.facts([("report", place(page)), ("card", place(card))])
    terminal.answer({"run": str(directory.path), "report": str(page), "card": str(card)})
