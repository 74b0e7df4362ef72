"""What this process may take of the machine: processor cores and memory, in a container or not."""

import os
from contextlib import suppress
from pathlib import Path

from residua.errors import OutOfResources
from residua.words import byte_count

CGROUP, OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")  # what a container may use
GROUPS = {
    "cpu": (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")),
    "memory": (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    ),
}  # the files of version 2 and of version 1
DROPPED = ("total_inactive_file", "inactive_file")  # the first one is of version 1


def own_cores() -> list[int]:
    """The numbers of the processor cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


def cores() -> int:
    """How many these are, no more than a container's share of processor time."""
    have = len(own_cores())
    time, period = allowance("cpu") or (have, 1)
    return max(1, min(have, time // period))


def require(needed: int, what: str, fix: str) -> None:
    """Raise OutOfResources where so many bytes are not free: a system that has promised memory
    ends the process when it is used.
    """
    free = free_memory()
    if needed > free:
        raise OutOfResources(
            f"{what} {byte_count(needed)}", where=f"{byte_count(free)} are free", fix=fix
        )


def free_memory() -> int:
    """Bytes of main memory that can be taken without swapping, within a container's limit."""
    free = unused_memory()
    limit, taken = allowance("memory") or (free, 0)
    return min(free, max(0, limit - taken))


def allowance(controller: str) -> tuple[int, int] | None:
    """What this process's control group may use: (limit, taken), or (time, period) of the cpu.

    None where there is no group or no limit.
    """
    with suppress(OSError, ValueError):  # a limit may be "max"
        for line in OWN_GROUP.read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0":  # version 2 has one group for all
                files = [CGROUP / path.lstrip("/") / name for name in GROUPS[controller][0]]
            elif controller in controllers.split(","):
                folder = CGROUP / controller
                own = folder / path.lstrip("/")
                # A container sees its own group as the root.
                files = [(own if own.is_dir() else folder) / name for name in GROUPS[controller][1]]
            else:
                continue
            if all(file.is_file() for file in files):
                first, second = " ".join(file.read_text() for file in files).split()
                spare = droppable(files[0].parent) if controller == "memory" else 0
                return (int(first), int(second) - spare) if int(first) >= 0 else None
    return None


def droppable(folder: Path) -> int:
    """Bytes of files that a control group has read, which it gives up when memory is asked for."""
    counts = folder / "memory.stat"
    lines = counts.read_text().splitlines() if counts.is_file() else []
    known = dict(line.split() for line in lines)
    return next((int(known[key]) for key in DROPPED if key in known), 0)


def unused_memory() -> int:
    """Bytes of the machine's memory that can be taken without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        kilobytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable"))
        return 1024 * int(kilobytes)
    except (OSError, StopIteration):  # not Linux: count only what nothing else has ever used
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
