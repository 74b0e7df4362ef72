"""Which pictures are meant: files, folders, patterns, and paths on standard input."""

import glob
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from residua.commands.line import STDIN
from residua.datasets.looks import EXTENSIONS
from residua.errors import Refused
from residua.words import harmless


def expanded(arguments: Sequence[str], stdin: TextIO) -> list[Path]:
    """The files that the arguments name, each folder's and pattern's sorted.

    Raises:
        Refused: an argument names no file at all.
    """
    return [path for argument in arguments for path in named(argument, stdin)]


def named(argument: str, stdin: TextIO) -> Iterator[Path]:
    """The files that one argument names."""
    if argument == STDIN:
        yield from (Path(line.rstrip("\n")) for line in stdin if line.strip())
        return
    path = Path(argument)
    if path.is_dir():
        found = sorted(pictures(path))
    elif not path.exists() and glob.has_magic(argument):
        found = sorted(Path(name) for name in glob.glob(argument, recursive=True))
        found = [file for file in found if not file.is_dir()]
    else:
        found = [path]  # if it is missing, its answer will say so
    if not found:
        fix = f"images end in {', '.join(sorted(EXTENSIONS))}" if path.is_dir() else ""
        raise Refused(f'no image in "{harmless(argument)}"', fix=fix)
    yield from found


def pictures(folder: Path) -> Iterator[Path]:
    """The files below a folder that are called images, hidden ones left out."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in EXTENSIONS and not hidden and path.is_file():
            yield path


def shard(paths: Iterable[Path], share: str | None) -> list[Path]:
    """Every n-th of the paths for a share `i/n`, i from 1 to n: together they are all of them.

    Raises:
        Refused: `share` is not of that form.
    """
    paths = list(paths)
    if share is None:
        return paths
    first, _, count = share.partition("/")
    if not (first.isdecimal() and count.isdecimal() and 1 <= int(first) <= int(count)):
        fix = "as in --shard 1/4, 2/4, 3/4 and 4/4"
        raise Refused("a shard is i/n with i from 1 to n", f"received {harmless(share)}", fix)
    return paths[int(first) - 1 :: int(count)]
