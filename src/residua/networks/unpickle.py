"""Read a pickled weights file without trusting it.

A pickle is a program. It runs in a process of its own, `python -P -m residua.networks.unpickle
SOURCE TARGET`, in torch's restricted unpickler, which builds tensors and nothing else; what comes
back is safetensors: names and numbers. That unpickler was broken twice within a year
(CVE-2025-32434, CVE-2026-24747), so a second fence stands around it:

- memory, processor time and the size of what it writes are limited, in proportion to SOURCE;
- an audit hook, which Python code cannot remove, lets it read SOURCE and write TARGET, and refuses
  all else that Python reports: other files, sockets, processes, imports, compiled code, libraries.
"""

import io
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import torch as safetensors
from torch import Tensor, nn

from residua.errors import BadData, OutOfResources, ResiduaError
from residua.networks.weights import tensors

MEGABYTE = 1 << 20
CPU_SECONDS, WALL_SECONDS = 60, 120
MOST_TENSORS = 20_000  # a network of 1202 layers has 7,218
REFUSED, NO_SPACE = 3, 28  # exit codes of the child: for the file's fault, for a full disk
LOOKS = (
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x93NUMPY", "a numpy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"<", "a web page"),
)


def read_pickled(path: Path) -> dict[str, Tensor]:
    """Return the tensors of what torch.save wrote: a state dict, or a checkpoint that holds one.

    Raises:
        BadData: the file is something else, damaged, asks for more than tensors, or costs too much.
        OutOfResources: there is no space for a temporary copy.
    """
    recognize(path)
    with tempfile.TemporaryDirectory(prefix="residua-") as folder:
        target = Path(folder) / "weights.safetensors"
        try:
            child = subprocess.run(
                # -P: nothing in the working directory can pose as a module.
                [sys.executable, "-P", "-m", "residua.networks.unpickle", path.resolve(), target],
                env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=WALL_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise unreadable(path, f"it takes more than {WALL_SECONDS} seconds") from None
        if child.returncode == NO_SPACE:
            raise OutOfResources("there is no space for a temporary copy", where=folder)
        if child.returncode:
            raise unreadable(path, complaint(child.returncode, child.stderr))
        return safetensors.load(target.read_bytes())


def recognize(path: Path) -> None:
    """Raise BadData unless the file begins as torch.save begins one."""
    if not path.is_file():
        raise BadData("there is no such file", where=str(path))
    with path.open("rb") as file:
        head = file.read(512)
    if is_pickled(head):
        return
    looks = next((name for magic, name in LOOKS if head.lstrip().startswith(magic)), "")
    if not head:
        looks = "an empty file"
    elif head[257:262] == b"ustar":
        looks = "a tar archive"
    elif head[8:9] == b"{":
        looks = "a safetensors file, which needs no unpickling"
    raise unreadable(path, f"it looks like {looks}" if looks else "its first bytes are unknown")


def is_pickled(head: bytes) -> bool:
    """Whether a file begins as torch.save begins one: a zip archive, or a bare pickle."""
    return head.startswith(b"PK\x03\x04") or (
        head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    )


def unreadable(path: Path, reason: str) -> BadData:
    return BadData(
        f"the weights cannot be read: {reason}",
        where=str(path),
        fix="get the weights as safetensors, or as a plain state dict that torch.save wrote",
    )


def complaint(code: int, stderr: bytes) -> str:
    """Say in a line, without control characters, why the child failed."""
    if code < 0:
        return f"the process that read it was stopped by {signal.Signals(-code).name}"
    lines = stderr.decode(errors="replace").strip().splitlines() or [f"exit code {code}"]
    return "".join(character for character in lines[-1] if character.isprintable())[:300]


# In the child.


def main(source: str, target: str) -> None:
    """Read SOURCE, write TARGET and exit; on failure, a line on stderr says why."""
    warm_up()
    limit(os.path.getsize(source))
    sys.addaudithook(fence(source, target))
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
        safetensors.save_file(plain(tensors(content)), target)
    except Exception as error:  # a hostile file may cause any
        sys.stderr.write(reason(error))
        sys.stderr.flush()
        os._exit(NO_SPACE if getattr(error, "errno", 0) == NO_SPACE else REFUSED)
    os._exit(0)  # no cleanup: it would be refused


def warm_up() -> None:
    """Let torch and safetensors import all that they import on first use, before the fence."""
    for zipped in (True, False):
        buffer = io.BytesIO()
        sample = {"state_dict": nn.BatchNorm2d(1).state_dict(), "weight": nn.Linear(1, 1).weight}
        torch.save(sample, buffer, _use_new_zipfile_serialization=zipped)
        buffer.seek(0)
        content = torch.load(buffer, map_location="cpu", weights_only=True)
        safetensors.save(plain(tensors(content)))


def limit(size: int) -> None:
    """Allow four times the size of the file in memory: as read, copied, in bytes, and one spare."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    now = pages * resource.getpagesize()
    for kind, most in (
        (resource.RLIMIT_AS, now + 4 * size + 512 * MEGABYTE),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 4 * size + MEGABYTE),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def fence(source: str, target: str) -> Callable[[str, tuple[Any, ...]], None]:
    """Return an audit hook that allows reading SOURCE and writing TARGET."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if path == target or (path == source and flags & os.O_ACCMODE == os.O_RDONLY):
                return
        elif event == "object.__setattr__" and arguments[1] == "__module__":
            return  # numpy does so with the array types through which safetensors reads memory
        raise PermissionError(f"it tries {event} {arguments!r:.80}")

    return hook


def plain(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors, each into memory of its own.

    Raises:
        BadData: there are too many, or one is sparse, quantized or of a type of its own.
    """
    if len(found) > MOST_TENSORS:
        raise BadData(f"it holds {len(found)} tensors; at most {MOST_TENSORS} make sense")
    for name, value in found.items():
        if type(value) is not Tensor or value.layout != torch.strided or value.is_quantized:
            raise BadData(f"{name} is not a plain tensor")
    return {
        name: value.clone(memory_format=torch.contiguous_format) for name, value in found.items()
    }


def reason(error: Exception) -> str:
    """Say in a line what is wrong with the file; torch's own advice would be to trust it."""
    message = str(error)
    forbidden = re.search(r"GLOBAL (\S+)", message)
    if forbidden:
        return f"it asks for {forbidden[1]}, and weights need nothing but tensors"
    if isinstance(error, MemoryError) or "allocate memory" in message:
        return "it asks for more memory than a file of its size can need"
    if isinstance(error, ResiduaError):
        return error.what
    if "TorchScript" in message:
        return "it is a TorchScript archive, a program instead of a state dict"
    first = (message.strip() or type(error).__name__).splitlines()[0]
    return f"it is damaged or no weights file ({first.split('. ')[0]})"


if __name__ == "__main__":
    main(*sys.argv[1:])
