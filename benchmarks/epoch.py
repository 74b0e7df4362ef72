"""An epoch from pixels to weights, ours against the usual loop that prepares images one by one.

    python benchmarks/epoch.py [CIFAR10]  about 6 minutes on 4 cores; without data, random pixels

Ours is the second epoch of a training in a run directory, its checkpoint included. The reference
(benchmarks/reference.py) prepares images in its own process or in 4 workers.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from pairs import Variant, compare
from record import record
from reference import Samples, build, epoch_seconds
from steps import noise

from residua import datasets, workflow
from residua.datasets.dataset import Dataset
from residua.events import Epoch
from residua.prepare import prepare
from residua.training import train

NETWORK, BATCH = "resnet20-cifar", 128


def load(source: str, images: int) -> Dataset:
    """CIFAR-10 or random pixels; at most so many training images."""
    if source == "noise":
        return noise(images, 32)
    whole = datasets.load(source)
    split = whole.splits["train"]
    splits = whole.splits | {"train": split.select(range(min(images, len(split))))}
    return Dataset(whole.name, whole.source, whole.classes, splits, whole.fingerprint)


def ours(data: Dataset) -> dict[str, Any]:
    """Seconds between the ends of the first and the second epoch."""
    settings = {"network": NETWORK, "batch": BATCH, "validation": 0, "epochs": 2}
    job = prepare(data, "quick", [("benchmark", settings)])
    with tempfile.TemporaryDirectory() as place:
        run = workflow.begin(job, Path(place), [])
        events = train(job.task, job.recipe, run, job.execution)
        ends = [time.monotonic() for event in events if isinstance(event, Epoch)]
    told = {"processes": job.execution.processes, "precision": job.execution.precision}
    return {"seconds": ends[1] - ends[0], "told": told}


def plain(data: Dataset, workers: int) -> dict[str, Any]:
    """Seconds of an epoch of the usual loop."""
    split = data.splits["train"]
    pixels = [split.pixels(index) for index in range(len(split))]
    samples = Samples(pixels, split.labels.tolist())
    network, _ = build(NETWORK)
    return {"seconds": epoch_seconds(network, samples, BATCH, workers)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", default="noise")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        data = load(options.data, options.images)
        answer = ours(data) if options.one == "ours" else plain(data, int(options.one))
        print(json.dumps(answer | {"images": len(data.splits["train"]) // BATCH * BATCH}))
        return
    words = (options.data, "--images", str(options.images), "--one")
    variants = [
        Variant("plain, no workers", (*words, "0")),
        Variant("plain, 4 workers", (*words, "4")),
        Variant("ours", (*words, "ours")),
    ]
    compared = compare(__file__, variants, options.rounds)
    pixels = "random pixels" if options.data == "noise" else "CIFAR-10"
    record("epoch", {"network": NETWORK, "batch": BATCH, "data": pixels, **compared})


if __name__ == "__main__":
    main()
