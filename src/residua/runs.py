"""The directory of one training: the only thing a run leaves behind, and its only writer.

    run.json        status, command, versions, machine, data, seed, times, best
    recipe.json     every setting and where it came from
    metrics.jsonl   one object per line, appended
    checkpoints/    see checkpoints.py
    weights.safetensors, evaluations/, predictions.csv, figures/, report.html, CARD.md

Deleting the folder deletes the run.
"""

import fcntl
import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from residua import durable
from residua.errors import BadData, Locked, OutOfResources

RUN, STUDY = "run.json", "study.json"
DONE = "done"  # status of a run, a study or a cell
FOLDERS = {RUN: ("checkpoints", "evaluations", "figures"), STUDY: ("cells", "figures")}


class RunDirectory:
    """A run on disk. Reading needs no lock; writing happens under `lock()`.

    A study has such a folder, too, with a study.json in the place of run.json.
    """

    def __init__(self, path: Path, file: str = RUN) -> None:
        self.path = path
        self.file = file  # what says that this is a run, or a study
        self.checkpoints = path / "checkpoints"
        self.weights = path / "weights.safetensors"
        self.evaluations = path / "evaluations"
        self.figures = path / "figures"

    @classmethod
    def create(cls, parent: Path, data: str, name: str, file: str = RUN) -> "RunDirectory":
        """Make `<parent>/<data>-<name>-<n>` with the first n that is free.

        The newest run is also `<parent>/latest`.

        Raises:
            OutOfResources: the folder cannot be made.
        """
        stem = re.sub(r"[^\w.=-]+", "-", f"{data}-{name}").strip("-.")[:120]
        number = 1
        try:
            parent.mkdir(parents=True, exist_ok=True)
            while True:
                path = parent / f"{stem}-{number}"
                try:
                    path.mkdir()  # fails where another process was first
                    break
                except FileExistsError:
                    number += 1
            for folder in FOLDERS[file]:
                (path / folder).mkdir()
            if file == RUN:
                point(parent / "latest", path.name)
        except OSError as error:
            raise OutOfResources(
                f"cannot make a run directory: {error.strerror}", where=str(parent)
            ) from error
        return cls(path, file)

    @classmethod
    def open(cls, path: Path, file: str = RUN) -> "RunDirectory":
        """An existing run.

        Raises:
            BadData: `path` is not one.
        """
        if not (path / file).is_file():
            raise BadData(f"not a run directory: it has no {file}", where=str(path))
        return cls(path.resolve() if path.is_symlink() else path, file)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the only writer until the block ends.

        The lock belongs to this process alone: it is free the moment the process is gone, even
        while processes that it started live on.

        Raises:
            Locked: another process writes here.
            OutOfResources: nobody can write here.
        """
        with ExitStack() as stack:
            try:
                file = stack.enter_context((self.path / "lock").open("a+b", buffering=0))
                self.claim(file)
            except OSError as error:
                raise OutOfResources(
                    f"cannot write to this run: {error.strerror}", where=str(self.path)
                ) from error
            yield

    def claim(self, file: FileIO) -> None:
        """Lock the file and leave this process's name in it."""
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().decode(errors="replace").strip() or "an unknown process"
            raise Locked(
                "another process is writing to this run",
                where=f"{self.path}, held by {holder}",
                fix="wait for it, or stop it",
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())

    def update(self, values: Mapping[str, Any]) -> None:
        """Set fields of run.json."""
        merged = (self.info() if (self.path / self.file).exists() else {}) | dict(values)
        self.write_json(self.file, merged)

    def info(self) -> dict[str, Any]:
        """The fields of run.json."""
        return self.read_json(self.file)

    def record(self, row: Mapping[str, Any]) -> None:
        """Append a row to metrics.jsonl."""
        durable.append(self.path / "metrics.jsonl", json.dumps(dict(row)))

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl; a last line that a crash tore is skipped."""
        try:
            lines = (self.path / "metrics.jsonl").read_bytes().splitlines()
        except OSError:
            return []
        rows = []
        for line in lines:
            try:
                rows.append(json.loads(line))
            except (ValueError, RecursionError):
                continue
        return [row for row in rows if isinstance(row, dict)]

    def rewind(self, step: int) -> None:
        """Drop the metrics of later steps, which a resumed run records again."""
        rows = [json.dumps(row) + "\n" for row in self.metrics() if row.get("step", 0) <= step]
        durable.write(self.path / "metrics.jsonl", "".join(rows).encode())

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a table under the run, durably."""
        text = json.dumps(dict(value), indent=1, ensure_ascii=False)
        self.write_text(name, text + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write a file under the run, durably."""
        durable.write(self.path / name, text.encode("utf-8", "surrogateescape"))

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a table under the run.

        Raises:
            BadData: it is missing or malformed.
        """
        path = self.path / name
        try:
            table = json.loads(path.read_text("utf-8", "surrogateescape"))
        except OSError as error:
            raise BadData(f"cannot read: {error.strerror}", where=str(path)) from error
        except (ValueError, RecursionError) as error:
            raise BadData(f"malformed: {error}", where=str(path)) from error
        if not isinstance(table, dict):
            raise BadData("malformed: not a table", where=str(path))
        return table


def point(link: Path, target: str) -> None:
    """Let the symbolic link `link` lead to `target`, in one step."""
    temporary = link.with_name(f".latest-{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    os.replace(temporary, link)
