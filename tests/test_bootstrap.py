"""The set-up script: its choices on machines of every kind, and one whole set-up without a network.

The whole set-up runs in an empty folder with real environments and the real pip; only the packages
are small: a stand-in for torch and one for Residua.
"""

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import bootstrap

ROOT = Path(bootstrap.__file__).resolve().parent


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the script at an empty project; no variable of this machine decides anything."""
    for name in ("RESIDUA_TORCH", "RESIDUA_SYSTEM_TORCH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    venv = tmp_path / ".venv"
    paths = {"VENV": venv, "PYTHON": venv / "bin" / "python", "STAMP": venv / "residua.json"}
    for name, path in {**paths, "CONSTRAINTS": venv / "constraints.txt"}.items():
        monkeypatch.setattr(bootstrap, name, path)
    (tmp_path / "pyproject.toml").write_text('[dependency-groups]\ndev = ["pytest>=8"]\n')
    return tmp_path


def plant(folder: Path, python: str = "exit 0") -> None:
    """Write an environment whose Python is a shell script."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "pyvenv.cfg").write_text("include-system-site-packages = false\n")
    bootstrap.PYTHON.write_text(f"#!/bin/sh\n{python}\n")
    bootstrap.PYTHON.chmod(0o755)
    (folder / ".venv" / "bin" / "residua").touch()


def test_an_old_python_can_read_it_and_nothing_need_be_installed() -> None:
    tree = ast.parse((ROOT / "bootstrap.py").read_text(), feature_version=(3, 7))
    imported = {
        alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names
    }
    imported |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.13.0+cpu", True),
        ("2.11.0", True),
        ("3.0.0", True),
        ("2.10.9", False),
        ("1.13.1", False),
        ("2.11.0a0+git1234", False),
        ("2.12.0a0+nv26.1", True),
        ("2.11.0.dev20260101", False),
        ("", False),
    ],
)
def test_recent_torch(version: str, expected: bool) -> None:
    assert bootstrap.recent(version) is expected


@pytest.mark.parametrize(
    ("version", "mode", "expected"),
    [
        ("2.13.0+cpu", "auto", True),
        ("2.13.0+cpu", "cpu-only", True),
        ("2.13.0+cpu", "cuda", False),
        ("2.13.0", "cuda", True),
        ("2.13.0", "cpu", False),
        ("2.9.0", "auto", False),
    ],
)
def test_an_installed_torch_is_kept_where_it_fits(
    version: str, mode: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert bootstrap.fits(version, mode) is expected


CPU, CUDA = "torch==2.13.0+cpu", "torch===2.13.0"


@pytest.mark.parametrize(
    ("mode", "gpu", "wheel", "index", "expected"),
    [
        ("auto", True, True, True, [CUDA]),
        ("auto", False, True, True, [CPU]),
        ("auto", False, False, True, [CPU, "--extra-index-url", bootstrap.CPU_INDEX]),
        ("auto", False, False, False, ["torch==2.13.0"]),
        ("cpu", True, True, False, [CPU]),
        ("cpu", True, False, False, ["torch==2.13.0"]),
        ("cpu-only", True, False, True, [CPU, "--extra-index-url", bootstrap.CPU_INDEX]),
        ("cuda", False, True, True, [CUDA]),
    ],
)
def test_which_build_is_chosen(
    mode: str,
    gpu: bool,
    wheel: bool,
    index: bool,
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(bootstrap, "output", lambda *_, seconds: "GPU 0: H100" if gpu else "")
    monkeypatch.setattr(bootstrap, "offered", lambda _: wheel)
    monkeypatch.setattr(bootstrap, "reachable", lambda _: index)
    monkeypatch.setattr(bootstrap, "need_space", lambda _: None)
    assert bootstrap.choose_build(mode) == expected


def test_cpu_only_never_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(bootstrap, "offered", lambda _: False)
    monkeypatch.setattr(bootstrap, "reachable", lambda _: False)
    with pytest.raises(bootstrap.Failure, match="no CPU build"):
        bootstrap.choose_build("cpu-only")


def test_an_unreachable_index_costs_four_seconds_at_most() -> None:
    began = time.monotonic()
    assert not bootstrap.reachable("http://127.0.0.1:9/")
    assert time.monotonic() - began < 5


def test_the_choice_is_read_from_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bootstrap.requested() == "auto"
    monkeypatch.setenv("RESIDUA_TORCH", "gpu")
    with pytest.raises(bootstrap.Failure, match="no such choice") as caught:
        bootstrap.requested()
    assert "fix:   one of auto, cpu, cpu-only, cuda" in str(caught.value)
    monkeypatch.setenv("RESIDUA_SYSTEM_TORCH", "1")
    assert bootstrap.requested() == "system"


@pytest.mark.parametrize(
    ("mode", "version", "expected"),
    [
        ("auto", "2.11.0", True),
        ("auto", "2.10.0", False),
        ("auto", "", False),
        ("cpu", "2.13", False),
    ],
)
def test_torch_of_this_python(
    mode: str, version: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "base_torch", lambda: version)
    assert bootstrap.wants_system(mode) is expected


def test_torch_of_this_python_is_demanded_and_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "base_torch", lambda: "2.10.0")
    with pytest.raises(bootstrap.Failure, match="no torch to use") as caught:
        bootstrap.wants_system("system")
    assert "torch 2.10.0" in caught.value.where


def test_a_finished_set_up_is_finished_until_something_changes(folder: Path) -> None:
    plant(folder)
    assert not bootstrap.finished("auto")
    bootstrap.write_stamp(**bootstrap.fingerprint(), state="done", mode="cpu", torch="2.13.0+cpu")
    assert bootstrap.finished("auto") and bootstrap.finished("cpu")
    assert not bootstrap.finished("cuda")
    (folder / "pyproject.toml").write_text('[dependency-groups]\ndev = ["pytest>=9"]\n')
    assert not bootstrap.finished("auto")
    assert bootstrap.reusable("auto"), "what is installed can be completed"


@pytest.mark.parametrize(
    ("stamp", "mode", "expected"),
    [
        ({}, "auto", True),
        ({"state": "done"}, "auto", True),
        ({"state": "offline"}, "auto", True),
        ({"state": "unfinished"}, "auto", False),
        ({"state": "done", "root": "/elsewhere"}, "auto", False),
        ({"state": "done", "interpreter": "/usr/bin/python3.10"}, "auto", False),
        ({"state": "done"}, "system", False),
    ],
)
def test_what_is_made_anew(folder: Path, stamp: dict[str, str], mode: str, expected: bool) -> None:
    plant(folder)
    bootstrap.write_stamp(**stamp)
    assert bootstrap.reusable(mode) is expected


@pytest.mark.parametrize(
    ("message", "what", "state"),
    [
        ("ERROR: [Errno 28] No space left on device", "disk is full", "unfinished"),
        ("NewConnectionError: Temporary failure in name resolution", "no network", "offline"),
        ("ERROR: ResolutionImpossible", "could not install", "unfinished"),
    ],
)
def test_a_failed_installation_says_why(folder: Path, message: str, what: str, state: str) -> None:
    plant(folder, f"echo '{message}' >&2; exit 1")
    bootstrap.write_stamp(state="unfinished")
    with pytest.raises(bootstrap.Failure, match=what) as caught:
        bootstrap.pip_install("torch")
    assert message in caught.value.where
    assert caught.value.code == 4
    assert bootstrap.read_stamp()["state"] == state


def test_missing_parts_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(bootstrap.Failure, match="virtual environments") as caught:
        bootstrap.check_python()
    assert "apt install python3-venv" in caught.value.fix


def test_an_old_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(bootstrap, "output", lambda name, _: "yes" if name == "python3.12" else "")
    with pytest.raises(bootstrap.Failure, match=r"3\.11 or newer") as caught:
        bootstrap.check_python()
    assert caught.value.fix == "python3.12 bootstrap.py, or make PYTHON=python3.12 setup"


def test_a_full_disk_is_refused_before_anything_is_written(folder: Path) -> None:
    with pytest.raises(bootstrap.Failure, match="1000000 GB of disk space are needed"):
        bootstrap.need_space(10**6)


def test_clearing_keeps_a_link_to_another_disk(folder: Path) -> None:
    target = folder / "scratch"
    (target / "lib" / "deep").mkdir(parents=True)
    (folder / ".venv").symlink_to(target)
    (target / "file").touch()
    (target / "lib64").symlink_to("lib")
    bootstrap.clear_venv()
    assert (folder / ".venv").is_symlink()
    assert list(target.iterdir()) == []


def wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> None:
    """Write a small package that pip installs."""
    info = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)


PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[dependency-groups]
dev = ["tool>=1"]
"""
BACKEND = """\
import shutil
def build_editable(folder, settings=None, metadata=None):
    shutil.copy("residua-0.1-py3-none-any.whl", folder)
    return "residua-0.1-py3-none-any.whl"
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """Return a project with its own small packages, in a folder with a blank in its name."""
    root = tmp_path / "a project"
    (root / "wheels").mkdir(parents=True)
    shutil.copy(ROOT / "bootstrap.py", root)
    (root / "pyproject.toml").write_text(PROJECT)
    (root / "backend.py").write_text(BACKEND)
    scripts = {"residua-0.1.dist-info/entry_points.txt": "[console_scripts]\nresidua = residua:f\n"}
    wheel(root, "residua", "0.1", {"residua.py": "def f(): print('hello')\n", **scripts})
    wheel(root / "wheels", "torch", "2.13.0+cpu", {"torch.py": ""})
    wheel(root / "wheels", "torch", "2.14.0", {"torch.py": ""})
    wheel(root / "wheels", "tool", "1.0", {"tool.py": ""})
    yield root
    shutil.rmtree(root)


def start(project: Path, **variables: str) -> subprocess.Popen[str]:
    """Start the script with nothing on the search path: no compiler, no nvidia-smi."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "RESIDUA_"))}
    links = (project / "wheels").as_uri()
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": links, "PIP_CONFIG_FILE": os.devnull}
    environment = {**inherited, **pip, "PATH": str(project / "none"), **variables}
    command = [sys.executable, str(project / "bootstrap.py")]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)


def call(project: Path, **variables: str) -> str:
    process = start(project, RESIDUA_TORCH="cpu", **variables)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    return out


def test_a_whole_set_up(project: Path) -> None:
    venv = project / ".venv"
    out = call(project)
    assert "installing torch==2.13.0+cpu" in out
    assert "no C++ compiler" in out
    assert (venv / "constraints.txt").read_text() == "torch==2.13.0+cpu\n"
    hello = subprocess.run([venv / "bin" / "residua"], capture_output=True, text=True)
    assert hello.stdout == "hello\n"

    began = time.monotonic()
    assert call(project) == "", "a second call has nothing to do"
    assert time.monotonic() - began < 2

    # pip.conf keeps torch where the user installs something that would like a newer one
    links = (project / "wheels").as_uri()
    upgrade = f"install --no-index --find-links {links} --upgrade torch".split()
    subprocess.run([venv / "bin" / "pip", *upgrade], capture_output=True)
    version = bootstrap.output(str(venv / "bin" / "python"), "-c", bootstrap.TORCH_VERSION)
    assert version == "2.13.0+cpu"


def test_a_killed_set_up_is_made_anew_by_one_of_two(project: Path) -> None:
    venv = project / ".venv"
    torn = venv / "lib" / "torn"
    torn.mkdir(parents=True)
    (venv / "residua.json").write_text('{"state": "unfinished"}')
    pair = [start(project, RESIDUA_TORCH="cpu") for _ in range(2)]
    outs = [process.communicate(timeout=120)[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert sum("ready in" in out for out in outs) == 1, "the other one waits, then finds it done"
    assert not torn.exists()


def test_a_refusal_is_three_lines_and_a_status(project: Path) -> None:
    process = start(project, RESIDUA_TORCH="gpu")
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert [line.split(":")[0] for line in error.splitlines()] == ["error", "where", "fix"]
    assert not (project / ".venv").exists()


def test_every_target_of_make_has_a_line_of_help() -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("no make on this machine")
    command = [make, "--no-print-directory", "help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    phony = (ROOT / "Makefile").read_text().split(".PHONY:")[1].split("\n")[0].split()
    assert [line.split()[1] for line in done.stdout.splitlines()] == phony
