"""Inference: each engine beside the network as it is written, in fp32, NCHW, layer by layer.

    python benchmarks/inference.py [--weights RESNET20.safetensors --data CIFAR10] [--threads N]
        [--rounds 3] [--seconds 2] [--networks resnet20-cifar,resnet50]

Images a second at batch 64 and milliseconds at batch 1, of ResNet-20 and -56 at 32 pixels and of
ResNet-50 at 224. Every engine that is here takes its turn in a fresh process, round after round;
ratios are medians over rounds of what was measured in the same round. With weights and data (what
`residua convert` made of published weights, and CIFAR-10), also the accuracy of each engine on all
test images, and how many of its answers are those of the reference.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from record import record
from torch import Tensor, nn

from residua import datasets, networks
from residua.checkpoints import Weights, read_weights
from residua.engines import ENGINES, Choice, precisions
from residua.execution import execution
from residua.images import Preprocessing
from residua.predictor import Predictor
from residua.recipes import Recipe

REFERENCE = "reference"
NETWORKS = {"resnet20-cifar": 32, "resnet56-cifar": 32, "resnet50": 224}
PACKAGES = {"onnxruntime": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino", "nncf")}
BATCH, SAMPLES = 64, 300


def ways() -> list[str]:
    """The reference, and each engine that is here in each precision that is fast here."""
    found = [REFERENCE]
    for name, engine in ENGINES.items():
        if all(map(importlib.util.find_spec, PACKAGES.get(name, ()))):
            usable = [each for each in engine.precisions if each in precisions("cpu")]
            found += [f"{name} {each}" for each in usable if name != "auto"]
    return [*found, "auto"]


def predictor(way: str, weights: Weights, images: int, samples: list[Any]) -> Predictor:
    engine, _, precision = way.partition(" ")
    threads = torch.get_num_threads()
    run_on = execution(Recipe(device="cpu", precision="fp32", threads=threads))
    choice = Choice("torch" if way == REFERENCE else engine, precision, images)
    return Predictor(weights, run_on, choice=choice, calibration=samples)


def noisy(name: str) -> tuple[Weights, list[Any]]:
    """A network with random weights, and random pictures: speed does not depend on them."""
    built, size = networks.build(name), NETWORKS[name]
    names = tuple(map(str, range(built.classes)))
    weights = Weights(built.state_dict(), name, names, Preprocessing(size))
    generator = np.random.default_rng(0)
    return weights, list(generator.integers(0, 256, (BATCH, size, size, 3), np.uint8))


def speed(way: str, name: str, seconds: float) -> dict[str, float]:
    """Images a second of 64, and milliseconds of one, network alone."""
    weights, pixels = noisy(name)
    answer = {}
    for count in (BATCH, 1):
        began = time.monotonic()
        asked = predictor(way, weights, count, pixels)
        made = time.monotonic() - began
        batch = asked.inputs(pixels[:count])
        if way == REFERENCE:
            taken = timed(partial(reference(weights), batch.contiguous()), seconds)
        else:
            step = max(1, asked.most // batch[0, 0].numel())
            taken = timed(partial(whole, asked, batch, step), seconds)
        if count == 1:
            answer["milliseconds"] = 1000 * taken
        else:
            answer |= {"images_per_second": count / taken, "seconds_to_make": made}
    return answer


def whole(run: Callable[[Tensor], Tensor], batch: Tensor, step: int) -> list[Tensor]:
    """A batch in the steps that are best for the engine."""
    return [run(part) for part in batch.split(step)]


def reference(weights: Weights) -> nn.Module:
    """The network as it is written, its memory in the usual order."""
    network = weights.build()
    return network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


@torch.inference_mode()
def timed(step: Callable[[], object], seconds: float) -> float:
    """The median of what a step takes, after one to warm up."""
    step()
    taken: list[float] = []
    while sum(taken) < seconds or len(taken) < 3:
        began = time.perf_counter()
        step()
        taken.append(time.perf_counter() - began)
    return median(taken)


def answers(way: str, weights: str, data: str) -> dict[str, Any]:
    """What an engine says of each test image, and whether it is right."""
    splits = datasets.load(data).splits
    test, train = splits["test"], splits["train"]
    pixels = [test.pixels(index) for index in range(len(test))]
    places = range(0, len(train), len(train) // SAMPLES)
    samples = [train.pixels(place) for place in places]
    asked = predictor(way, read_weights(Path(weights)), len(test), samples)
    best = asked.scores(pixels).argmax(1)
    right = float((best == test.labels.numpy()).mean())
    return {"accuracy": right, "answers": best.tolist(), "notes": asked.notes}


def apart(*words: str) -> dict[str, Any]:
    """What this file prints in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, *words], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def table(turns: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Medians over the rounds, and of the ratios to the reference in the same round."""
    rows: dict[str, dict[str, float]] = {}
    for way in turns[0]:
        here = [turn[way] for turn in turns]
        beside = [turn[REFERENCE] for turn in turns]
        rate, delay = "images_per_second", "milliseconds"
        both = list(zip(here, beside, strict=True))
        rows[way] = {
            rate: round(median(each[rate] for each in here), 1),
            "times_the_reference": round(median(a[rate] / b[rate] for a, b in both), 2),
            delay: round(median(each[delay] for each in here), 3),
            "times_sooner": round(median(b[delay] / a[delay] for a, b in both), 2),
            "seconds_to_make": round(median(each["seconds_to_make"] for each in here), 1),
        }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", help="of ResNet-20, from residua convert")
    parser.add_argument("--data", help="CIFAR-10 in any official layout")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--ways", default=",".join(ways()), help="engines with their precision")
    parser.add_argument("--one", choices=["speed", "answers"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.one == "speed":
        print(json.dumps(speed(given.ways, given.networks, given.seconds)))
        return
    if given.one == "answers":
        print(json.dumps(answers(given.ways, given.weights, given.data)))
        return
    measured: dict[str, Any] = {"threads": given.threads, "rounds": given.rounds}
    for name in given.networks.split(","):
        turns = []
        for _ in range(given.rounds):
            words = ("--one", "speed", "--networks", name, "--seconds", str(given.seconds))
            turn = {}
            for way in given.ways.split(","):
                turn[way] = apart(*words, "--ways", way, "--threads", str(given.threads))
                print(name, way, turn[way], file=sys.stderr, flush=True)
            turns.append(turn)
        measured[name] = table(turns)
    if given.weights and given.data:
        words = ("--one", "answers", "--weights", given.weights, "--data", given.data)
        said = {way: apart(*words, "--ways", way) for way in given.ways.split(",")}
        plain = np.array(said[REFERENCE]["answers"])
        measured["answers"] = {
            way: {
                "accuracy": each["accuracy"],
                "as_the_reference": float((np.array(each["answers"]) == plain).mean()),
                "others": int((np.array(each["answers"]) != plain).sum()),
                "notes": each["notes"],
            }
            for way, each in said.items()
        }
    record("inference", measured)


if __name__ == "__main__":
    main()
