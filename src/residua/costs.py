"""Error against cost over any set of runs: multiply-adds, parameters, speed as measured here."""

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch

from residua import checkpoints
from residua.comparisons import OverSeeds, over_seeds
from residua.evaluate import read_numbers
from residua.execution import Execution
from residua.networks.graph import graph
from residua.predictor import Predictor
from residua.runs import RunDirectory

ROUNDS = 5
VALUES = 64 * 32 * 32  # pixels of a batch, so that small and large images fill the processor


def costs(runs: Sequence[RunDirectory], protocol: str, run_on: Execution) -> list[dict[str, Any]]:
    """A row for each run: its error on the test images, and what it costs.

    Args:
        runs: finished ones.
        protocol: the slug of an evaluation that each run holds.
        run_on: where speed is measured; the networks take turns.

    Raises:
        BadData: a run has no such evaluation, or it was altered.
    """
    weights = [checkpoints.read_weights(run.weights) for run in runs]
    asked = [Predictor(each, run_on) for each in weights]
    speeds = images_per_second(asked)
    return [row(*each, protocol) for each in zip(runs, asked, speeds, strict=True)]


def row(run: RunDirectory, asked: Predictor, speed: float, protocol: str) -> dict[str, Any]:
    """What is known of one run."""
    numbers = read_numbers(run.evaluations / f"{protocol}.json")
    network, size = asked.network, asked.preprocessing.size
    drawn = graph(network, (network.channels, size, size))
    return {
        "name": run.path.name,
        "network": network.name,
        "data": numbers["data"],
        "seed": run.info()["seed"],
        "error": numbers["error"],
        "interval": numbers["interval"],
        "total": numbers["total"],
        "parameters": drawn.parameters,
        "multiply_adds": drawn.multiply_adds,
        "images_per_second": round(speed, 1),
    }


def images_per_second(asked: Sequence[Predictor]) -> list[float]:
    """How many images each network classifies in a second, the median of several turns."""
    return [1 / median(each) for each in turns(asked, ROUNDS)]


@torch.inference_mode()
def turns(asked: Sequence[Predictor], rounds: int) -> list[list[float]]:
    """Seconds that each network takes for an image, in so many turns with the others."""
    batches = []
    for each in asked:
        side = each.preprocessing.size
        count = max(1, VALUES // side**2)
        batches.append(torch.zeros(count, 3, side, side, device=each.execution.device))
    times: list[list[float]] = [[] for _ in asked]
    for _ in range(rounds + 1):
        for each, batch, spent in zip(asked, batches, times, strict=True):
            began = time.monotonic()
            each(batch).cpu()
            spent.append((time.monotonic() - began) / len(batch))
    return [spent[1:] for spent in times]  # the first turn warms up


def by_network(rows: Sequence[dict[str, Any]]) -> dict[str, OverSeeds]:
    """Best, mean and deviation over seeds, of each network that was trained with several."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for each in rows:
        groups.setdefault((each["network"], each["data"]), []).append(each)
    return {
        network: over_seeds([each["error"] for each in group])
        for (network, _), group in groups.items()
        if len({each["seed"] for each in group}) > 1
    }
