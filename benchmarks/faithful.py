"""Whether training fast costs accuracy: ResNet-20, the same epochs, fast and plainly, over seeds.

    python benchmarks/faithful.py CIFAR10 --images 20000 --epochs 5 --seeds 5

Fast is what `residua train` chooses: a process for each core, bf16, fused norms, batch statistics
of each process's part. Plainly is one process in float32, layer by layer; these trainings run side
by side on a core each, since only their errors count. Every training starts from the weights and
sees the images in the order that its seed says, in both ways.
"""

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from record import record

from residua import api, datasets
from residua.datasets.dataset import Dataset
from residua.evaluate import read_numbers
from residua.resources import cores
from residua.seeds import greater, mean
from residua.sweeps import ALONE, Cell, sweep

PLAIN = ALONE | {"fused": False, "precision": "fp32", "compile": False}


def trained(
    dataset: Dataset, epochs: float, settings: Mapping[str, Any], cell: Cell, folder: Path
) -> dict[str, Any]:
    """The test error of one training, after its last step."""
    own = {"validation": 0.0, "select": "last", "network": "resnet20-cifar", "epochs": epochs}
    seed = cell.values["seed"]
    run = api.train(dataset, recipe="quick", runs=folder, seed=seed, **own, **settings)
    tested = read_numbers(run.directory.evaluations / "single.json")  # as it ended
    return {key: tested[key] for key in ("wrong", "total", "error")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="CIFAR-10 in any official layout")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--epochs", type=float, default=5.0)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    whole = datasets.load(options.data)
    few = whole.splits["train"].evenly(options.images)
    dataset = replace(whole, splits=whole.splits | {"train": few})
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as place:
        for way, settings, workers in (("fast", {}, 1), ("plain", PLAIN, cores())):
            cells = [Cell({"way": way, "seed": seed}) for seed in range(options.seeds)]
            train = partial(trained, dataset, options.epochs, settings)
            measured = sweep(cells, train, Path(place, way), workers)
            found[way] = sorted((each.row for each in measured), key=lambda row: row["seed"])
    pairs = zip(found["fast"], found["plain"], strict=True)
    more = [fast["error"] - plain["error"] for fast, plain in pairs]
    record(
        "faithful",
        {
            "images": options.images,
            "epochs": options.epochs,
            "rows": found,
            "fast": mean([row["error"] for row in found["fast"]])._asdict(),
            "plain": mean([row["error"] for row in found["plain"]])._asdict(),
            "fast_minus_plain": mean(more)._asdict(),
            "p_fast_is_worse": greater(more),
        },
    )


if __name__ == "__main__":
    main()
