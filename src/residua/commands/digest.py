"""`residua digest`: the SHA-256 of each part of what training saved."""

import hashlib
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from residua.commands.terminal import Terminal
from residua.errors import BadData, Refused
from residua.words import harmless


def digest(
    path: str,
    /,
    *,
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> None:
    """Print the SHA-256 of each part of a run, a checkpoint or a file.

    Of a run: its selected weights, and the weights and state of its newest checkpoint. Two runs of
    one recipe on one data set, machine and build have the same.

    Args:
        path: a run's folder, a checkpoint's folder or a file
    """
    parts = parts_of(Path(path))
    if not parts:
        raise BadData("there is nothing saved in it", path, "give a run, a checkpoint or a file")
    sums = {name: sha256(part) for name, part in parts.items()}
    for name, value in sums.items():
        terminal.tell(f"{value}  {name}")
    terminal.answer({"path": path, "sha256": sums})


def parts_of(path: Path) -> dict[str, Path]:
    """The files that matter in what `path` is."""
    if path.is_file():
        return {"weights" if path.suffix == ".safetensors" else "file": path}
    if not path.is_dir():
        raise Refused(f'no file or folder "{harmless(str(path))}"')
    from residua import checkpoints

    newest = checkpoints.saved(path / "checkpoints")[:1]
    parts = {"selected": path / "weights.safetensors"} if (path / "run.json").exists() else {}
    for folder in newest or [path]:
        parts |= {name: folder / f"{name}.safetensors" for name in checkpoints.PARTS}
    return {name: part for name, part in parts.items() if part.is_file()}


def sha256(path: Path) -> str:
    """The digest of a file.

    Raises:
        BadData: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadData(f"cannot read: {error.strerror}", str(path)) from error
