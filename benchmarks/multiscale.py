"""Dense testing at five scales: images a second and memory, beside a loop over single views.

    python benchmarks/multiscale.py CIFAR10 [--images 1000] [--naive 100]

ResNet-50 with random weights on JPEG files of 500 x 375 pixels, at 224, 256, 384, 480 and 640. The
loop reads and resizes each file anew for each scale and asks the network about one view at a time.
Both run in turns, in one process each, and their rates are compared as a ratio.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from record import record

from residua import datasets, images, networks
from residua.api import plain_execution
from residua.checkpoints import Weights
from residua.datasets.dataset import Split
from residua.images import Preprocessing
from residua.networks.dense import dense_head
from residua.predictor import Predictor
from residua.protocols import Protocol
from residua.scoring import score
from residua.testing import at_a_time

LOOK = Preprocessing(224, "crop", 256, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SCALES = (224, 256, 384, 480, 640)
ROUNDS = 3


def pictures(source: str, folder: Path, count: int) -> None:
    """Write photographs: enlarged CIFAR-10 test images."""
    test = datasets.load(source).splits["test"]
    for index in range(count):
        pixels = images.resize(test.pixels(index), 375, 500)
        Image.fromarray(pixels).save(folder / f"{index:05}.jpg", quality=90)


def ours(folder: Path, count: int) -> float:
    """Images a second by `score`."""
    files = tuple(sorted(folder.glob("*.jpg"))[:count])
    split = Split(files, torch.zeros(len(files), dtype=torch.int64))
    network = networks.build("resnet50-v1.5", 1000).eval()
    names = tuple(map(str, range(1000)))
    weights = Weights(network.state_dict(), "resnet50-v1.5", names, LOOK)
    asked = [
        Predictor(weights, plain_execution(), Protocol("multi-scale", "softmax", SCALES, False))
    ]
    began = time.monotonic()
    score(asked, split, at_a_time(asked))
    return len(files) / (time.monotonic() - began)


@torch.inference_mode()
def naive(folder: Path, count: int) -> float:
    """Images a second by a loop over files and scales."""
    network = networks.build("resnet50-v1.5", 1000).eval()
    head = dense_head(network, 224)
    mean, std = (np.array(values, np.float32) for values in (LOOK.mean, LOOK.std))
    files = sorted(folder.glob("*.jpg"))[:count]
    began = time.monotonic()
    for file in files:
        total = torch.zeros(1000)
        for scale in SCALES:
            view = LOOK.whole(images.read(file), scale)
            pixels = torch.from_numpy((view / 255 - mean) / std).float().permute(2, 0, 1)[None]
            total += head(network.features(pixels)).mean((2, 3)).softmax(1)[0]
    return len(files) / (time.monotonic() - began)


WAYS = {"ours": ours, "naive": naive}


def measure(way: str, folder: Path, count: int) -> tuple[float, float]:
    """Images a second and the peak memory in megabytes of one way in a fresh process."""
    words = [sys.executable, __file__, "--way", way, str(folder), str(count)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    rate, memory = map(float, done.stdout.split())
    return rate, memory


def main() -> None:
    if sys.argv[1] == "--way":
        rate = WAYS[sys.argv[2]](Path(sys.argv[3]), int(sys.argv[4]))
        print(rate, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("data", help="CIFAR-10 in any official layout")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--naive", type=int, default=100, help="images of each turn")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pictures(arguments.data, folder, arguments.images)
        turns: list[dict[str, Any]] = []
        for _ in range(ROUNDS):
            turn = {way: measure(way, folder, arguments.naive) for way in WAYS}
            turns.append({way: rate for way, (rate, _) in turn.items()})
        rate, memory = measure("ours", folder, arguments.images)
        _, loop_memory = measure("naive", folder, min(20, arguments.naive))
    record(
        "multiscale",
        {
            "images": arguments.images,
            "scales": list(SCALES),
            "images_per_second": rate,
            "peak_megabytes": memory,
            "naive_peak_megabytes": loop_memory,
            "turns": turns,
            "ratio": median(turn["ours"] / turn["naive"] for turn in turns),
        },
    )


if __name__ == "__main__":
    main()
