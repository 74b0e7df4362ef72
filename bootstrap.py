"""Set up Residua in .venv beside this file: `python3 bootstrap.py`. Nothing but Python is needed.

Which PyTorch is installed, first match wins:
  1  the one that .venv or this Python already has (2.11 or newer): kept
  2  an NVIDIA GPU answers: the CUDA build
  3  otherwise a CPU build, from a folder or index that pip knows or from PyTorch's own index

RESIDUA_TORCH=auto|cpu|cpu-only|cuda chooses instead; cpu-only never falls back to the CUDA build.
RESIDUA_SYSTEM_TORCH=1 insists on the one of this Python (clusters, containers).

The work ends with a stamp in .venv; while it is true, a call returns at once. A set-up that was
killed half-way is made anew, because half-written packages look whole to pip.
"""

# Runs on Python 3.7 as well, to say that it is too old: newer syntax and modules stay out of here.
from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

TORCH = "2.13.0"
OLDEST_TORCH = (2, 11)
TORCH_VERSION = "from importlib.metadata import version; print(version('torch'))"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
MODES = ("auto", "cpu", "cpu-only", "cuda")
CPU_SPACE, CUDA_SPACE = 2, 10  # GB: what is installed, and room to unpack it

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "residua.json"
CONSTRAINTS = VENV / "constraints.txt"

OFFLINE = re.compile(r"name resolution|NewConnectionError|Network is unreachable|timed out|ProxyE")
FULL = re.compile(r"No space left|Disk quota", re.IGNORECASE)


class Failure(Exception):
    """What is wrong, where, and how to fix it; code is the exit status."""

    def __init__(self, what: str, where: str, fix: str, code: int = 2) -> None:
        super().__init__(what)
        self.what, self.where, self.fix, self.code = what, where, fix, code

    def __str__(self) -> str:
        return f"error: {self.what}\nwhere: {self.where}\nfix:   {self.fix}"


def say(text: str) -> None:
    print(text, flush=True)


def output(*command: str, seconds: float | None = None) -> str:
    """Return what a command prints, or an empty string where it fails or takes too long."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def requested() -> str:
    """Return how torch is to be chosen: one of MODES, or "system"."""
    if os.environ.get("RESIDUA_SYSTEM_TORCH", "") not in ("", "0"):
        return "system"
    mode = os.environ.get("RESIDUA_TORCH") or "auto"
    if mode not in MODES:
        fix = f"one of {', '.join(MODES)}"
        raise Failure("no such choice of torch", f"RESIDUA_TORCH={mode}", fix)
    return mode


def recent(version: str) -> bool:
    """Tell whether a torch version is new enough; 2.11.0a0 comes before 2.11."""
    match = re.match(r"(\d+)\.(\d+)(?:\.\d+)*(a|b|rc|\.?dev)?", version)
    if match is None:
        return False
    number = (int(match[1]), int(match[2]))
    return number > OLDEST_TORCH or (number == OLDEST_TORCH and match[3] is None)


def fits(version: str, mode: str) -> bool:
    """Tell whether an installed torch is what was asked for."""
    on_cpu = "+cpu" in version or sys.platform == "darwin"
    return recent(version) and (mode in ("auto", "system") or on_cpu == mode.startswith("cpu"))


def fingerprint() -> dict[str, str]:
    """Return what a finished set-up depends on: two files, this folder, and an interpreter."""
    files = (ROOT / "pyproject.toml").read_bytes() + Path(__file__).read_bytes()
    return {
        "files": hashlib.sha256(files).hexdigest(),
        "root": str(ROOT),  # the scripts in .venv/bin name it
        "interpreter": os.path.realpath(PYTHON),  # an upgraded Python leaves the packages behind
    }


def read_stamp() -> dict[str, str]:
    try:
        return dict(json.loads(STAMP.read_text()))
    except (OSError, ValueError):
        return {}


def write_stamp(**values: str) -> None:
    STAMP.parent.mkdir(exist_ok=True)
    part = STAMP.with_suffix(".part")
    part.write_text(json.dumps(values, indent=1))
    part.replace(STAMP)


def finished(mode: str) -> bool:
    """Tell whether .venv is what `mode` and the files ask for, without starting any process."""
    stamp = read_stamp()
    same = {**stamp, **fingerprint(), "state": "done"} == stamp
    return same and mode in ("auto", stamp.get("mode")) and (VENV / "bin" / "residua").exists()


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Hold pyproject.toml, so that two set-ups of one folder take turns."""
    import fcntl

    with open(ROOT / "pyproject.toml", "rb+") as file:
        os.set_inheritable(file.fileno(), True)  # a pip that outlives this process keeps the lock
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("waiting for another set-up of this folder ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check_python() -> None:
    """Refuse what cannot work, before anything is written."""
    where = f"{sys.executable} (Python {sys.version.split()[0]})"
    if os.name != "posix":
        raise Failure("Residua runs on Linux and macOS", sys.platform, "use Linux under WSL")
    if sys.version_info < (3, 11):  # noqa: UP036
        names = (f"python3.{minor}" for minor in (14, 13, 12, 11))
        newer = next((name for name in names if output(name, "--version")), "")
        name = newer or "python3.12"
        first = "" if newer else "install Python 3.11 or newer, then "
        fix = f"{first}{name} bootstrap.py, or make PYTHON={name} setup"
        raise Failure("Residua needs Python 3.11 or newer", where, fix)
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        fix = "on Debian and Ubuntu: apt install python3-venv; then run this again"
        raise Failure("this Python cannot make virtual environments", where, fix)


def need_space(needed: int) -> None:
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < needed:
        what = f"{needed} GB of disk space are needed, {free:.1f} GB are free"
        raise Failure(what, str(ROOT), "free some space, or move this folder to another disk", 4)


def base_torch() -> str:
    """Return the version of torch that this Python imports outside any environment, or ""."""
    base = getattr(sys, "_base_executable", sys.executable)
    return output(base, "-c", f"import torch; {TORCH_VERSION}")


def venv_torch() -> str:
    """Return the version of torch as pip knows it in .venv, or ""."""
    return output(str(PYTHON), "-c", TORCH_VERSION)


def clear_venv() -> None:
    """Empty .venv, which may be a link to another disk."""
    if VENV.exists():
        PYTHON.unlink(missing_ok=True)  # first: a killed removal must not look like an environment
        for entry in VENV.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def make_venv(system: bool) -> None:
    """Make an empty environment, on top of this Python's packages where they include torch."""
    say(f"making {VENV}" + (" on top of this Python's packages" if system else ""))
    clear_venv()
    write_stamp(state="unfinished")
    flags = ["--system-site-packages"] if system else []
    command = [sys.executable, "-m", "venv", *flags, str(VENV)]
    done = subprocess.run(command, capture_output=True, text=True, close_fds=False)
    if done.returncode != 0:
        tail = (done.stderr + done.stdout).strip()[-400:]
        fix = "read the message; on Debian and Ubuntu it is often: apt install python3-venv"
        raise Failure("the virtual environment could not be made", f"{VENV}\n{tail}", fix, 4)


def pip_install(*arguments: str, quiet: bool = True) -> None:
    """Run pip in .venv; a failure says whether the network, the disk or something else failed."""
    command = [str(PYTHON), "-m", "pip", "install", *(["--quiet"] if quiet else []), *arguments]
    environment = {**os.environ, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, close_fds=False
    )
    if done.returncode == 0:
        return
    tail = "\n".join(done.stderr.strip().splitlines()[-12:])
    where = f"{' '.join(command)}\n{tail}"
    if FULL.search(done.stderr):
        raise Failure("the disk is full", where, "free some space, then run this again", 4)
    if OFFLINE.search(done.stderr):
        write_stamp(**fingerprint(), state="offline")  # pip fetches all before it writes any
        fix = "connect, or set PIP_FIND_LINKS to a folder of wheels, then run this again"
        raise Failure("the packages could not be fetched: no network", where, fix, 4)
    raise Failure("pip could not install the packages", where, "read pip's message above", 4)


def offered(requirement: str) -> bool:
    """Tell whether pip would find a file for exactly this version; nothing is installed."""
    flags = ("--dry-run", "--no-deps", "--ignore-installed", "--quiet", "--report", "-")
    return bool(output(str(PYTHON), "-m", "pip", "install", *flags, requirement))


def reachable(address: str) -> bool:
    """Tell whether a web address answers within 4 seconds, name resolution included."""
    ask = f"import urllib.request as u; print(u.urlopen({address!r}).status)"
    return output(sys.executable, "-c", ask, seconds=4) == "200"


def choose_build(mode: str) -> list[str]:
    """Return the pip arguments that install the right torch on this machine."""
    if sys.platform == "darwin":
        return [f"torch=={TORCH}"]
    if mode == "cuda" or (mode == "auto" and "GPU " in output("nvidia-smi", "-L", seconds=20)):
        need_space(CUDA_SPACE)
        return [f"torch==={TORCH}"]  # == would take 2.13.0+cpu where pip knows both
    cpu = f"torch=={TORCH}+cpu"
    if offered(cpu):
        return [cpu]
    if reachable(f"{CPU_INDEX}/torch/"):
        return [cpu, "--extra-index-url", CPU_INDEX]
    if mode == "cpu-only":
        fix = "set PIP_FIND_LINKS to a folder with the wheel, or RESIDUA_TORCH=cpu to accept CUDA"
        raise Failure("no CPU build of torch can be reached", CPU_INDEX, fix, 4)
    say("note: no CPU build of torch can be reached; the CUDA build brings about 3 GB of libraries")
    need_space(CUDA_SPACE)
    return [f"torch=={TORCH}"]


def install_torch(mode: str) -> str:
    """Leave the right torch in .venv, pinned there, and return its version."""
    CONSTRAINTS.write_text("")
    version = venv_torch()
    if not fits(version, mode):
        build = choose_build(mode)
        say(f"installing {build[0]}")
        pip_install(*build, "--upgrade", quiet="+cpu" in build[0])
        version = venv_torch()
    CONSTRAINTS.write_text(f"torch=={version}\n")
    settings = VENV / "pip.conf"
    if not settings.exists():  # every later `.venv/bin/pip install` keeps this torch too
        settings.write_text(f"[install]\nconstraint = {CONSTRAINTS.as_uri()}\n")
    return version


def development_tools() -> list[str]:
    """Return pyproject.toml's dev group, which pip reads by itself only from version 25.1 on."""
    import tomllib

    return list(tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"])


def wants_system(mode: str) -> bool:
    """Tell whether .venv is to see the packages of this Python."""
    if mode not in ("auto", "system"):
        return False
    version = base_torch()
    if mode == "system" and not recent(version):
        where = f"{sys.executable}: torch {version or 'not found'}"
        fix = "install torch 2.11 or newer in this Python, or unset RESIDUA_SYSTEM_TORCH"
        raise Failure("this Python has no torch to use", where, fix)
    return recent(version)


def reusable(mode: str) -> bool:
    """Tell whether the .venv that is there can be completed; otherwise it is made anew."""
    stamp, here = read_stamp(), fingerprint()
    moved = any(stamp.get(key, here[key]) != here[key] for key in ("root", "interpreter"))
    if moved or stamp.get("state") == "unfinished" or not PYTHON.exists():
        return False
    on_top = "include-system-site-packages = true" in (VENV / "pyvenv.cfg").read_text()
    return on_top or mode != "system"


def set_up(mode: str) -> None:
    """Make .venv true to pyproject.toml."""
    began = time.monotonic()
    fresh = not reusable(mode)
    system = (fresh or mode == "system") and wants_system(mode)
    if fresh:
        need_space(CPU_SPACE)
        make_venv(system)
    write_stamp(state="unfinished")
    if not output(str(PYTHON), "-m", "pip", "--version"):  # environments made by uv have no pip
        output(str(PYTHON), "-m", "ensurepip")
    torch = install_torch(mode)
    say(f"installing Residua and its tools beside torch {torch}")
    pip_install("--constraint", str(CONSTRAINTS), "--editable", ".", *development_tools())
    write_stamp(**fingerprint(), state="done", mode=mode, torch=torch)
    if not any(shutil.which(name) for name in (os.environ.get("CXX") or "c++", "g++", "clang++")):
        say("note: no C++ compiler found; everything works, compiled speed-ups are left out")
    say(f"ready in {time.monotonic() - began:.0f} s: {VENV / 'bin' / 'residua'}")


def main() -> int:
    if len(sys.argv) > 1:
        say(__doc__ or "")
        return 0 if sys.argv[1] in ("-h", "--help") else 2
    try:
        mode = requested()
        if not finished(mode):
            check_python()
            with locked():
                if not finished(mode):  # whoever held the lock may have done it
                    set_up(mode)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return failure.code
    except KeyboardInterrupt:
        print("stopped; the next call starts over", file=sys.stderr)
        return 130
    except OSError as error:
        fix = "check the permissions and the free space of this folder, then run this again"
        print(Failure(str(error), str(ROOT), fix), file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
