"""The C++ side of norm_relu: built on first use, loaded, and called through plain C functions.

The library lies where Python keeps the bytecode of this folder, or, where that place is not ours
alone to write, in a private folder under the temporary one. Its name holds a digest of the source,
the compiler, the flags and the processor, so that a change of any builds anew. A library that
another user owns or could have written is never loaded.

OpenMP is not linked: its functions are found in the runtime that torch has loaded, so that the two
share their threads. Setting RESIDUA_NATIVE=0 turns the library off.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any, NamedTuple

import torch

SOURCE = Path(__file__).with_name("norm_relu.cpp")
COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-fno-math-errno")
THREADED = ("-fopenmp", "")  # with threads, or where their runtime does not fit torch's, without
SECONDS = 120  # that a compiler may take; usually it takes 3

POINTER, NUMBER, REAL = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
SHAPE = (ctypes.c_int, NUMBER, NUMBER, ctypes.c_int, ctypes.c_int)
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "forward": (*SHAPE, *[POINTER] * 6, REAL, POINTER, POINTER, REAL),
    "again": (*SHAPE, *[POINTER] * 4),
    "backward": (*SHAPE, *[POINTER] * 8),
}


class Library(NamedTuple):
    """The functions of norm_relu.cpp; pointers are passed as integers, null as None."""

    forward: Callable[..., None]
    again: Callable[..., None]
    backward: Callable[..., None]


@cache
def library() -> tuple[Library | None, str]:
    """The library and where it lies, or None and one line that says why there is none.

    The first call of a process decides; it looks at RESIDUA_NATIVE and CXX.
    """
    if os.environ.get("RESIDUA_NATIVE") == "0":
        return None, "no C++ norm: RESIDUA_NATIVE=0 turns it off"
    command = compiler(os.environ.get("CXX", ""))
    if not command:
        return None, "no C++ norm: there is no compiler (CXX, c++, g++ or clang++)"
    why = ""
    for threads in THREADED:
        flags = [*FLAGS, *([threads] if threads else [])]
        try:
            path = find(command, flags)
            return load(path), str(path)
        except (OSError, subprocess.SubprocessError, AttributeError) as error:
            why = why or " ".join(str(error).split())
    return None, f"no C++ norm: {why}"


def compiler(chosen: str) -> list[str]:
    """The compiler's command: $CXX, or the first known one on the path."""
    if chosen:
        return shlex.split(chosen)
    return next(([found] for name in COMPILERS if (found := shutil.which(name))), [])


def find(command: list[str], flags: list[str]) -> Path:
    """The path of a trusted library, built if there is none yet.

    Raises:
        OSError: no folder is ours alone to write, or the compiler failed.
    """
    name = f"norm_relu.{digest(command, flags)}.so"
    for folder in folders():
        path = folder / name
        if path.exists() and not trusted(path):
            continue
        if not path.exists():
            build(path, command, flags)
        return path
    raise OSError("no folder for it is writable by this user alone")


def digest(command: list[str], flags: list[str]) -> str:
    """Sixteen digits that stand for everything that the library depends on."""
    done = subprocess.run(
        [*command, "--version"], capture_output=True, timeout=SECONDS, check=False
    )
    parts = (SOURCE.read_bytes(), done.stdout, " ".join([*command, *flags]).encode(), processor())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def processor() -> bytes:
    """What tells apart processors that -march=native compiles differently for."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_bytes().splitlines()
        return next(line for line in lines if line.lower().startswith((b"flags", b"features")))
    return platform.processor().encode() + platform.machine().encode()


def folders() -> Iterator[Path]:
    """Yield the folders that this user alone can write to, the best first."""
    for folder in (
        Path(cache_from_source(str(SOURCE))).parent,
        Path(tempfile.gettempdir()) / f"residua-{os.getuid()}",
    ):
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if trusted(folder) and os.access(folder, os.W_OK):
                yield folder


def trusted(path: Path) -> bool:
    """Whether this user or root owns it, nobody else can write to it, and it is no link."""
    found = path.lstat()
    owned = found.st_uid in (0, os.getuid())
    shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return owned and not shared and not stat.S_ISLNK(found.st_mode)


def build(path: Path, command: list[str], flags: list[str]) -> None:
    """Compile to `path`, which appears whole; what the compiler said is kept where it fails.

    Several processes may build at once: each writes a file of its own, and the last rename stays.

    Raises:
        OSError: the compiler failed.
    """
    descriptor, part = tempfile.mkstemp(prefix=".norm_relu-", suffix=".o", dir=path.parent)
    os.close(descriptor)
    made = Path(part).with_suffix(".so")
    try:
        log = run([*command, *flags, "-c", str(SOURCE), "-o", part])
        log = log or run([*command, "-shared", part, "-o", str(made)])
        if log:
            kept = path.with_suffix(".log")
            kept.write_text(log)
            raise OSError(f"the compiler failed; it said: {kept}")
        made.chmod(0o700)
        made.replace(path)
    finally:
        Path(part).unlink(missing_ok=True)
        made.unlink(missing_ok=True)


def run(command: list[str]) -> str:
    """What a failing compiler said, or nothing where it succeeds."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        timeout=SECONDS,
        check=False,
    )
    return f"{shlex.join(command)}\n{done.stdout}" if done.returncode else ""


def load(path: Path) -> Library:
    """Load a library that `find` has vouched for."""
    torch.get_num_threads()  # OpenMP's functions are those of torch, which must be there first
    loaded = ctypes.CDLL(str(path))
    functions = {}
    for name, arguments in SIGNATURES.items():
        function = loaded[f"residua_{name}"]
        function.argtypes, function.restype = arguments, None
        functions[name] = function
    return Library(**functions)
