"""`residua download`: fetch a published data set."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from residua.commands.terminal import EMPHASIS, Terminal, place


def download(
    name: str,
    /,
    *,
    mirror: str | None = None,
    to: str = "data",
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> None:
    """Fetch a published data set and verify it against its official hash.

    A download that was cut off goes on where it stopped.

    Args:
        name: cifar10, cifar100 or fashion-mnist
        mirror: address of a folder with the same files; their hash is checked all the same
        to: folder in which the data set's own folder is made
    """
    from residua.datasets import download as remote

    def told(received: int, total: int) -> None:
        share = f" of {total / 1e6:,.1f} MB, {received / total:.0%}" if total else " MB"
        terminal.live(f"{name}  {received / 1e6:,.1f}{share}")

    folder = remote.fetch(name, Path(to), mirror, told)
    terminal.close()
    terminal.facts([("data", place(folder))])
    source = name if to == "data" else place(folder)
    terminal.say((f"next: residua check {source}", EMPHASIS))
    terminal.answer({"name": name, "path": str(folder)})
