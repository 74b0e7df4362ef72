"""Speed and memory of what is not training: scores, decoding, checking.

    python benchmarks/speed.py

Every part runs in a process of its own, three times; medians are recorded, and the peak memory.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from record import record

from residua import checkpoints, datasets, images, networks
from residua.datasets.inspect import inspect
from residua.execution import execution
from residua.images import Preprocessing
from residua.predictor import Predictor
from residua.recipes import Recipe
from residua.resources import cores

ROUNDS = 3
PHOTOS = 400


def scoring(network: str, size: int, batch: int) -> float:
    """Images a second from pixels to scores, in float32."""
    built = networks.build(network, 10)
    names = tuple(map(str, range(10)))
    weights = checkpoints.Weights(built.state_dict(), network, names, Preprocessing(size))
    predictor = Predictor(weights, execution(Recipe(device="cpu")))
    pixels = [np.zeros((size, size, 3), np.uint8)] * batch
    predictor.scores(pixels)
    return batch / seconds(lambda: predictor.scores(pixels))


def photo(seed: int) -> bytes:
    """A JPEG of 500 x 375 pixels with about as much detail as a photograph."""
    coarse = np.random.default_rng(seed).integers(0, 256, (47, 63, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()


def decoding() -> float:
    """JPEGs a second on one core, resized and cropped to 224 pixels."""
    files, view = [photo(seed) for seed in range(50)], Preprocessing(224, "crop", 256)
    return len(files) / seconds(lambda: [view.view(images.decode(file)) for file in files])


def checking() -> float:
    """JPEGs a second that `check` reads, on all cores."""
    with tempfile.TemporaryDirectory() as place:
        for seed in range(PHOTOS):
            path = Path(place, "train" if seed % 4 else "test", str(seed % 5), f"{seed}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photo(seed))
        data = datasets.load(place)
        return PHOTOS / seconds(lambda: inspect(data, cores()))


def seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


PARTS: dict[str, Callable[[], float]] = {
    "score resnet20-cifar, batch 500": lambda: scoring("resnet20-cifar", 32, 500),
    "score resnet50 at 224, batch 32": lambda: scoring("resnet50", 224, 32),
    "decode JPEG 500x375 to 224, one core": decoding,
    "check JPEG 500x375, all cores": checking,
}


def main() -> None:
    if len(sys.argv) > 1:
        rate = PARTS[sys.argv[1]]()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps([rate, peak]))
        return
    measured = {}
    for name in PARTS:
        words = [sys.executable, __file__, name]
        rounds = [json.loads(subprocess.check_output(words)) for _ in range(ROUNDS)]
        measured[name] = {
            "images_per_second": round(statistics.median(rate for rate, _ in rounds), 1),
            "slowest_round": round(min(rate for rate, _ in rounds), 1),
            "peak_megabytes": round(max(peak for _, peak in rounds)),
        }
    record("speed", measured)


if __name__ == "__main__":
    main()
