"""The CIFAR-10 test error of ResNet-20 weights that another project published.

    python benchmarks/published.py WEIGHTS.th CIFAR10

Counted for several batch sizes and numbers of workers: the count must not depend on them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from record import record

RESIDUA = (sys.executable, "-m", "residua")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights")
    parser.add_argument("data")
    options = parser.parse_args()
    answers = []
    with tempfile.TemporaryDirectory() as place:
        ours = str(Path(place, "resnet20.safetensors"))
        words = ["convert", options.weights, "--network", "resnet20-cifar", "--out", ours]
        subprocess.run([*RESIDUA, *words], check=True, stdout=subprocess.DEVNULL)
        for batch, workers in ((500, 0), (64, 4), (7, 0), (1000, 2)):
            words = ["evaluate", ours, options.data, "--json"]
            words += ["--batch", str(batch), "--workers", str(workers)]
            done = subprocess.run([*RESIDUA, *words], check=True, stdout=subprocess.PIPE)
            answers.append({"batch": batch, "workers": workers, **json.loads(done.stdout)})
    keys = ("protocol", "wrong", "total", "error", "interval", "top5_error", "data")
    counts = [{key: answer[key] for key in ("batch", "workers", "wrong")} for answer in answers]
    record("published-resnet20", {key: answers[0][key] for key in keys} | {"counts": counts})


if __name__ == "__main__":
    main()
