"""What a number was measured with: commit, versions and machine."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def environment() -> dict[str, Any]:
    """Commit, versions and machine, each empty where it cannot be known."""
    return {
        "commit": commit(),
        "versions": {
            "python": platform.python_version(),
            **{name: installed(name) for name in ("residua", "torch", "numpy", "pillow")},
        },
        "machine": {
            "system": f"{platform.system()} {platform.release()}",
            "processor": processor(),
            "cores": len(os.sched_getaffinity(0)),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        },
    }


def installed(package: str) -> str:
    """The version of an installed package; a source tree on the path is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def commit() -> str:
    """The commit of this source tree, with a + where it was changed since."""
    home = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(home), *words], capture_output=True, text=True, check=True, timeout=10
        )
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", __file__)  # an installed copy may lie in another's tree
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", str(home)) else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
