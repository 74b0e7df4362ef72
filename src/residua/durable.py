"""Writing so that neither a crash nor a power cut loses what was reported as written.

A file appears whole or not at all: it is written under another name, flushed to the disk, renamed,
and the folder that holds the new name is flushed too. Leaving out either flush survives kill -9 and
fails when the power goes.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from residua.errors import OutOfResources


def write(path: Path, data: bytes) -> None:
    """Put `data` at `path`, replacing what was there in one step.

    Raises:
        OutOfResources: the disk is full or fails; what was at `path` is untouched.
    """
    with appearing(path, len(data)) as file:
        file.write(data)


@contextmanager
def appearing(path: Path, need: int = 0) -> Iterator[IO[bytes]]:
    """A file to be written, which takes the name `path` when the block ends well.

    Args:
        path: what is there is replaced in one step, or untouched where the block fails.
        need: bytes that it will have, for the message.

    Raises:
        OutOfResources: the disk is full or fails.
    """
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(prefix=".writing-", dir=path.parent, delete=False) as file:
            temporary = file.name
            os.fchmod(file.fileno(), 0o644 & ~_umask())
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        temporary = ""
        sync_folder(path.parent)
    except OSError as error:
        raise failed(path, error, need) from error
    finally:  # also where a second Ctrl-C ends the work
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)


def append(path: Path, line: str) -> None:
    """Add one line to `path` and flush it to the disk."""
    try:
        with path.open("ab") as file:
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise failed(path, error, len(line)) from error


def rename_folder(temporary: Path, final: Path) -> None:
    """Give a folder its final name after everything in it has reached the disk."""
    sync_folder(temporary)
    os.rename(temporary, final)
    sync_folder(final.parent)


def sync_folder(folder: Path) -> None:
    """Flush the names in `folder` to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def failed(path: Path, error: OSError, need: int) -> OutOfResources:
    """The error for a write that did not succeed, with what it needed and what there was."""
    try:
        free = f"{shutil.disk_usage(path.parent).free / 1e6:,.1f} MB free"
    except OSError:
        free = "the folder is gone"
    return OutOfResources(
        f"cannot write: {error.strerror}",
        where=f"{path}: {need / 1e6:,.1f} MB needed, {free}",
        fix="make room or choose another folder, then resume the run",
    )


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
