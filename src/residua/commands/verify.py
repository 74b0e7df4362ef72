"""`residua verify`: is what a run saved still what it saved."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from residua.commands.models import open_run
from residua.commands.terminal import BAD, GOOD, QUIET, Terminal, place
from residua.errors import BadData


def verify(
    run: str,
    /,
    *,
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> int:
    """Compare the checkpoints of a run with the digests that were written with them.

    Exits with 3 if any of them is torn, altered or incomplete. Nothing is changed.

    Args:
        run: the run's folder, such as runs/latest
    """
    directory = open_run(run)
    from residua import checkpoints

    found: list[dict[str, Any]] = []

    def look(path: Path) -> None:
        entry: dict[str, Any] = {"path": str(path), "ok": True, "error": ""}
        try:
            if path.is_dir():
                entry["sha256"] = checkpoints.load(path).sha256
            else:
                entry["sha256"] = {"weights": checkpoints.read_weights(path).sha256}
        except BadData as error:
            entry |= {"ok": False, "error": error.what}
        found.append(entry)
        mark = ("ok     ", GOOD) if entry["ok"] else ("broken ", BAD)
        terminal.tell(mark, place(path), f"  {entry['error']}" if entry["error"] else "")
        for part, digest in entry.get("sha256", {}).items():
            terminal.tell((f"       {part:<8} {digest}", QUIET))

    for path in reversed(checkpoints.saved(directory.checkpoints)):
        look(path)
    if directory.weights.exists():
        look(directory.weights)
    if not found:
        terminal.tell("nothing is saved yet")
    ok = all(entry["ok"] for entry in found)
    digests = {
        f"{Path(entry['path']).stem}/{part}" if len(entry["sha256"]) > 1 else part: digest
        for entry in found
        for part, digest in entry.get("sha256", {}).items()
    }
    if not ok:
        terminal.say("next: residua resume uses the newest checkpoint that is whole")
    terminal.answer({"run": str(directory.path), "ok": ok, "found": found, "sha256": digests})
    return 0 if ok else 3
