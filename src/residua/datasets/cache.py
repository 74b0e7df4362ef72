"""A folder of pictures decoded once: their pixels in one file, mapped into memory.

Each picture is stored as uint8, its shorter side scaled down to what training needs; one that is
smaller is stored as it is. Training then cuts its views from these pictures, which costs a tenth of
decoding. The views differ slightly from views cut from the files, having been resampled twice.

    <place>/<digest of the paths and the side>/
        pictures        all pixels, one picture after another
        index           int64 (n, 5): offset, height, width; bytes and mtime_ns of the source file
        manifest.json   lengths and SHA-256 of both; written last

A cache is used only when all of this is true, and is otherwise built again: it is ours and nobody
else can write to it, it is no link, its lengths and digests are those of the manifest, and every
source file has the size and time that it had. (A file changed without changing either is not
seen.) It is built under another name and appears whole; deleting it is safe at any time.
"""

import errno
import fcntl
import hashlib
import json
import math
import mmap
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from residua import augment, durable, images
from residua.datasets.dataset import Pixels, Split
from residua.datasets.memory import unreadable
from residua.errors import BadData, OutOfResources, Refused
from residua.interrupt import deaf

FORMAT = 1
BLOCK = 32  # pictures a worker takes at a time
PIECE = 1 << 26  # bytes under one digest, so that all cores verify
ROOM = 8 / 7  # of the network's size, for views of a random area: 256 for 224

Index = NDArray[np.int64]  # (n, 5)
OFFSET, HEIGHT, WIDTH, BYTES, TIME = range(5)


def side(size: int, crop: str | None) -> int:
    """The shorter side that views of `size` pixels are cut from."""
    room = augment.SHORTER_SIDE[1] / 224 if crop == "scale" else ROOM
    return math.ceil(size * room)


def cached(split: Split, shorter: int, place: Path, workers: int = 1) -> Split:
    """The split, whose pictures come from a cache below `place`, which is built where needed.

    Args:
        split: of files; one in memory is returned as it is.
        shorter: pixels of the shorter side, see `side`.
        place: a folder for caches, made if missing; never inside of the data.
        workers: processes that decode.

    Raises:
        BadData: pictures that cannot be read, all of them.
        OutOfResources: no room on the disk, or a worker process ended.
        Refused: `place` is another user's, or others can write to it.
    """
    if isinstance(split.images, Tensor) or not len(split):
        return split
    private(place)
    names = "\0".join(str(path.absolute()) for path in split.images)
    key = hashlib.sha256(f"{FORMAT}/{shorter}/{names}".encode("utf-8", "surrogateescape"))
    folder = place / f"{key.hexdigest()[:32]}-{shorter}"
    with locked(folder.with_suffix(".lock")):
        sources = stamps(split)
        kept = opened(folder, sources, workers)
        if kept is None:
            build(folder, split, shorter, sources, workers)
            kept = opened(folder, sources, workers)
    if kept is None:
        fix = "leave the folder alone while a training starts, or train without --cache"
        raise OutOfResources("the cache is not what was just written", str(folder), fix)
    return replace(split, kept=kept)


def private(place: Path) -> None:
    """Make the folder of caches, or check that only this user can write to it."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir(mode=0o700, exist_ok=True)
        found = os.lstat(place)
    except OSError as error:
        raise durable.failed(place, error, 0) from error
    if not ours(found, stat.S_IFDIR):
        raise Refused(
            "the folder for caches is a link, another user's, or others can write to it",
            where=str(place),
            fix=f"chmod go-w {place}, or choose another folder",
        )


def ours(found: os.stat_result, kind: int) -> bool:
    """Whether this is of that kind and only this user can have written it."""
    mode = found.st_mode
    return stat.S_IFMT(mode) == kind and found.st_uid == os.geteuid() and not mode & 0o022


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time build or open a cache; the others wait for it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise durable.failed(path, error, 0) from error
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def stamps(split: Split) -> Index:
    """Bytes and mtime_ns (n, 2) of every source file; BadData lists those that are gone."""
    rows, bad = np.zeros((len(split), 2), np.int64), []
    for index, path in enumerate(split.images):
        try:
            found = os.stat(str(path))
            rows[index] = found.st_size, found.st_mtime_ns
        except OSError as error:
            bad.append((split.name(index), error.strerror or str(error)))
    if bad:
        raise unreadable(bad)
    return rows


def opened(folder: Path, sources: Index, workers: int) -> Callable[[int], Pixels] | None:
    """What gives the pictures of a cache, or None where it cannot be trusted."""
    try:
        if not ours(os.lstat(folder), stat.S_IFDIR):
            return None
        manifest = json.loads(content(folder / "manifest.json"))
        written = content(folder / "index")
        if manifest["index"] != hashlib.sha256(written).hexdigest():
            return None
        index = np.frombuffer(written, np.int64).reshape(-1, 5)
        if not np.array_equal(index[:, BYTES:], sources):
            return None
        with open(folder / "pictures", "rb", opener=unlinked) as file:
            length = os.fstat(file.fileno()).st_size
            if (
                length != manifest["bytes"]
                or digests(file.fileno(), length, workers) != (manifest["pictures"])
            ):
                return None
            # Pages that could be written to would have to fit into memory, all at once.
            pages = mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return partial(picture, np.frombuffer(pages, np.uint8), index)


def picture(pages: Pixels, index: Index, at: int) -> Pixels:
    """The picture (h, w, 3) at a position, where it lies; it cannot be written to."""
    offset, height, width = index[at, :BYTES].tolist()
    return pages[offset : offset + height * width * 3].reshape(height, width, 3)


def unlinked(path: str, flags: int) -> int:
    """Open a regular file that only this user can have written, and no link to it."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not ours(os.fstat(descriptor), stat.S_IFREG):
        os.close(descriptor)
        raise PermissionError(f"{path} is not ours alone")
    return descriptor


def content(path: Path) -> bytes:
    with open(path, "rb", opener=unlinked) as file:
        return file.read()


def digests(descriptor: int, length: int, workers: int) -> list[str]:
    """The SHA-256 of each piece of a file."""

    def digest(at: int) -> str:
        return hashlib.sha256(os.pread(descriptor, min(PIECE, length - at), at)).hexdigest()

    with ThreadPoolExecutor(max(1, workers)) as pool:
        return list(pool.map(digest, range(0, length, PIECE)))


def build(folder: Path, split: Split, shorter: int, sources: Index, workers: int) -> None:
    """Decode every picture into a new cache, in place of what is there."""
    index = planned(split, shorter, sources, workers)
    length = int(index[-1, OFFSET] + index[-1, HEIGHT] * index[-1, WIDTH] * 3)
    temporary = folder.with_suffix(".building")
    try:
        for leftover in (temporary, folder):
            remove(leftover)
        if shutil.disk_usage(folder.parent).free < length:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        temporary.mkdir(mode=0o700)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(temporary / "pictures", flags, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, length)  # a full disk is known before any work
            bad = filled(split, index, descriptor, workers)
            os.fsync(descriptor)
            pieces = digests(descriptor, length, workers)
        finally:
            os.close(descriptor)
        if bad:
            raise unreadable(bad)
        durable.write(temporary / "index", index.tobytes())
        whole = hashlib.sha256(index.tobytes()).hexdigest()
        manifest: dict[str, Any] = {"format": FORMAT, "side": shorter, "bytes": length}
        manifest |= {"index": whole, "pictures": pieces}
        durable.write(temporary / "manifest.json", json.dumps(manifest).encode())
        durable.rename_folder(temporary, folder)
    except OSError as error:
        raise durable.failed(folder, error, length) from error
    finally:
        remove(temporary)


def remove(path: Path) -> None:
    """Take away a folder, or whatever is in its place, following no link."""
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        pass


def planned(split: Split, shorter: int, sources: Index, workers: int) -> Index:
    """Where every picture will lie, from the headers of the files."""

    def shape(path: Path | Tensor) -> tuple[int, int] | str:
        try:
            header = images.probe(images.file_bytes(Path(str(path))))
        except BadData as error:
            return error.what
        return scaled(header.height, header.width, shorter)

    with ThreadPoolExecutor(max(1, workers)) as pool:
        shapes = list(pool.map(shape, split.images))
    bad = [(split.name(at), what) for at, what in enumerate(shapes) if isinstance(what, str)]
    if bad:
        raise unreadable(bad)
    index = np.zeros((len(split), 5), np.int64)
    index[:, HEIGHT:BYTES], index[:, BYTES:] = shapes, sources
    index[1:, OFFSET] = np.cumsum(index[:, HEIGHT] * index[:, WIDTH] * 3)[:-1]
    return index


def scaled(height: int, width: int, shorter: int) -> tuple[int, int]:
    """The size at which a picture is stored: never larger than it is."""
    scale = min(1.0, shorter / min(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def filled(split: Split, index: Index, descriptor: int, workers: int) -> list[tuple[str, str]]:
    """Decode all pictures to their places; returns those that cannot be read, and why."""
    workers = max(1, min(workers, len(split)))
    context, begun = get_context("fork"), []
    try:
        for first in range(workers):
            receiver, sender = context.Pipe(duplex=False)
            share = (sender, split, index, descriptor, range(first, len(split), workers))
            process = context.Process(target=report, args=share, daemon=True)
            with deaf():
                process.start()
            sender.close()
            begun.append((receiver, process))
        found = [receiver.recv() for receiver, _ in begun]
    except EOFError as error:
        fix = "use fewer workers"
        raise OutOfResources("a process that decodes images ended", fix=fix) from error
    finally:
        for _, process in begun:
            process.kill()  # it has told what it found, or nobody waits for it
            process.join()
    for failure in found:
        if isinstance(failure, Exception):
            raise failure
    return list(chain.from_iterable(found))


def report(
    sender: Connection, split: Split, index: Index, descriptor: int, share: Sequence[int]
) -> None:
    """In a process of its own: decode a share of the pictures and send what went wrong."""
    try:
        sender.send(decoded(split, index, descriptor, share))
    except (OSError, OutOfResources) as error:
        sender.send(error)


def decoded(
    split: Split, index: Index, descriptor: int, share: Sequence[int]
) -> list[tuple[str, str]]:
    """Write the pictures at these positions, scaled down, to their places in the file."""
    bad = []
    for at in share:
        offset, height, width, *stamp = index[at].tolist()
        try:
            pixels = images.resize(split.pixels(at), height, width)
        except BadData as error:
            bad.append((split.name(at), error.what))
            continue
        os.pwrite(descriptor, pixels.tobytes(), offset)
        after = os.stat(str(split.images[at]))
        if [after.st_size, after.st_mtime_ns] != stamp:
            bad.append((split.name(at), "it changed while it was read"))
    return bad
