"""How long a network takes to an accuracy on CIFAR-10, through `residua train --time`.

    python benchmarks/time_to_accuracy.py CIFAR10 --network resnet20-cifar --time 3m

Every seed is a training of its own; the clock of `--time` has all but reading the data and the one
test at the end. The error is that of a single view, and of a view and its mirror image.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from record import record

THREADING = ("OMP_", "GOMP_", "KMP_", "MKL_")


def residua(*words: str) -> dict[str, Any]:
    """What a command answers, with torch's own choice of threads."""
    inherited = {key: v for key, v in os.environ.items() if not key.startswith(THREADING)}
    command = [sys.executable, "-m", "residua", *words, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=inherited)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def train(options: argparse.Namespace, seed: int, runs: Path) -> dict[str, Any]:
    """One training: its errors, its time and its epochs."""
    words = ["--recipe", options.recipe, "--network", options.network, "--time", options.time]
    words += ["--seed", str(seed), "--runs", str(runs), *options.more]
    load = os.getloadavg()[0]
    answer = residua("train", options.data, *words)
    run = Path(answer["run"])
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = [row for row in rows if row["split"] == "train"][-1]
    info = json.loads((run / "run.json").read_text())
    mirrored = residua("evaluate", str(run), options.data, "--protocol", "mirrored")
    test = answer["test"]
    return {
        "seed": seed,
        **{key: test[key] for key in ("wrong", "total", "error", "interval")},
        "mirrored_error": mirrored["error"],
        "epochs": last["epoch"],
        "training_error": last["error"],
        "images_per_second": last["images_per_second"],
        "training_seconds": last["seconds"],
        "seconds": info["seconds"],
        "load": round(load, 2),
    }


def spread(values: list[float]) -> dict[str, float | None]:
    return {
        "mean": round(statistics.mean(values), 5),
        "deviation": round(statistics.stdev(values), 5) if len(values) > 1 else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="CIFAR-10 in any official layout")
    parser.add_argument("--network", default="resnet20-cifar")
    parser.add_argument("--time", default="3m")
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, help="keep the runs here")
    parser.add_argument("--more", nargs="*", default=[], help="further settings, as validation=0")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        rows = []
        for seed in options.seeds:
            rows.append(train(options, seed, options.runs or Path(place)))
            print(json.dumps(rows[-1]), flush=True)
    record(
        f"time-{options.network}-{options.recipe}-{options.time}",
        {
            "network": options.network,
            "recipe": options.recipe,
            "time": options.time,
            "settings": options.more,
            "error": spread([row["error"] for row in rows]),
            "mirrored_error": spread([row["mirrored_error"] for row in rows]),
            "runs": rows,
        },
    )


if __name__ == "__main__":
    main()
