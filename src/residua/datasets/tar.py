"""Read a tar archive as a stream, believing nothing in it.

Nothing is extracted and no link is followed: regular members come out as (name, bytes), one after
another. Every header is checked (its sum, its size against a limit, its name), because the
standard reader loops for ever on a negative size and can be led outside of its folder.
Understood: v7, ustar, and the long names of pax and GNU. Refused: links, devices, sparse files,
sizes above the limit, repeated or escaping names, and archives that end early.
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from residua.errors import BadData
from residua.resources import require

BLOCK = 512
LIMIT = 600_000_000  # bytes in all; three times the largest CIFAR archive
MEMBER_LIMIT = 200_000_000  # bytes of one member; CIFAR-100 has one of 155 MB
LARGE = 1_000_000  # bytes of a member
PADDING = 1_000_000  # bytes after the end mark; tar writes some ten thousand
MEMBERS = 100_000
NAME_LIMIT = 65_536  # bytes of a pax or GNU extension header
KINDS = {b"1": "hard link", b"2": "symbolic link", b"3": "device", b"4": "device", b"6": "FIFO"}
FREE = "end other programs, or take a machine with more memory"
FIX = "download the archive again, or unpack it yourself and give the folder"


class Header(NamedTuple):
    name: str
    size: int
    kind: bytes


def is_archive(path: Path) -> bool:
    """Whether the file starts as a gzip stream or has a tar header; reads 512 bytes."""
    with path.open("rb") as file:
        start = file.read(BLOCK)
    return start[:2] == b"\x1f\x8b" or start[257:262] == b"ustar"


def members(path: Path, limit: int = LIMIT) -> Iterator[tuple[str, bytes]]:
    """Yield (name, data) of each regular member of a .tar or .tar.gz; BadData if unsound."""
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not zipped:
            yield from _Archive(raw, path, limit).members()
            return
        with gzip.GzipFile(fileobj=raw) as file:
            yield from _Archive(file, path, limit).members()


class _Archive:
    """A position in an open archive, for bounds and for messages."""

    def __init__(self, file: BinaryIO | gzip.GzipFile, path: Path, limit: int) -> None:
        self.file, self.path, self.limit, self.offset = file, path, limit, 0

    def members(self) -> Iterator[tuple[str, bytes]]:
        seen: set[str] = set()
        long_name = ""
        while (block := self.read(BLOCK)).strip(b"\0"):
            header = self.header(block)
            if header.kind in (b"x", b"g", b"L", b"K"):
                long_name = self.extension(header) or long_name
                continue
            name, long_name = self.safe(long_name or header.name), ""
            if header.kind == b"5" or name.endswith("/"):
                if header.size:
                    raise self.bad(f"a folder that has a size, {name!r}")
                continue
            if header.kind not in (b"0", b"\0", b"7"):
                raise self.bad(f"a {KINDS.get(header.kind, 'special')} member, {name!r}")
            if name in seen or len(seen) >= MEMBERS:
                raise self.bad(f"the member {name!r} comes twice, or there are too many")
            seen.add(name)
            yield name, self.data(header.size)
        end = self.offset
        while self.read(1 << 16, exact=False):  # to the end, where gzip compares its checksum
            if self.offset - end > PADDING:
                raise self.bad("something follows its end mark")

    def read(self, size: int, exact: bool = True) -> bytes:
        """The next bytes; BadData when there are fewer, more than the limit, or damaged ones."""
        if exact and self.offset + size > self.limit:
            raise self.bad(f"it holds more than {self.limit:,} bytes")
        try:
            data = self.file.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise self.bad(f"it is damaged or cut off ({error})") from error
        if exact and len(data) < size:
            raise self.bad("it is cut off")
        self.offset += len(data)
        return data

    def data(self, size: int) -> bytes:
        if size > MEMBER_LIMIT:
            raise self.bad(f"a member of {size:,} bytes")
        if size > LARGE:  # looking at what is free takes longer than a small member does
            require(size, f"{self.path.name} is read into memory; a member of it takes", FREE)
        data = self.read(size)
        self.read(-size % BLOCK)
        return data

    def header(self, block: bytes) -> Header:
        total = sum(block[:148]) + 8 * ord(" ") + sum(block[156:])
        if self.octal(block[148:156]) != total:
            raise self.bad("a header does not have the sum that it states: not a tar, or damaged")
        name = self.text(block[:100])
        if block[257:262] == b"ustar" and block[263:265] == b"00" and block[345]:
            name = f"{self.text(block[345:500])}/{name}"
        return Header(name, self.octal(block[124:136]), block[156:157])

    def octal(self, field: bytes) -> int:
        digits = field.strip(b"\0 ")
        if not all(digit in b"01234567" for digit in digits):  # also base 256, negative or huge
            raise self.bad(f"a size that is not an octal number, {field!r}")
        return int(digits or b"0", 8)

    def extension(self, header: Header) -> str:
        """The long name that a pax or GNU header gives to the next member, or ""."""
        if header.size > NAME_LIMIT:
            raise self.bad(f"an extension header of {header.size:,} bytes")
        data = self.data(header.size)
        if header.kind == b"L":
            return self.text(data)
        if header.kind != b"x":
            return ""  # a global comment, or the target of a link that will be refused
        return self.pax(data)

    def pax(self, data: bytes) -> str:
        """The path among records "length key=value\\n"."""
        name = ""
        while data:
            length, _, _ = data.partition(b" ")
            if not length.isdigit() or len(length) > 6 or not 0 < int(length) <= len(data):
                raise self.bad("a pax record of a wrong length")
            record, data = data[: int(length)], data[int(length) :]
            key, _, value = record[len(length) + 1 :].rstrip(b"\n").partition(b"=")
            if key == b"size" or key.startswith(b"GNU.sparse"):
                raise self.bad(f"a member with the pax field {key.decode()}")
            if key == b"path":
                name = self.text(value)
        return name

    def text(self, field: bytes) -> str:
        try:
            return field.partition(b"\0")[0].decode()
        except UnicodeDecodeError as error:
            raise self.bad(f"a name that is not UTF-8, {field[:40]!r}") from error

    def safe(self, name: str) -> str:
        if not name or name.startswith("/") or ".." in name.split("/"):
            raise self.bad(f"a member outside of the archive, {name!r}")
        return name

    def bad(self, what: str) -> BadData:
        return BadData(f"unsound archive: {what}", f"{self.path}, byte {self.offset:,}", FIX)
