"""The test error of a network trained on CIFAR-10 for a given time, as `residua train` reports it.

python benchmarks/cifar.py CIFAR10 --network resnet20-cifar --time 15m --seeds 0
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from record import record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="CIFAR-10 in any official layout")
    parser.add_argument("--network", default="resnet20-cifar")
    parser.add_argument("--time", default="15m")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--runs", type=Path, help="keep the runs here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        rows = [train(options, seed, options.runs or Path(place)) for seed in options.seeds]
    errors = [row["error"] for row in rows]
    spread = statistics.stdev(errors) if len(errors) > 1 else None
    name = f"cifar10-{options.network}-{options.time}"
    record(name, {"mean_error": statistics.mean(errors), "deviation": spread, "runs": rows})


def train(options: argparse.Namespace, seed: int, runs: Path) -> dict[str, object]:
    """One run: its errors, epochs and speed."""
    words = [sys.executable, "-m", "residua", "train", options.data, "--json"]
    words += ["--network", options.network, "--time", options.time, "--seed", str(seed)]
    done = subprocess.run([*words, "--runs", str(runs)], stdout=subprocess.PIPE, check=True)
    answer = json.loads(done.stdout)
    run = Path(answer["run"])
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = [row for row in rows if row["split"] == "train"][-1]
    test = answer["test"]
    return {
        "seed": seed,
        **{key: test[key] for key in ("wrong", "total", "error", "interval", "protocol")},
        "epochs": last["epoch"],
        "training_error": last["error"],
        "images_per_second": last["images_per_second"],
        "seconds": json.loads((run / "run.json").read_text())["seconds"],
    }


if __name__ == "__main__":
    main()
