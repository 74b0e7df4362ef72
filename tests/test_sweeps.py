"""Cells: each measured once, whatever is killed in between."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from residua.errors import BadData, Diverged, OutOfResources, Refused
from residua.sweeps import Cell, sweep

CELLS = [Cell({"kind": "square", "n": n}, cost=n) for n in range(6)]


def square(cell, folder):
    (folder / "scratch").write_text("x")
    return {"result": cell.values["n"] ** 2}


def rows(found):
    return sorted((each.row for each in found), key=lambda row: row["n"])


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_every_cell_is_measured(tmp_path, workers):
    found = rows(sweep(CELLS, square, tmp_path, workers))
    assert [row["result"] for row in found] == [0, 1, 4, 9, 16, 25]
    assert all(row["status"] == "done" for row in found)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]  # scratch folders are gone


@pytest.mark.parametrize("workers", [1, 3])
def test_what_is_known_is_not_measured_again(tmp_path, workers):
    list(sweep(CELLS[:4], square, tmp_path, workers))

    def never(cell, folder):
        assert cell.values["n"] >= 4, "measured again"
        return square(cell, folder)

    assert len(rows(sweep(CELLS, never, tmp_path, workers))) == 6


def test_the_dearest_go_first(tmp_path):
    order = [each.cell.values["n"] for each in sweep(CELLS, square, tmp_path)]
    assert order == [5, 4, 3, 2, 1, 0]


FAILURES = {
    "diverged": Diverged("the loss is no longer finite"),
    "resources": OutOfResources("there is not enough memory"),
    "memory": MemoryError(),
    "torch": RuntimeError("DefaultCPUAllocator: not enough memory"),
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_is_a_row(tmp_path, failure, workers):
    def fails(cell, folder):
        if cell.values["n"] == 3:
            raise FAILURES[failure]
        return square(cell, folder)

    found = rows(sweep(CELLS, fails, tmp_path, workers))
    expected = (
        "diverged: the loss is no longer finite" if failure == "diverged" else "out of memory"
    )
    assert found[3] == {"kind": "square", "n": 3, "status": expected}
    assert found[4]["status"] == "done"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_mistake_ends_the_sweep(tmp_path, workers):
    for error in (Refused("no such thing", fix="another"), OutOfResources("the disk is full")):

        def wrong(cell, folder, error=error):
            raise error

        with pytest.raises(type(error), match=error.what):
            list(sweep(CELLS, wrong, tmp_path, workers))

    def bug(cell, folder):
        raise ZeroDivisionError("oops")

    with pytest.raises((RuntimeError, ZeroDivisionError), match="oops"):
        list(sweep(CELLS, bug, tmp_path / "other", workers))


def test_a_cell_whose_process_is_killed_is_tried_again_alone(tmp_path):
    def once(cell, folder):
        mark = tmp_path / "killed"
        if cell.values["n"] == 2 and not mark.exists():
            mark.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        return square(cell, folder)

    found = rows(sweep(CELLS, once, tmp_path / "cells", 2))
    assert [row["status"] for row in found] == ["done"] * 6


def test_a_cell_that_kills_its_process_twice_is_a_row(tmp_path):
    def deadly(cell, folder):
        if cell.values["n"] == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return square(cell, folder)

    found = rows(sweep(CELLS, deadly, tmp_path, 2))
    assert found[2]["status"] == "killed, perhaps for want of memory"
    assert [row["status"] for row in found].count("done") == 5


def test_a_torn_or_foreign_row_is_refused(tmp_path):
    list(sweep(CELLS[:1], square, tmp_path))
    path = tmp_path / f"{CELLS[0].key}.json"
    table = json.loads(path.read_text())
    path.write_text(json.dumps(table)[:-4])
    with pytest.raises(BadData, match="cannot be read"):
        list(sweep(CELLS, square, tmp_path))
    table["row"]["n"] = 9
    path.write_text(json.dumps(table))
    with pytest.raises(BadData, match="not what it is named"):
        list(sweep(CELLS, square, tmp_path))


def test_names_of_cells_are_file_names_and_differ():
    keys = {Cell({"a": a, "b": b}).key for a in ("x/..", "x", "x y") for b in (1, 1.5, "1")}
    assert len(keys) == 9
    assert all("/" not in key and len(key) < 100 for key in keys)


PROGRAM = """
import sys, time
from pathlib import Path
from residua.sweeps import Cell, sweep

def slow(cell, folder):
    Path(sys.argv[1], "started").touch()
    time.sleep(60)
    return {}

list(sweep([Cell({"n": n}) for n in range(2)], slow, Path(sys.argv[1]) / "cells", 2))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends orphans")
def test_workers_end_with_a_main_process_that_is_killed(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)])
    while not (tmp_path / "started").exists():
        assert process.poll() is None
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 2
    process.kill()
    process.wait()
    for _ in range(200):
        left = [pid for pid in children if running(pid)]
        if not left:
            return
        time.sleep(0.05)
    raise AssertionError(f"still running: {left}")


def running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
