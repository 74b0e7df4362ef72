"""`residua report`: a run as one page."""

from typing import Annotated

from cyclopts import Parameter

from residua.commands.models import open_run
from residua.commands.terminal import Terminal, place


def report(
    run: str,
    /,
    *,
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> None:
    """Write a run's page and card again, from what its folder holds.

    The page is one file that needs nothing else: open it in a browser, or mail it.

    Args:
        run: the run's folder, such as runs/latest
    """
    directory = open_run(run)
    from residua import workflow

    with directory.lock():
        page = workflow.write_report(directory)
    card = directory.path / "CARD.md"
    terminal.facts([("report", place(page)), ("card", place(card))])
    terminal.answer({"run": str(directory.path), "report": str(page), "card": str(card)})
