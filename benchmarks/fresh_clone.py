"""What a newcomer waits for: wall time and disk of a make target in a fresh clone, twice.

python benchmarks/fresh_clone.py demo
python benchmarks/fresh_clone.py test
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

from record import ROOT, record


def size(folder: Path) -> int:
    """Bytes on disk."""
    done = subprocess.run(["du", "-s", "-B1", str(folder)], capture_output=True, text=True)
    return int(done.stdout.split()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=("demo", "test"))
    target = parser.parse_args().target
    with tempfile.TemporaryDirectory() as place:
        clone = Path(place, "residua")
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        rounds = []
        for _ in range(2):
            began = time.monotonic()
            done = subprocess.run(["make", target], cwd=clone, capture_output=True, text=True)
            rounds.append(round(time.monotonic() - began, 1))
            if done.returncode:
                raise SystemExit(done.stdout + done.stderr)
        record(
            f"make-{target}",
            {
                "first_seconds": rounds[0],
                "second_seconds": rounds[1],
                "megabytes": round(size(clone) / 1e6),
                "ending": "\n\n".join(done.stdout.rstrip().split("\n\n")[-2:]).splitlines(),
            },
        )


if __name__ == "__main__":
    main()
