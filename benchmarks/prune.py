"""What blocks a trained network can spare, and what it gains: `residua prune` as a person runs it.

    python benchmarks/prune.py CIFAR10 [WEIGHTS] [--blocks 6 8 10] [--epochs 6]

Each number of blocks is pruned from the same weights, by default those of ResNet-56 that come with
Residua. Blocks are chosen on held-out training images. The test images are read at the end alone:
errors of both networks on all of them with their paired test, and speed measured in turns.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from record import record

WEIGHTS = "resnet56-cifar10"
FASTER, DEARER = 1.3, 0.005  # what at least one of them must show: speed, and error at most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="CIFAR-10 in any official layout")
    parser.add_argument("weights", nargs="?", default=WEIGHTS)
    parser.add_argument("--blocks", type=int, nargs="+", default=[6, 8, 10])
    parser.add_argument("--epochs", type=float, default=6)
    parser.add_argument("--learning-rate", type=float, default=0.02)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as runs:
        rows = [pruned(options, blocks, Path(runs)) for blocks in options.blocks]
    shown = [
        row["blocks"]
        for row in rows
        if row["speedup"]["ratio"] >= FASTER and -row["comparison"]["difference"] <= DEARER
    ]
    fixed = {"weights": options.weights, "epochs": options.epochs, "rate": options.learning_rate}
    record("prune", fixed | {"rows": rows, "fast_and_as_good": shown})
    if not shown:
        sys.exit(f"none is {FASTER} times as fast for {DEARER:.1%} of error")


def pruned(options: argparse.Namespace, blocks: int, runs: Path) -> dict[str, Any]:
    """What the verb answers, without the folder, which goes."""
    words = ["prune", options.weights, options.data, f"--blocks={blocks}"]
    words += [f"--epochs={options.epochs}", f"--learning-rate={options.learning_rate}"]
    command = [sys.executable, "-m", "residua", *words, f"--runs={runs}", "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answer = json.loads(done.stdout)
    del answer["run"]
    return {"blocks": blocks, "command": "residua " + " ".join(words), **answer}


if __name__ == "__main__":
    main()
