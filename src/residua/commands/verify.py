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
    """Compare what a run saved with the digests that were written with it.

    These are the checkpoints, the weights and the evaluations, whose errors are counted again from
    the scores of their images. Exits with 3 if any is torn, altered or incomplete. Nothing is
    changed.

    Args:
        run: the run's folder, such as runs/latest
    """
    directory = open_run(run)
    from residua import checkpoints

    paths = list(reversed(checkpoints.saved(directory.checkpoints)))
    paths += [directory.weights] if directory.weights.exists() else []
    paths += sorted(directory.evaluations.glob("*.json"))
    found = [look(path, terminal) for path in paths]
    if not found:
        terminal.tell("nothing is saved yet")
    broken = {Path(entry["path"]).suffix == ".json" for entry in found if not entry["ok"]}
    digests = {
        f"{Path(entry['path']).stem}/{part}" if len(entry["sha256"]) > 1 else part: digest
        for entry in found
        for part, digest in entry.get("sha256", {}).items()
    }
    if True in broken:
        terminal.say(f"next: residua evaluate {place(directory.path)} counts again")
    if False in broken:
        terminal.say("next: residua resume uses the newest checkpoint that is whole")
    terminal.answer(
        {"run": str(directory.path), "ok": not broken, "found": found, "sha256": digests}
    )
    return 3 if broken else 0


def look(path: Path, terminal: Terminal) -> dict[str, Any]:
    """Read a checkpoint, weights or an evaluation as it would be used, and tell what was found."""
    entry: dict[str, Any] = {"path": str(path), "ok": True, "error": ""}
    try:
        digests = digests_of(path)
        if digests:
            entry["sha256"] = digests
    except BadData as error:
        entry |= {"ok": False, "error": error.what}
    mark = ("ok     ", GOOD) if entry["ok"] else ("broken ", BAD)
    terminal.tell(mark, place(path), f"  {entry['error']}" if entry["error"] else "")
    for part, digest in entry.get("sha256", {}).items():
        terminal.tell((f"       {part:<8} {digest}", QUIET))
    return entry


def digests_of(path: Path) -> dict[str, str]:
    """The digests of what the path holds; of an evaluation, which holds its own, none.

    Raises:
        BadData: it is torn, altered or incomplete.
    """
    from residua import checkpoints, evaluate

    if path.suffix == ".json":
        evaluate.read(path)
        return {}
    if path.is_dir():
        return dict(checkpoints.load(path).sha256)
    return {"weights": checkpoints.read_weights(path).sha256}
