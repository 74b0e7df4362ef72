"""What each ingredient of the recipe `fast` is worth: the recipe whole, then without one at a time.

    python benchmarks/ablation.py CIFAR10 --network resnet20-cifar --epochs 10 --seeds 0 1
    python benchmarks/ablation.py CIFAR10 --network resnet18 --size 96 --images 10000 --epochs 6

The second is the recipe for photographs, on small pictures enlarged: what helps may be others on
real photographs. Every training is judged by its last weights on a fifth of the training images
that it has not seen; the test images are left alone. Trainings have a core each; a command that is
killed goes on where it was.
"""

import argparse
import json
import statistics
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from record import record

from residua import api, datasets
from residua.datasets.dataset import Dataset, Split
from residua.evaluate import read_numbers
from residua.resources import cores
from residua.runs import DONE
from residua.sweeps import ALONE, Cell, sweep

FAIR = {"validation": 0.0, "select": "last"}
SGD = {"optimizer": "sgd", "nesterov": True, "momentum": 0.9}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "fast": ("fast", {}),
    "SGD for Muon": ("fast", SGD | {"learning_rate": 0.8}),
    "SGD for Muon, batches of 128": ("fast", SGD | {"batch": 128, "learning_rate": 0.2}),
    "first layer whitened": ("fast", {"whiten": "start"}),
    "first layer whitened and frozen": ("fast", {"whiten": "frozen"}),
    "full size throughout": ("fast", {"grow": ()}),
    "labels not smoothed": ("fast", {"label_smoothing": 0.0}),
    "weights averaged": ("fast", {"ema": 0.98}),
    "blocks start as identities": ("fast", {"zero_init": True}),
    "half the rate": ("fast", {"learning_rate": 0.05}),
    "twice the rate": ("fast", {"learning_rate": 0.2}),
    "batches of 256": ("fast", {"batch": 256}),
    "batches of 1024": ("fast", {"batch": 1024}),
    "quick": ("quick", {}),
    "binary loss": ("fast", {"loss": "binary"}),
    "blurred before subsampling": ("fast", {"network": "{}-blur"}),
    "SGD for Muon, usual rate": ("fast", SGD),
}
USUAL = [name for name in VARIANTS if name != "SGD for Muon, usual rate"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="CIFAR-10 in any official layout")
    parser.add_argument("--network", default="resnet20-cifar")
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=USUAL)
    parser.add_argument("--size", type=int, help="enlarge the pictures to so many pixels")
    parser.add_argument("--images", type=int, help="images to learn, at most")
    options = parser.parse_args()
    whole = datasets.load(options.data)
    dataset = replace(whole, splits=parted(whole.splits["train"], options.images))
    name = f"ablation-{options.network}" + (f"-{options.size}" if options.size else "")
    asked = {"epochs": options.epochs, "images": len(dataset.splits["train"])}
    cells = [
        Cell({"variant": variant, "seed": seed, **asked})
        for seed in options.seeds
        for variant in options.only
    ]
    train = partial(trained, dataset, options.network, options.size)
    rows = []
    for measured in sweep(cells, train, Path("runs", name), cores()):
        rows.append(measured.row)
        print(json.dumps(measured.row), flush=True)
    record(name, {"trainings": rows, "summary": summary(rows)})


def parted(images: Split, most: int | None) -> dict[str, Split]:
    """Four fifths of the images to learn, or `most` of them; every fifth as their test."""
    rest = [index for index in range(len(images)) if index % 5]
    return {
        "train": images.select(rest).evenly(most),
        "test": images.select(range(0, len(images), 5)),
    }


def trained(
    dataset: Dataset, network: str, size: int | None, cell: Cell, folder: Path
) -> dict[str, Any]:
    """Train one variant on one core; its accuracy on the images held out, and its time."""
    recipe, changes = VARIANTS[cell.values["variant"]]
    settings: dict[str, Any] = {"network": "{}"} | FAIR | ALONE | changes
    settings |= {"network": settings["network"].format(network)}
    settings |= {key: cell.values[key] for key in ("seed", "epochs")}
    run = api.train(dataset, recipe=recipe, runs=folder, size=size, **settings)
    single = read_numbers(run.directory.evaluations / "single.json")["error"]  # as it ended
    mirrored = run.evaluate(dataset, "mirrored").error
    seconds = [row["seconds"] for row in run.metrics if row["split"] == "train"][-1]
    return {
        "changes": changes,
        "single": round(1 - single, 4),
        "mirrored": round(1 - mirrored, 4),
        "seconds": round(seconds, 1),
    }


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The mean of each variant over the seeds from which it did not diverge, the best first."""
    found = []
    for variant in dict.fromkeys(row["variant"] for row in rows):
        like = [row for row in rows if row["variant"] == variant and row["status"] == DONE]
        means = {
            key: round(statistics.mean(row[key] for row in like), 4)
            for key in ("single", "mirrored", "seconds")
            if like
        }
        found.append({"variant": variant, "seeds": len(like), **means})
    return sorted(found, key=lambda row: -row.get("mirrored", 0.0))


if __name__ == "__main__":
    main()
