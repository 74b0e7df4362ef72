"""What training holds in memory, and the time that holding less costs.

python benchmarks/memory.py           about 8 minutes on 4 cores

plans   for each way of keeping activations: bytes for each layer and image, counted, and the
        seconds of a step against the way that keeps all
deep    ResNet-1202 on batches of 128: the usual loop with autocast, ours as it chooses, and
        ours within 2 GB; memory is what all processes hold at most, less what they held before
        the first step
"""

import argparse
import json
import os
import statistics
from dataclasses import replace
from typing import Any

import torch
from pairs import Variant, compare, held
from record import record
from reference import build, step_times
from steps import Case, job_of

from residua.execution import DTYPES
from residua.feeding import step_seconds
from residua.rewrites.fused import fused
from residua.rewrites.memory import Plan, saved_bytes
from residua.rewrites.recomputed import recomputed

PLANS = (("all", 0), ("lean", 0), ("input", 0), ("input", 15))  # what is kept, segments
MEDIUM = Case("resnet110-cifar", 32, 128, 5)
DEEP = Case("resnet1202-cifar", 32, 128, 2)
LIMIT = 2_000_000_000
LOOK = 0.1  # seconds between looks at memory


def planned(case: Case, keep: str, segments: int) -> dict[str, Any]:
    """Time and counted bytes of one plan; the network as it is written is the plan "plain"."""
    job = job_of(case)
    network, precision = job.task.network, job.execution.precision
    if keep == "plain":
        view, run_on = network, replace(job.execution, plan=None, fused=False)
    else:
        view = fused(network, keep)
        view = recomputed(view, segments) if segments else view
        run_on = replace(job.execution, plan=Plan(keep, segments, 0, ""))
    each = saved_bytes(view, (3, case.size, case.size), DTYPES[precision])
    depth = network.depth
    seconds = [step_seconds(job.task, job.recipe, run_on) for _ in range(2)]
    told = {"bytes_per_layer_and_image": round(each / depth), "precision": precision}
    return {"seconds": min(seconds), "images": case.batch, "told": told}


def limited(case: Case, limit: int) -> dict[str, Any]:
    """A step of ours within so many bytes, or as it is chosen if 0, and what it held before."""
    job = job_of(case, **({"memory": limit} if limit else {}))
    before, plan = held(os.getpid()), job.execution.plan
    seconds = step_seconds(job.task, job.recipe, job.execution, 3 + case.steps)
    told = {"plan": plan._asdict() if plan else None, "processes": job.execution.processes}
    return {"seconds": seconds, "start_megabytes": round(before / 1e6), "told": told}


def careful(case: Case) -> dict[str, Any]:
    """A step of the usual loop with autocast and channels_last."""
    network, whose = build(case.network)
    before = held(os.getpid())
    times = step_times(network, case.batch, case.size, case.steps, care=True)
    told = {"network": whose}
    return {"seconds": statistics.median(times), "start_megabytes": before / 1e6, "told": told}


def words(kind: str, argument: object, case: Case, segments: int = 0) -> tuple[str, ...]:
    return ("--one", kind, str(argument), str(segments), *map(str, case))


def one(kind: str, argument: str, segments: int, case: Case) -> dict[str, Any]:
    """One trial's answer."""
    torch.manual_seed(0)
    match kind:
        case "plan":
            return planned(case, argument, segments)
        case "limit":
            return limited(case, int(argument))
        case _:
            return careful(case)


def grown(compared: dict[str, Any]) -> dict[str, Any]:
    """Add what memory grew by from before the first step."""
    for row in compared["variants"].values():
        if "start_megabytes" in row:
            row["grown_megabytes"] = round(row["peak_megabytes"] - row["start_megabytes"])
    return compared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--depth", type=int, help="instead of 110 and 1202; records nothing")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--one", nargs=7, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kind, argument, segments, network, *numbers = options.one
        case = Case(network, *map(int, numbers))
        print(json.dumps(one(kind, argument, int(segments), case)))
        return
    medium, deep = MEDIUM, DEEP
    if options.depth:
        medium = deep = Case(f"resnet{options.depth}-cifar", 32, options.batch, 2)
    plans = [
        Variant(f"{keep}, {n} segments" if n else keep, words("plan", keep, medium, n))
        for keep, n in (*PLANS, ("plain", 0))
    ]
    print(medium.name, flush=True)
    shown = compare(__file__, plans, options.rounds)
    print(deep.name, flush=True)
    ways = [
        Variant("ours", words("limit", 0, deep)),
        Variant("ours, 2 GB", words("limit", LIMIT, deep)),
        Variant("careful", words("careful", "-", deep)),
    ]
    found = grown(compare(__file__, ways, options.rounds, watch=LOOK))
    result = {"plans": {"case": medium.name, **shown}, "deep": {"case": deep.name, **found}}
    if options.depth:
        print(json.dumps(result, indent=1))
    else:
        record("memory", result)


if __name__ == "__main__":
    main()
