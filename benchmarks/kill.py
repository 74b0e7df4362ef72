"""Is a training that is killed again and again the same, to the bit, as an undisturbed one?

    python benchmarks/kill.py --kills 20

Kills the whole command with signal 9 at random moments, resumes it each time, and compares the
digests of the weights, the last checkpoint and the metrics with those of an undisturbed run.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import record

RESIDUA = (sys.executable, "-m", "residua")
TRAIN = (
    *("train", "digits", "--network", "resnet20-cifar", "--epochs", "80", "--threads", "1"),
    *("--checkpoint-every", "7", "--ema", "0.95", "--mixup", "0.2"),
)
TIMES = ("seconds", "images_per_second")  # what may differ in a row of metrics


def runs(folder: Path) -> list[Path]:
    """The runs that got as far as describing themselves."""
    return sorted(path.parent for path in folder.glob("*/run.json") if not path.parent.is_symlink())


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Begin the training, or resume it where there is one."""
    begun = runs(folder)
    words = ("resume", str(begun[-1])) if begun else (*TRAIN, "--runs", str(folder))
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen([*RESIDUA, *words, "--quiet"], stdout=output, stderr=output)


def outcome(folder: Path) -> dict[str, object]:
    """Everything of a finished run that must not depend on its history."""
    run = runs(folder)[-1]
    words = [*RESIDUA, "digest", str(run), "--json"]
    digests = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    rows = [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]
    return {"sha256": digests["sha256"], "metrics": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    with tempfile.TemporaryDirectory() as place:
        calm, rough = Path(place, "calm"), Path(place, "rough")
        calm.mkdir()
        rough.mkdir()
        began = time.monotonic()
        if start(calm).wait():
            sys.exit((calm / "output.txt").read_text())
        undisturbed, moments = time.monotonic() - began, []
        while True:
            moment = random.uniform(0.2, 8) if len(moments) < options.kills else None
            process = start(rough)
            try:
                if process.wait(moment):
                    sys.exit((rough / "output.txt").read_text())
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                moments.append(round(moment or 0, 2))
        record(
            "kill",
            {
                "kills": len(moments),
                "seconds_into_each_session": moments,
                "seconds_undisturbed": round(undisturbed, 1),
                "equal": outcome(calm) == outcome(rough),
                "sha256": outcome(rough)["sha256"],
            },
        )


if __name__ == "__main__":
    main()
