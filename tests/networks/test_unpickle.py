"""Hostile and broken weights files: none of them runs, each is refused in a line."""

import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from residua.errors import BadData
from residua.networks import unpickle
from residua.networks.unpickle import read_pickled


class Run:
    """Pickles as a call of `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


class Own(torch.Tensor):
    """A tensor whose methods could be anyone's."""


def zipped(content: object) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path)


def legacy(content: object) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path, _use_new_zipfile_serialization=False)


def raw(data: bytes) -> Callable[[Path], None]:
    return lambda path: void(path.write_bytes(data))


def void(_: object) -> None:
    return None


def patched(old: bytes, new: bytes) -> Callable[[Path], None]:
    """Write an archive of one tensor with a change in its pickle."""

    def write(path: Path) -> None:
        torch.save({"weight": torch.zeros(4)}, path)
        with zipfile.ZipFile(path) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in entries.items():
                if name.endswith("data.pkl"):
                    assert old in data
                    data = data.replace(old, new)
                archive.writestr(name, data)

    return write


def truncated(path: Path) -> None:
    torch.save({"weight": torch.zeros(400)}, path)
    path.write_bytes(path.read_bytes()[:-500])


def torchscript(path: Path) -> None:
    """Write what tells torch that an archive is a program."""
    torch.save({"weight": torch.zeros(4)}, path)
    with zipfile.ZipFile(path, "a") as archive:
        root = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{root}/constants.pkl", pickle.dumps((), 2))


TOUCH = Run(os.system, "touch canary")
HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "system": (zipped({"state_dict": TOUCH}), "it asks for posix.system"),
    "system in an old file": (legacy({"weight": TOUCH}), "it asks for posix.system"),
    "eval": (raw(pickle.dumps(Run(eval, "open('canary', 'w')"), 2)), "it asks for eval"),
    "nested": (
        zipped(OrderedDict(a=[{"b": Run(getattr, Run(__import__, "os"), "system")}])),
        "it asks for getattr",
    ),
    "storage type": (
        patched(b"ctorch\nFloatStorage\n", b"cposix\nsystem\n"),
        "it asks for posix.system",
    ),
    "storage size": (patched(b"K\x04\x85", b"J\xff\xff\xff\x7f\x85"), "it is damaged"),
    "expanded": (zipped({"a": torch.zeros(1).expand(1 << 20, 1 << 20)}), "asks for more memory"),
    "numpy objects": (zipped({"a": np.array([TOUCH], dtype=object)}), "it asks for numpy"),
    "torchscript": (torchscript, "it is a TorchScript archive"),
    "truncated": (truncated, "it is damaged"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_a_line(name: str, tmp_path: Path) -> None:
    write, says = HOSTILE[name]
    path = tmp_path / "weights.pt"
    write(path)

    with pytest.raises(BadData) as caught:
        read_pickled(path)

    assert says in caught.value.what
    assert "\n" not in caught.value.what
    assert "weights_only" not in caught.value.what  # never the advice to trust the file
    assert caught.value.where == str(path)
    assert not Path("canary").exists()  # the child's working directory is this one


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "an empty file"),
        (b"7z\xbc\xaf\x27\x1c\x00\x04", "a 7z archive"),
        (b"\x93NUMPY\x01\x00", "a numpy array"),
        (b"\x1f\x8b\x08", "a gzip archive"),
        (b"  <!DOCTYPE html><title>404", "a web page"),
        (b"weights".ljust(257, b"\0") + b"ustar\x0000", "a tar archive"),
        (b"\x10\0\0\0\0\0\0\0{}", "a safetensors file"),
        (b"cposix\nsystem\n(S'touch canary'\ntR.", "its first bytes are unknown"),
    ],
)
def test_other_files_are_not_even_given_to_the_child(
    data: bytes, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpickle.subprocess, "run", lambda *_, **__: pytest.fail("it was started"))
    path = tmp_path / "weights.pt"
    path.write_bytes(data)

    with pytest.raises(BadData, match=says):
        read_pickled(path)
    with pytest.raises(BadData, match="there is no such file"):
        read_pickled(tmp_path)


@pytest.mark.parametrize("save", [zipped, legacy])
def test_plain_weights_come_back_bit_for_bit(
    save: Callable[[object], Callable[[Path], None]], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    shared = torch.randn(6)
    state = {
        "transposed": torch.randn(3, 5).T,
        "half": torch.randn(4).half(),
        "count": torch.tensor(7),
        "parameter": nn.Parameter(torch.randn(2)),
        "one": shared[:4],
        "other": shared[2:],
        "epoch": 4,
    }
    path = tmp_path / "weights with spaces.pt"
    save({"state_dict": state, "best_prec1": 91.2})(path)

    found = read_pickled(path)

    assert found.keys() == state.keys() - {"epoch"}
    for name, tensor in found.items():
        assert tensor.dtype == state[name].dtype
        assert torch.equal(tensor, state[name].detach())


def test_a_child_that_hangs_or_dies_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"PK\x03\x04")

    def hang(command: list[str], **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, 120)

    monkeypatch.setattr(unpickle.subprocess, "run", hang)
    with pytest.raises(BadData, match="more than 120 seconds"):
        read_pickled(path)

    dead = subprocess.CompletedProcess([], -24, b"", b"")
    monkeypatch.setattr(unpickle.subprocess, "run", lambda *_, **__: dead)
    with pytest.raises(BadData, match="stopped by SIGXCPU"):
        read_pickled(path)


def test_only_plain_tensors_pass() -> None:
    odd = {"sparse": torch.eye(3).to_sparse(), "own": torch.zeros(1).as_subclass(Own)}
    for name, value in odd.items():
        with pytest.raises(BadData, match=f"{name} is not a plain tensor"):
            unpickle.plain({"fine": torch.zeros(1), name: value})
    with pytest.raises(BadData, match="20001 tensors"):
        unpickle.plain({str(index): torch.zeros(()) for index in range(20_001)})


def test_what_the_child_says_is_printed_without_control_characters() -> None:
    assert unpickle.complaint(3, b"first\n\x1b[31mred\x07 \xff text") == "[31mred \ufffd text"
    assert unpickle.complaint(9, b"") == "exit code 9"


# The second fence, for the day on which the unpickler fails.

ATTEMPTS = """
import ctypes, os, resource, socket, subprocess, sys
from residua.networks.unpickle import fence, limit, warm_up
source, target, other = sys.argv[1:]
warm_up()
limit(1000)
attempts = {
    "os.system": lambda: os.system("touch " + other),
    "subprocess": lambda: subprocess.run(["touch", other]),
    "os.fork": os.fork,
    "os.execv": lambda: os.execv("/bin/touch", ["touch", other]),
    "os.posix_spawn": lambda: os.posix_spawn("/bin/touch", ["touch", other], {}),
    "socket": socket.socket,
    "ctypes": lambda: ctypes.CDLL(None),
    "open": lambda: open(other, "w"),
    "os.open": lambda: os.open(other, os.O_CREAT | os.O_WRONLY),
    "overwrite": lambda: open(source, "r+"),
    "read": lambda: open("/etc/passwd"),
    "import": lambda: __import__("wave"),
    "eval": lambda: eval("1"),
    "exec": lambda: exec("x = 1"),
    "os.remove": lambda: os.remove(source),
    "os.rename": lambda: os.rename(source, other),
    "os.mkdir": lambda: os.mkdir(other),
    "os.kill": lambda: os.kill(os.getppid(), 0),
    "listdir": lambda: os.listdir("/"),
}
sys.addaudithook(fence(source, target))
for name, attempt in attempts.items():
    try:
        attempt()
    except PermissionError as error:
        if "it tries" in str(error):
            continue
    sys.stdout.write(name + " was possible\\n")
open(source, "rb").close()
open(target, "wb").close()
sys.stdout.write("as allowed\\n")
try:
    bytearray(2 << 30)
except MemoryError:
    sys.stdout.write("memory ends\\n")
sys.stdout.write(str(resource.getrlimit(resource.RLIMIT_CPU)[0]) + "\\n")
sys.stdout.flush()
try:
    with open(target, "wb") as file:
        file.write(bytes(2 << 20))
except OSError as error:
    sys.stdout.write("files end\\n")
sys.stdout.flush()
os._exit(0)
"""


def test_the_fence_lets_nothing_through(tmp_path: Path) -> None:
    source, target, other = (tmp_path / name for name in ("source", "target", "canary"))
    source.write_bytes(b"as it was")

    done = subprocess.run(
        [sys.executable, "-P", "-c", ATTEMPTS, source, target, other],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.stdout.splitlines() == ["as allowed", "memory ends", "60", "files end"], done.stderr
    assert not other.exists()
    assert source.read_bytes() == b"as it was"
