"""Files that appear whole or not at all, and in the order that survives a power cut."""

import errno
import os
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residua import durable
from residua.errors import OutOfResources


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@given(data=st.binary(max_size=100), before=st.none() | st.binary(max_size=100))
def test_what_is_written_is_there(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, before: bytes | None
) -> None:
    path = tmp_path_factory.mktemp("d") / "file"
    if before is not None:
        path.write_bytes(before)
    durable.write(path, data)
    assert path.read_bytes() == data
    assert names(path.parent) == {"file"}


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_files_have_the_rights_that_the_umask_leaves(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        durable.write(tmp_path / "file", b"")
        assert os.umask(mask) == mask  # and writing leaves it as it was
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644 & ~mask


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    secret, link = tmp_path / "secret", tmp_path / "link"
    secret.write_bytes(b"old")
    link.symlink_to(secret)
    durable.write(link, b"new")
    assert (secret.read_bytes(), link.read_bytes()) == (b"old", b"new")


def test_lines_are_appended(tmp_path: Path) -> None:
    durable.append(tmp_path / "log", '{"a": 1}')
    durable.append(tmp_path / "log", '{"ä": 2}')
    assert (tmp_path / "log").read_text(encoding="utf-8") == '{"a": 1}\n{"ä": 2}\n'


class Recorder:
    """Every flush and rename, in order, with the final name of the file at the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, str]] = []
        self.fsync, self.replace, self.rename = os.fsync, os.replace, os.rename
        for name in ("fsync", "replace", "rename"):
            monkeypatch.setattr(os, name, getattr(self, f"on_{name}"))

    def on_fsync(self, descriptor: int) -> None:
        self.calls.append(("flush", os.readlink(f"/proc/self/fd/{descriptor}")))
        self.fsync(descriptor)

    def on_replace(self, source: Any, target: Any) -> None:
        self.calls.append(("rename", f"{source} -> {target}"))
        self.replace(source, target)

    def on_rename(self, source: Any, target: Any) -> None:
        self.calls.append(("rename", f"{source} -> {target}"))
        self.rename(source, target)


def test_a_file_is_flushed_then_named_then_its_folder_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(monkeypatch)
    durable.write(tmp_path / "file", b"data")
    (_, written), (_, renamed), last = recorder.calls
    assert [kind for kind, _ in recorder.calls] == ["flush", "rename", "flush"]
    assert renamed == f"{written} -> {tmp_path / 'file'}"
    assert last == ("flush", str(tmp_path))


def test_a_folder_is_flushed_then_named_then_its_parent_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    recorder = Recorder(monkeypatch)
    durable.rename_folder(tmp_path / "a", tmp_path / "b")
    assert recorder.calls == [
        ("flush", str(tmp_path / "a")),
        ("rename", f"{tmp_path / 'a'} -> {tmp_path / 'b'}"),
        ("flush", str(tmp_path)),
    ]


def test_an_appended_line_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(monkeypatch)
    durable.append(tmp_path / "log", "line")
    assert recorder.calls == [("flush", str(tmp_path / "log"))]


MKDIR = os.mkdir
CALLS = ("fsync", "replace", "rename", "mkdir", "fchmod")


def failing(call: Callable[..., Any], countdown: list[int], code: int) -> Callable[..., Any]:
    """`call`, which fails when the shared countdown reaches zero."""

    def attempt(*args: Any, **options: Any) -> Any:
        if call is MKDIR and os.path.isdir(args[0]):
            return call(*args, **options)  # fails anyway, and is meant to
        countdown[0] -= 1
        if countdown[0] == 0:
            raise OSError(code, os.strerror(code))
        return call(*args, **options)

    return attempt


@contextmanager
def failure_at(count: int, code: int) -> Iterator[list[int]]:
    """Let the `count`-th system call of those in CALLS fail."""
    with pytest.MonkeyPatch.context() as patch:
        countdown = [count]
        for name in CALLS:
            patch.setattr(os, name, failing(getattr(os, name), countdown, code))
        yield countdown


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let writes beyond `size` bytes of a file fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_any_failing_call_is_reported_and_leaves_no_debris(tmp_path: Path, code: int) -> None:
    path = tmp_path / "file"
    for count in range(1, 100):
        path.write_bytes(b"old")
        with failure_at(count, code) as left:
            try:
                durable.write(path, b"new")
            except OutOfResources as error:
                assert os.strerror(code) in error.what and str(path) in error.where
                assert "MB free" in error.where
            else:
                assert left[0] > 0, "a failure was not reported"
                break
        assert path.read_bytes() in (b"old", b"new")
        assert names(tmp_path) == {"file"}
    assert count > 3


@pytest.mark.parametrize("size", [0, 1, 5_000, 99_999])
def test_a_short_write_leaves_the_file_that_was_there(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with largest_file(size), pytest.raises(OutOfResources) as error:
        durable.write(path, b"x" * 100_000)
    assert "0.1 MB needed" in error.value.where
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == {"file"}


def test_an_interrupted_write_leaves_no_debris(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second Ctrl-C raises wherever the work happens to be."""

    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        durable.write(tmp_path / "file", b"new")
    assert names(tmp_path) == set()


def test_a_folder_that_is_gone_is_an_error_with_the_path(tmp_path: Path) -> None:
    for write in (lambda p: durable.write(p, b""), lambda p: durable.append(p, "")):
        with pytest.raises(OutOfResources, match="No such file") as error:
            write(tmp_path / "gone" / "file")
        assert str(tmp_path / "gone" / "file") in error.value.where
