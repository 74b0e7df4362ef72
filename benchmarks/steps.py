"""A training step of ours against the usual loop: residual networks at 32 and at 224 pixels.

    python benchmarks/steps.py            about 10 minutes on 4 cores

Ours is `residua train` with the settings that it chooses, loading, cropping and mirroring
included; the others have their batch ready. Compared are

    plain        float32, torch's own threads (benchmarks/reference.py)
    plain, bound the same, each thread held to its core: better where nothing else runs
    careful      the same with bf16 autocast and channels_last
    ours
"""

import argparse
import json
import statistics
from typing import Any, NamedTuple

import torch
from pairs import Variant, against_peak, ceiling, compare
from record import record
from reference import build, step_times

from residua import networks
from residua.datasets.dataset import Dataset, Split
from residua.feeding import step_seconds
from residua.networks.graph import graph
from residua.prepare import Job, prepare

BOUND = (("OMP_PROC_BIND", "true"),)
PROBES = 3  # times that ours is measured in a process


class Case(NamedTuple):
    """A network on batches of images of a size, and the steps to time."""

    network: str
    size: int
    batch: int
    steps: int

    @property
    def name(self) -> str:
        return f"{self.network} at {self.size}, batch {self.batch}"


CASES = (
    Case("resnet20-cifar", 32, 128, 40),
    Case("resnet56-cifar", 32, 128, 20),
    Case("resnet18", 224, 32, 8),
    Case("resnet50", 224, 32, 5),
)


def noise(count: int, size: int, test: int = 64) -> Dataset:
    """Random pixels in ten classes: speed does not depend on what they show."""
    splits = {
        role: Split(
            torch.randint(0, 256, (many, size, size, 3), dtype=torch.uint8),
            torch.arange(many) % 10,
        )
        for role, many in (("train", count), ("test", test))
    }
    return Dataset("noise", "noise", tuple(map(str, range(10))), splits, "0" * 64)


def job_of(case: Case, **changes: Any) -> Job:
    """A training as `residua train` would do it on this machine, on images in memory."""
    settings: dict[str, Any] = {
        "network": case.network,
        "size": case.size,
        "batch": case.batch,
        "validation": 0,
        "in_memory": True,
        "flip": True,
        "crop": "pad" if case.size <= 64 else "none",
        "epochs": 1,
    }
    images = noise(max(4, min(16, 4096 // case.batch)) * case.batch, case.size)
    return prepare(images, "quick", [("benchmark", settings | changes)])


def ours(case: Case, probes: int = PROBES, **changes: Any) -> dict[str, Any]:
    """Seconds of a step of ours, and how it was done."""
    job = job_of(case, **changes)
    times = [step_seconds(job.task, job.recipe, job.execution) for _ in range(probes)]
    run_on = job.execution
    plan = run_on.plan
    told = {
        "precision": run_on.precision,
        "processes": run_on.processes,
        "threads": run_on.threads,
        "fused": run_on.fused,
        "keep": plan.keep if plan else "all",
        "segments": plan.segments if plan else 0,
        "notes": list(job.notes),
    }
    return {"seconds": statistics.median(times), "told": told}


def plain(case: Case, care: bool) -> dict[str, Any]:
    """Seconds of a step of the usual loop, and whose network it is."""
    network, whose = build(case.network)
    times = step_times(network, case.batch, case.size, case.steps, care)
    return {"seconds": statistics.median(times), "told": {"network": whose}}


def flop(case: Case) -> float:
    """Operations of a step: two for each multiply-add, and the backward pass twice the forward."""
    network = networks.build(case.network, 10)
    return 6.0 * graph(network, (3, case.size, case.size)).multiply_adds * case.batch


def variants(case: Case) -> list[Variant]:
    def words(kind: str) -> tuple[str, ...]:
        return ("--one", kind, *map(str, case))

    return [
        Variant("plain", words("plain")),
        Variant("plain, bound", words("plain"), BOUND),
        Variant("careful", words("careful")),
        Variant("ours", words("ours")),
    ]


def one(kind: str, case: Case) -> dict[str, Any]:
    """One trial's answer."""
    answer = ours(case) if kind == "ours" else plain(case, care=kind == "careful")
    return {**answer, "images": case.batch, "flop": flop(case)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="cases whose name has this; records nothing")
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kind, network, *numbers = options.one
        print(json.dumps(one(kind, Case(network, *map(int, numbers)))))
        return
    peaks, measured = [ceiling()], {}
    for case in (case for case in CASES if options.only in case.name):
        print(case.name, flush=True)
        measured[case.name] = compare(__file__, variants(case), options.rounds)
    peaks.append(ceiling())
    peak = max(each["peak"] for each in peaks)
    for compared in measured.values():
        against_peak(compared, peak)
    result = {"peak": round(peak), "rates": peaks[-1]["rates"], "cases": measured}
    if options.only:
        print(json.dumps(result, indent=1))
    else:
        record("steps", result)


if __name__ == "__main__":
    main()
