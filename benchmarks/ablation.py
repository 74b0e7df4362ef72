"""What each ingredient of the recipe `fast` is worth: the recipe whole, then without one at a time.

    python benchmarks/ablation.py CIFAR10 --network resnet20-cifar --epochs 10 --seeds 0 1
    python benchmarks/ablation.py CIFAR10 --network resnet18 --size 96 --images 10000 --epochs 6

The second is the recipe for photographs, on small pictures enlarged: what helps may be others on
real photographs. Every training is judged by its last weights on a fifth of the training images
that it has not seen; the test images are left alone. Trainings that
results/ablation-<network>.json has are not repeated.
"""

import argparse
import json
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from record import RESULTS, record

from residua import api, datasets
from residua.datasets.dataset import Dataset, Split

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
    trainings = known(name)
    for seed in options.seeds:
        for variant in options.only:
            asked = {"variant": variant, "seed": seed, "epochs": options.epochs}
            if not any(asked.items() <= training.items() for training in trainings):
                trainings.append(asked | trained(dataset, options.network, asked, options.size))
                record(name, {"trainings": trainings, "summary": summary(trainings)})


def parted(images: Split, most: int | None) -> dict[str, Split]:
    """Four fifths of the images to learn, or `most` of them; every fifth as their test."""
    rest = [index for index in range(len(images)) if index % 5]
    return {
        "train": images.select(rest).evenly(most),
        "test": images.select(range(0, len(images), 5)),
    }


def known(name: str) -> list[dict[str, Any]]:
    """The trainings that were already measured."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text())["measured"]["trainings"] if path.exists() else []


def trained(
    dataset: Dataset, network: str, asked: dict[str, Any], size: int | None
) -> dict[str, Any]:
    """Train one variant; its accuracy on the test images, and its speed."""
    recipe, changes = VARIANTS[asked["variant"]]
    settings: dict[str, Any] = {"network": "{}"} | FAIR | changes
    settings |= {"network": settings["network"].format(network)}
    settings |= {key: asked[key] for key in ("seed", "epochs")}
    with tempfile.TemporaryDirectory() as place:
        run = api.train(dataset, recipe=recipe, runs=Path(place), size=size, **settings)
        single, mirrored = (run.evaluate(dataset, kind).error for kind in ("single", "mirrored"))
        seconds = [row["seconds"] for row in run.metrics if row["split"] == "train"][-1]
    return {
        "changes": changes,
        "single": round(1 - single, 4),
        "mirrored": round(1 - mirrored, 4),
        "seconds": round(seconds, 1),
    }


def summary(trainings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The mean over seeds of each variant and length."""
    kinds = dict.fromkeys((each["variant"], each["epochs"]) for each in trainings)
    rows = []
    for variant, epochs in kinds:
        like = [t for t in trainings if (t["variant"], t["epochs"]) == (variant, epochs)]
        means = {
            key: round(statistics.mean(each[key] for each in like), 4)
            for key in ("single", "mirrored", "seconds")
        }
        rows.append({"variant": variant, "epochs": epochs, "seeds": len(like), **means})
    return rows


if __name__ == "__main__":
    main()
