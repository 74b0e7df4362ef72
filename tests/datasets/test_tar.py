"""The strict tar reader against honest archives of every format and forty hostile ones."""

import gzip
import io
import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from residua.datasets import tar
from residua.errors import BadData

CONTENT = {"a/one.bin": b"x" * 700, "a/two.txt": b"", "three": bytes(range(256)) * 5}


def archive(files: dict[str, bytes], form: int = tarfile.USTAR_FORMAT) -> bytes:
    """Write with the standard library: an independent opinion on the format."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as file:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def header(name: bytes = b"a", size: bytes = b"00000000000", kind: bytes = b"0") -> bytes:
    """A header with any fields and a right sum."""
    block = bytearray(512)
    block[: len(name)] = name
    block[124 : 124 + len(size)] = size
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def read(path: Path, data: bytes) -> dict[str, bytes]:
    path.write_bytes(data)
    return dict(tar.members(path))


LONG = {"d" * 60 + "/" + "e" * 90: b"1", "f" * 300: b"2", "plain": b"3"}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("zipped", [False, True])
def test_reads_every_format(form: int, zipped: bool, tmp_path: Path) -> None:
    data = archive(CONTENT, form)
    assert read(tmp_path / "t", gzip.compress(data) if zipped else data) == CONTENT
    assert tar.is_archive(tmp_path / "t")


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_reads_long_and_foreign_names(form: int, tmp_path: Path) -> None:
    files = LONG | {"ü" * 80: b"4"}
    assert read(tmp_path / "t", archive(files, form)) == files


def test_folders_are_passed_over(tmp_path: Path) -> None:
    assert read(tmp_path / "t", header(b"a/", kind=b"5") + archive(CONTENT)) == CONTENT


def test_other_files_are_no_archives(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"path,label\n")
    assert not tar.is_archive(tmp_path / "t")


def pax(record: bytes) -> bytes:
    return header(b"p", b"%011o" % len(record), b"x") + record + bytes(-len(record) % 512)


END = bytes(1024)
HOSTILE = {
    "outside": header(b"../../etc/passwd") + END,
    "outside in the middle": header(b"a/../../b") + END,
    "absolute": header(b"/etc/passwd") + END,
    "no name": header(b"") + END,
    "hard link": header(kind=b"1") + END,
    "symbolic link": header(kind=b"2") + END,
    "character device": header(kind=b"3") + END,
    "block device": header(kind=b"4") + END,
    "fifo": header(kind=b"6") + END,
    "sparse": header(kind=b"S") + END,
    "volume label": header(kind=b"V") + END,
    "unknown kind": header(kind=b"Z") + END,
    "negative size": header(size=b"-0000000001") + END,
    "negative base 256": header(size=b"\xff" * 12) + END,
    "eight exabytes": header(size=b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7) + END,
    "eight gigabytes": header(size=b"77777777777") + END,
    "size of letters": header(size=b"0000000000x") + END,
    "size beyond the end": header(size=b"00000010000") + END,
    "folder with a size": header(b"a/", b"00000001000", b"5") + END,
    "twice the same name": header() + header() + END,
    "pax that is huge": header(size=b"00007777777", kind=b"x") + END,
    "pax of a size": pax(b"12 size=999\n") + header() + END,
    "pax of a sparse file": pax(b"22 GNU.sparse.major=1\n") + header() + END,
    "pax of zero length": pax(b"0 path=a\n") + header() + END,
    "pax of negative length": pax(b"-9 path=a\n") + header() + END,
    "pax that is too long": pax(b"99999 path=a\n") + header() + END,
    "pax without a length": pax(b"path=abc\n") + header() + END,
    "pax to the outside": pax(b"16 path=../../b\n") + header() + END,
    "long name to the outside": header(b"L", b"00000000005", b"L")
    + b"../b\0".ljust(512, b"\0")
    + header()
    + END,
    "name of another encoding": header(b"caf\xe9") + END,
    "wrong sum": header()[:-1] + b"x" + END,
    "not a tar": b"hello" * 300,
    "no end": header(),
    "nothing": b"",
    "short": header()[:100],
    "gzip of nothing": gzip.compress(b""),
    "gzip that is cut off": gzip.compress(archive(CONTENT))[:-30],
    "gzip with a wrong checksum": gzip.compress(archive(CONTENT))[:-8] + bytes(8),
    "gzip with damage": gzip.compress(archive(CONTENT))[:10] + b"\xff" * 50,
    "gzip bomb after the end": gzip.compress(archive(CONTENT) + bytes(50_000_000)),
    "gzip bomb in a member": gzip.compress(header(size=b"7777777777 ") + bytes(50_000_000)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_refuses_hostile_archives_quickly(name: str, tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(BadData, match=r"unsound archive: .*\nwhere: .*t\.tar, byte [\d,]+\nfix"):
        read(tmp_path / "t.tar", HOSTILE[name])
    assert time.monotonic() - start < 5


def test_the_limit_holds_for_all_members_together(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(archive({str(index): bytes(3000) for index in range(9)}))
    with pytest.raises(BadData, match="more than 10,000 bytes"):
        list(tar.members(tmp_path / "t", limit=10_000))


def test_cut_off_at_every_block_is_refused(tmp_path: Path) -> None:
    data = archive(CONTENT)
    end = len(data.rstrip(b"\0")) + 512  # up to here a cut takes something away
    for cut in range(0, end - 512, 256):
        with pytest.raises(BadData):
            read(tmp_path / "t", data[:cut])


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_gives_members_or_bad_data(tmp_path_factory, data) -> None:  # type: ignore[no-untyped-def]
    source = bytearray(archive(LONG, tarfile.PAX_FORMAT))
    for _ in range(data.draw(st.integers(1, 5))):
        source[data.draw(st.integers(0, len(source) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    try:
        names = read(path, bytes(source))
    except BadData:
        return
    assert all(not name.startswith("/") and ".." not in name.split("/") for name in names)
