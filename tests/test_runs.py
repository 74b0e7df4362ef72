"""The directory of a run: one writer, names of its own, logs that survive a crash."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from residua.errors import BadData, Locked, OutOfResources
from residua.runs import RunDirectory, point


def made(parent: Path) -> RunDirectory:
    run = RunDirectory.create(parent, "pets", "resnet18")
    run.update({"status": "new"})
    return run


def python(code: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True
    )


def test_names_count_up_and_latest_follows(tmp_path: Path) -> None:
    paths = [made(tmp_path / "runs").path for _ in range(3)]
    assert [path.name for path in paths] == [f"pets-resnet18-{n}" for n in (1, 2, 3)]
    assert (tmp_path / "runs" / "latest").resolve() == paths[-1].resolve()
    assert {path.name for path in paths[0].iterdir()} >= {"checkpoints", "evaluations", "figures"}
    by_link = RunDirectory.open(tmp_path / "runs" / "latest")
    made(tmp_path / "runs")
    assert by_link.path == paths[-1].resolve()  # not wherever `latest` leads by now


@pytest.mark.parametrize("data", ["../../etc", "a/b\\c", "-rf", "", "x" * 500, "a b\n<c>"])
def test_names_stay_inside_the_folder(tmp_path: Path, data: str) -> None:
    run = RunDirectory.create(tmp_path / "runs", data, "resnet18")
    assert run.path.parent == tmp_path / "runs"
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}
    assert not run.path.name.startswith("-") and len(run.path.name) < 140


def test_many_processes_at_once_get_names_of_their_own(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from residua.runs import RunDirectory\n"
        "for _ in range(20): print(RunDirectory.create(Path(sys.argv[1]), 'a', 'b').path.name)"
    )
    children = [python(code, str(tmp_path)) for _ in range(6)]
    found = [line for child in children for line in child.communicate()[0].splitlines()]
    assert [child.returncode for child in children] == [0] * 6
    assert sorted(found) == sorted(f"a-b-{n}" for n in range(1, 121))
    assert (tmp_path / "latest").resolve().name in found
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for parent in (tmp_path / "file", tmp_path / "file" / "runs"):
        with pytest.raises(OutOfResources) as error:
            made(parent)
        assert error.value.where == str(parent)


def test_what_is_not_a_run_is_not_opened(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(BadData) as bad:
            RunDirectory.open(path)
        assert bad.value.where == str(path)


LOCK = """
import os, sys, time
from pathlib import Path
from residua.runs import RunDirectory
with RunDirectory(Path(sys.argv[1])).lock():
    orphan = os.fork()
    if orphan:
        print(os.getpid(), orphan, flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_frees_the_lock(tmp_path: Path) -> None:
    """Even while a process that the killed one started lives on."""
    run = made(tmp_path)
    holder = python(LOCK, str(run.path))
    assert holder.stdout is not None
    pid, orphan = map(int, holder.stdout.readline().split())
    try:
        with pytest.raises(Locked) as locked, run.lock():
            pass
        assert locked.value.exit_code == 6
        assert f"process {pid} on " in locked.value.where and str(run.path) in locked.value.where

        holder.kill()
        holder.wait()
        os.kill(orphan, 0)  # it lives
        with run.lock():
            assert f"process {os.getpid()} " in (run.path / "lock").read_text()
    finally:
        os.kill(orphan, signal.SIGKILL)
        holder.stdout.close()


def test_the_lock_is_free_after_its_block_and_after_an_error(tmp_path: Path) -> None:
    run = made(tmp_path)
    with pytest.raises(KeyError), run.lock():
        raise KeyError
    code = LOCK.replace("time.sleep(60)", "os._exit(0)")
    other = python(code, str(run.path))
    assert other.communicate()[0].startswith(str(other.pid))
    assert other.returncode == 0


def test_a_directory_that_is_gone_cannot_be_locked(tmp_path: Path) -> None:
    run = made(tmp_path)
    run.path.rename(tmp_path / "elsewhere")
    with pytest.raises(OutOfResources) as error, run.lock():
        pass
    assert str(run.path) in error.value.where


def test_fields_are_merged(tmp_path: Path) -> None:
    run = made(tmp_path)
    run.update({"seed": 3, "data": {"name": "é"}})
    run.update({"status": "running"})
    assert run.info() == {"status": "running", "seed": 3, "data": {"name": "é"}}


def test_names_that_are_not_unicode_read_back(tmp_path: Path) -> None:
    """A folder may be called anything but NUL and a slash, and the run records its path."""
    run = made(tmp_path)
    source = os.fsdecode(b"/data/caf\xe9")
    run.update({"source": source})
    run.update({"status": "running"})
    assert run.info() == {"status": "running", "source": source}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"5", b"[" * 100_000, None])
def test_broken_tables_are_bad_data(tmp_path: Path, content: bytes | None) -> None:
    run = made(tmp_path)
    if content is None:
        (run.path / "run.json").unlink()
    else:
        (run.path / "run.json").write_bytes(content)
    with pytest.raises(BadData) as bad:
        run.info()
    assert bad.value.where == str(run.path / "run.json")


ROWS = [{"split": "train", "step": step, "loss": 0.1 * step} for step in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    "torn", [b"", b'{"split": "tr', b"\0\0\0\0", b"\xff\xfe\x80", b"[1, 2]", b"5"]
)
def test_a_torn_last_row_is_skipped_and_a_rewind_removes_it(tmp_path: Path, torn: bytes) -> None:
    run = made(tmp_path)
    assert run.metrics() == []
    for row in ROWS:
        run.record(row)
    with (run.path / "metrics.jsonl").open("ab") as file:
        file.write(torn)
    assert run.metrics() == ROWS

    run.rewind(3)
    run.record(ROWS[3])
    assert run.metrics() == ROWS
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == ROWS


def test_a_rewind_drops_later_steps(tmp_path: Path) -> None:
    run = made(tmp_path)
    for row in ROWS:
        run.record(row)
    run.rewind(2)
    assert run.metrics() == ROWS[:2]
    run.rewind(-1)
    assert run.metrics() == []
    assert (run.path / "metrics.jsonl").read_bytes() == b""


def test_reading_needs_no_lock_and_writes_nothing(tmp_path: Path) -> None:
    run = made(tmp_path)
    run.record(ROWS[0])
    before = {path: path.stat().st_mtime_ns for path in [run.path, *run.path.rglob("*")]}
    again = RunDirectory.open(run.path)
    assert (again.info(), again.metrics()) == ({"status": "new"}, ROWS[:1])
    assert {path: path.stat().st_mtime_ns for path in [run.path, *run.path.rglob("*")]} == before


def test_latest_is_replaced_in_one_step(tmp_path: Path) -> None:
    """Whoever looks while it changes finds the old or the new one, never none."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    point(tmp_path / "latest", "a")
    code = (
        "import sys; from pathlib import Path; from residua.runs import point\n"
        "for turn in range(300): point(Path(sys.argv[1]), 'ab'[turn % 2])"
    )
    child = python(code, str(tmp_path / "latest"))
    seen = set()
    while child.poll() is None:
        seen.add(os.readlink(tmp_path / "latest"))
        time.sleep(0.0005)
    assert child.communicate() and child.returncode == 0
    assert seen <= {"a", "b"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "latest"]
