"""Many measurements side by side: each cell once, whatever stops the work in between.

A cell is one measurement that needs no other, such as the training of one network from one seed.
Its row is written to a file of its own the moment it is known, so that a sweep that is killed goes
on with the cells that it lacks. On a processor each cell has one core: cells never wait for each
other, where the threads or processes of one training would.

A cell that diverges or runs out of memory has a row that says so: that a network fails to train is
a result.
"""

import ctypes
import hashlib
import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

import torch

from residua import durable
from residua.errors import BadData, Diverged, OutOfResources, ResiduaError
from residua.interrupt import deaf
from residua.resources import own_cores
from residua.runs import DONE

Row = dict[str, Any]
# The settings of a training that has one core to itself.
ALONE: dict[str, Any] = {"processes": 1, "threads": 1, "workers": 0}
DIE_WITH_PARENT = 1  # prctl.h: PR_SET_PDEATHSIG


class Cell(NamedTuple):
    """One measurement: what tells it from the others, and what it costs beside them."""

    values: dict[str, Any]  # plain values, by the names of the table's columns
    cost: float = 1.0  # the dearest go first, so that cores end together

    @property
    def key(self) -> str:
        """A file name of its own."""
        text = json.dumps(self.values, sort_keys=True)
        words = re.sub(r"[^\w.]+", "-", " ".join(map(str, self.values.values()))).strip("-.")
        return f"{words[:80]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


class Measured(NamedTuple):
    """A cell and what came of it."""

    cell: Cell
    row: Row  # the cell's values, a status, and what was measured
    seconds: float


Measure = Callable[[Cell, Path], Mapping[str, Any]]  # a cell and a folder of its own


def sweep(
    cells: Sequence[Cell], measure: Measure, folder: Path, workers: int = 1
) -> Iterator[Measured]:
    """Measure every cell, and yield each as it is known; first those that were known before.

    Args:
        cells: no two alike.
        measure: a function of the cell alone; what it leaves in the cell's folder is there again
            if it is interrupted and called anew, and is removed when the cell is done.
        folder: where the rows are kept.
        workers: processes with a core each; 1 measures in this process, on any device.

    Raises:
        BadData: a row on disk is malformed or another cell's.
        ResiduaError: what `measure` raises, apart from divergence and want of memory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    left = []
    for cell in cells:
        known = stored(cell, folder)
        if known is None:
            left.append(cell)
        else:
            yield known
    left.sort(key=lambda cell: -cell.cost)
    if workers == 1 or len(left) < 2:
        for cell in left:
            yield kept(attempt(cell, measure, folder), folder)
        return
    lost: list[Cell] = []
    yield from shared(left, measure, folder, min(workers, len(left)), lost)
    yield from shared(lost, measure, folder, 1, None)  # alone, with all the memory there is


def stored(cell: Cell, folder: Path) -> Measured | None:
    """What an earlier sweep left of a cell."""
    path = folder / f"{cell.key}.json"
    try:
        table = json.loads(path.read_text("utf-8"))
        row, seconds = dict(table["row"]), float(table["seconds"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadData(f"a measured cell cannot be read: {error}", str(path), "delete it") from error
    if any(row.get(name) != plainly(value) for name, value in cell.values.items()):
        raise BadData("a measured cell is not what it is named", str(path), "delete it")
    return Measured(cell, row, seconds)


def plainly(value: Any) -> Any:
    """A value as it comes back from JSON."""
    return json.loads(json.dumps(value))


def attempt(cell: Cell, measure: Measure, folder: Path) -> Measured:
    """Measure a cell; its row says so where it diverges or runs out of memory."""
    own = folder / cell.key
    own.mkdir(exist_ok=True)
    began, found, status = time.monotonic(), {}, DONE
    try:
        found = dict(measure(cell, own))
    except Diverged as error:
        status = f"diverged: {error.what}"
    except (MemoryError, OutOfResources, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not re.search("memory", str(error), re.I):
            raise
        status = "out of memory"
    row = plainly({**cell.values, "status": status, **found})
    return Measured(cell, row, round(time.monotonic() - began, 3))


def kept(measured: Measured, folder: Path) -> Measured:
    """Write a row durably and clear the cell's folder."""
    cell, row, seconds = measured
    text = json.dumps({"row": row, "seconds": seconds}, ensure_ascii=False)
    durable.write(folder / f"{cell.key}.json", text.encode())
    shutil.rmtree(folder / cell.key, ignore_errors=True)
    return measured


class Worker(NamedTuple):
    process: Any
    pipe: Connection


def shared(
    cells: Sequence[Cell],
    measure: Measure,
    folder: Path,
    workers: int,
    lost: list[Cell] | None,
) -> Iterator[Measured]:
    """Measure cells in processes of one core each.

    A cell whose process was killed goes to `lost`, to be tried again; without that list its row
    says so.
    """
    waiting, busy = list(reversed(cells)), dict[Connection, tuple[Worker, Cell]]()
    free = [hired(cells, measure, folder, rank) for rank in range(workers if cells else 0)]
    everyone = list(free)
    try:
        while waiting or busy:
            while waiting and free:
                worker, cell = free.pop(), waiting.pop()
                worker.pipe.send(cells.index(cell))
                busy[worker.pipe] = worker, cell
            ready = wait(list(busy))
            for pipe in [pipe for pipe in busy if pipe in ready]:
                worker, cell = busy.pop(pipe)
                try:
                    answer = worker.pipe.recv()
                except (EOFError, OSError):
                    everyone.append(hired(cells, measure, folder, everyone.index(worker)))
                    free.append(everyone[-1])
                    if lost is None:
                        row = {**cell.values, "status": "killed, perhaps for want of memory"}
                        yield kept(Measured(cell, row, 0.0), folder)
                    else:
                        lost.append(cell)
                    continue
                if isinstance(answer, Exception):
                    raise answer
                free.append(worker)
                yield kept(answer, folder)
    finally:  # also where a signal ends the wait: what a worker has not finished, another will
        for worker in everyone:
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()


def hired(cells: Sequence[Cell], measure: Measure, folder: Path, rank: int) -> Worker:
    """A process that measures the cells it is told, and ends with this one."""
    context = get_context("fork")  # images are not copied
    mine, theirs = context.Pipe()
    process = context.Process(
        target=work, args=(cells, measure, folder, rank, (mine, theirs), os.getpid()), daemon=True
    )
    with deaf():
        process.start()
    theirs.close()
    return Worker(process, mine)


def work(
    cells: Sequence[Cell],
    measure: Measure,
    folder: Path,
    rank: int,
    pair: tuple[Connection, Connection],
    parent: int,
) -> None:
    """Measure one cell after another, as the main process tells, on one core."""
    mine, pipe = pair
    mine.close()
    die_with(parent)
    cores = own_cores()
    os.sched_setaffinity(0, {cores[rank % len(cores)]})
    torch.set_num_threads(1)
    with suppress(EOFError, OSError):
        while True:
            cell = cells[pipe.recv()]
            try:
                pipe.send(attempt(cell, measure, folder))
            except Exception as error:
                pipe.send(sendable(error))


def die_with(parent: int) -> None:
    """Let the system end this process when its parent is gone, even if that is killed."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:  # it went before that was asked for
        os._exit(1)


def sendable(error: Exception) -> Exception:
    """An exception that survives the way to another process."""
    if isinstance(error, ResiduaError):
        return type(error)(error.what, error.where, error.fix)
    return RuntimeError(f"{type(error).__name__}: {error}")
