"""Does what was reported as saved survive the power going out?

    sudo python benchmarks/power_cut.py --cuts 40        (Linux, ext4, root: it mounts a file)

A process saves checkpoints into a file system of its own, one after another. At a random moment
that file system is shut down without writing what it still holds in memory, as a power cut would;
then it is mounted again, and the newest checkpoint must be whole and no older than the newest one
reported. A kill -9 cannot show this: it leaves the kernel's memory intact.
"""

import argparse
import fcntl
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import record

from residua import checkpoints

SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
WITHOUT_FLUSHING = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH
OPTIONS = {"eager": "loop,commit=1,noauto_da_alloc", "default": "loop"}
WRITER = """
import sys
from itertools import count
from pathlib import Path
import torch
from residua import checkpoints
for step in count(1):
    tensors = {"weight": torch.full((200_000,), float(step))}
    checkpoints.save(Path(sys.argv[1]), step, tensors, tensors, {"step": step})
    checkpoints.prune(Path(sys.argv[1]))
    print(step, flush=True)
"""


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def cut(place: Path, options: str) -> tuple[int, int]:
    """One power cut: the newest step reported before it, the newest whole one after it."""
    image, mount = place / "disk", place / "mount"
    mount.mkdir(exist_ok=True)
    run("truncate", "-s", "256M", str(image))
    run("mkfs.ext4", "-qF", str(image))
    run("mount", "-o", options, str(image), str(mount))
    folder = mount / "checkpoints"
    words = [sys.executable, "-c", WRITER, str(folder)]
    writer = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert writer.stdout is not None
    writer.stdout.readline()
    time.sleep(random.uniform(0, 1))
    descriptor = os.open(mount, os.O_RDONLY)
    fcntl.ioctl(descriptor, SHUTDOWN, struct.pack("I", WITHOUT_FLUSHING))
    os.close(descriptor)
    writer.kill()
    reported = max([1, *map(int, writer.stdout.read().split())])
    writer.wait()
    run("umount", str(mount))
    run("mount", "-o", options, str(image), str(mount))
    found, _ = checkpoints.latest(folder)
    run("umount", str(mount))
    return reported, found.step if found else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=40)
    options = parser.parse_args()
    random.seed(0)
    measured = {}
    with tempfile.TemporaryDirectory() as place:
        for name, mounted in OPTIONS.items():
            pairs = [cut(Path(place), mounted) for _ in range(options.cuts)]
            measured[name] = {
                "mount": mounted,
                "cuts": len(pairs),
                "lost": sum(found < reported for reported, found in pairs),
                "steps_saved": sum(reported for reported, _ in pairs),
            }
    record("power-cut", measured)


if __name__ == "__main__":
    main()
