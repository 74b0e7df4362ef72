"""Every number that needs a GPU, in parts that each take less than ten minutes.

    PYTHONPATH=src python benchmarks/gpu.py --part throughput
    PYTHONPATH=src python benchmarks/gpu.py --part cifar      --data CIFAR10
    PYTHONPATH=src python benchmarks/gpu.py --part steps
    PYTHONPATH=src python benchmarks/gpu.py --part iterations --data CIFAR10 --seconds 540
    PYTHONPATH=src python benchmarks/gpu.py --part record

    throughput  ResNet-50 at 224 pixels, images a second and memory: ours against the usual loop
                with autocast and channels_last around torchvision's and timm's network, where they
                can be imported, and around one with the same layers: 3 rounds, about 4 minutes
    cifar       seconds to 94 % on CIFAR-10 with a residual network, 3 seeds; and those of the
                known record's script, where --script gives it and it runs: about 2 minutes
    steps       steps a second and memory of ResNet-20 to -110, and how long 64,000 of each take
    iterations  the recipe paper-cifar with those 64,000 steps, one network after another; stops
                after --seconds and goes on when called again
    record      all of it into results/gpu.json

Needs torch, numpy, pillow, safetensors, scikit-learn and matplotlib. CIFAR10 is as for `residua
train`, or the start of the names of files that are the parts of an archive.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from threading import Timer

import torch
from parts import Found, joined, machine, read, write
from reference import cifar_resnet, large_resnet, sgd
from steps import Case, noise
from torch import nn
from torch.nn import functional as F

from residua import checkpoints
from residua.errors import Stopped
from residua.events import Epoch
from residua.execution import Execution
from residua.feeding import endless, feeding
from residua.interrupt import Interrupt
from residua.learner import make_learner
from residua.prepare import Job, prepare
from residua.protocols import Protocol
from residua.runs import RunDirectory
from residua.steps import steps as training_steps
from residua.testing import Asking, evaluate
from residua.training import train

DEPTHS = (20, 32, 44, 56, 110)  # He et al. 2016a, table 6
ITERATIONS = 64_000


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_megabytes() -> int:
    """Of GPU memory since the last call."""
    if not torch.cuda.is_available():
        return 0
    peak = torch.cuda.max_memory_allocated()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return round(peak / 1e6)


@contextmanager
def directory(place: Path) -> Iterator[RunDirectory]:
    """A run in a folder, made anew or taken up again."""
    for folder in ("checkpoints", "evaluations", "figures"):
        (place / folder).mkdir(parents=True, exist_ok=True)
    run = RunDirectory(place)
    with run.lock():
        yield run


# Steps of ours and of the usual loop.


def ours(case: Case, recipe: str = "quick") -> Found:
    """Seconds of a step and memory, by what `residua train` does on random pixels."""
    settings = {"network": case.network, "size": case.size, "batch": case.batch, "validation": 0}
    settings |= {"in_memory": True, "flip": True, "crop": "pad" if case.size <= 64 else "none"}
    images = noise(8 * case.batch, case.size)
    job = prepare(images, recipe, [("benchmark", settings | {"steps": case.steps})])
    peak_megabytes()
    learner = make_learner(job.task.network, job.recipe, job.execution)
    learner.network.train()
    with feeding(learner, job.task, job.recipe) as feed:
        batches = islice(endless(feed), case.steps)
        for step in training_steps(learner, batches, job.recipe, lambda step: 0.0):
            if step.step == case.steps // 3:  # behind warm-up and compilation
                synchronize()
                began = time.monotonic()
        synchronize()
    seconds = (time.monotonic() - began) / (case.steps - 1 - case.steps // 3)
    return {"seconds": seconds, "peak_megabytes": peak_megabytes(), "told": told(job.execution)}


def told(run_on: Execution) -> Found:
    """How a step is run."""
    return {
        "device": str(run_on.device),
        "precision": run_on.precision,
        "compiled": run_on.compiled,
        "fused": run_on.fused,
    }


def usual(network: nn.Module, case: Case, steps: int) -> Found:
    """Seconds of a step of the usual loop with autocast and channels_last on ready images."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    peak_megabytes()
    network = network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    images = torch.randn(case.batch, 3, case.size, case.size, device=device)
    images = images.to(memory_format=torch.channels_last)
    labels, optimizer = torch.randint(0, 10, (case.batch,), device=device), sgd(network)
    for step in range(steps):
        if step == steps // 3:
            synchronize()
            began = time.monotonic()
        with torch.autocast(device, torch.bfloat16):
            loss = F.cross_entropy(network(images).float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    synchronize()
    seconds = (time.monotonic() - began) / (steps - steps // 3)
    return {"seconds": seconds, "peak_megabytes": peak_megabytes()}


def references() -> dict[str, Callable[[], nn.Module]]:
    """ResNet-50 of others, where they can be imported, and the one with the same layers."""
    found: dict[str, Callable[[], nn.Module]] = {"plain PyTorch": lambda: large_resnet(50)}
    if find_spec("torchvision"):
        found["torchvision"] = lambda: __import__("torchvision").models.resnet50()
    if find_spec("timm"):
        found["timm"] = lambda: __import__("timm").create_model("resnet50")
    return found


# The parts.


def throughput(options: argparse.Namespace) -> Found:
    """ResNet-50, ours and theirs in turn."""
    case = Case("resnet50", options.size, options.batch, options.steps)
    rows: dict[str, list[Found]] = {}
    missing: dict[str, str] = {}
    turns: dict[str, Callable[[], Found]] = {"ours": lambda: ours(case)}
    for name, build in references().items():
        turns[name] = lambda build=build: usual(build(), case, case.steps)  # type: ignore[misc]
    for number in range(options.rounds):
        names = list(turns)
        for name in (*names[number % len(names) :], *names[: number % len(names)]):
            try:
                rows.setdefault(name, []).append(turns[name]())
            except (ImportError, RuntimeError) as error:
                missing[name] = str(error)[:300]
                continue
            print(name, rows[name][-1], flush=True)
    found: Found = {"case": case.name, "rounds": options.rounds, "failed": missing}
    found["not_installed"] = [name for name in ("torchvision", "timm") if not find_spec(name)]
    for name, row in rows.items():
        if name in missing:
            continue
        rate = statistics.median(case.batch / each["seconds"] for each in row)
        found[name] = {**row[-1], "images_per_second": round(rate, 1)}
        if name != "ours" and "ours" not in missing:
            pairs = zip(row, rows["ours"], strict=True)
            ratios = [theirs["seconds"] / own["seconds"] for theirs, own in pairs]
            found[name]["ratio"] = round(statistics.median(ratios), 3)
    return found


def cifar(options: argparse.Namespace) -> Found:
    """Trainings of --time each, their errors; the record's script beside them."""
    rows = []
    with joined(options.data) as data:
        for seed in options.seeds:
            settings = {"network": options.network, "time": options.time, "seed": seed}
            layers = [("benchmark", settings | {"validation": 0, "in_memory": True})]
            job = prepare(data, options.recipe, layers)
            with tempfile.TemporaryDirectory() as place, directory(Path(place)) as run:
                began = time.monotonic()
                epochs = follow(job, run)
                seconds = time.monotonic() - began
                rows.append(
                    {"seed": seed, "seconds": round(seconds, 3), **epochs, **errors(job, run)}
                )
            print(rows[-1], flush=True)
    named = {"network": options.network, "recipe": options.recipe, "time": options.time}
    mean = {key: statistics.mean(row[key] for row in rows) for key in ("error", "seconds")}
    return {**named, **mean, "runs": rows, "record": record_script(options.script)}


def follow(job: Job, run: RunDirectory, interrupt: Interrupt | None = None) -> Found:
    """Train to the end, or until interrupted; the epochs and the clock of the training."""
    for event in train(job.task, job.recipe, run, job.execution, interrupt):
        if isinstance(event, Epoch) and event.number % 20 == 0:
            print(f"  epoch {event.number}  {event.rows[0]}", flush=True)
    last = [row for row in run.metrics() if row["split"] == "train"][-1]
    return {"epochs": last["epoch"], "training_seconds": last["seconds"], "steps": last["step"]}


def errors(job: Job, run: RunDirectory) -> Found:
    """On the test split, of one view and of a view with its mirror image."""
    weights = [checkpoints.read_weights(run.weights)]
    found: Found = {}
    for key, protocol in (("error", "single"), ("mirrored_error", "mirrored")):
        asking = Asking(Protocol(protocol))
        tested, _ = evaluate(weights, job.dataset, "test", job.execution, asking)
        found[key] = round(tested.error, 5)
    return found


def record_script(script: Path | None) -> Found:
    """Seconds to 94 % of the known record's script on this GPU, or why there are none."""
    if script is None:
        return {"missing": "no --script was given"}
    words = [sys.executable, "-u", str(script.resolve())]
    with tempfile.TemporaryFile("w+") as out:
        try:
            subprocess.run(
                words, stdout=out, stderr=subprocess.STDOUT, timeout=90, cwd=script.parent
            )
        except subprocess.TimeoutExpired:  # it repeats itself 200 times: some are enough
            pass
        out.seek(0)
        lines = out.read().splitlines()
    ends = [line for line in lines if re.search(r"\|\s*eval\s*\|", line)]
    times = [float(line.strip(" |").split("|")[-1]) for line in ends]
    if not times:
        return {"missing": " / ".join(lines[-3:])[:500]}
    return {"seconds": statistics.median(times), "runs": len(times), "line": ends[-1]}


def steps(options: argparse.Namespace) -> Found:
    """Steps a second of the paper's recipe and of ours, and of the usual loop."""
    found: Found = {}
    for depth in options.depths:
        case = Case(f"resnet{depth}-cifar", 32, 128, options.steps)
        row = {
            "ours": ours(case),
            "usual": usual(cifar_resnet(depth), case, case.steps),
        }
        row["ratio"] = round(row["usual"]["seconds"] / row["ours"]["seconds"], 3)
        row["minutes_of_64k"] = round(row["ours"]["seconds"] * ITERATIONS / 60, 2)
        found[case.network] = row
        print(case.network, row, flush=True)
    total = sum(row["minutes_of_64k"] for row in found.values())
    return {"networks": found, "minutes_of_all": round(total, 2)}


def iterations(options: argparse.Namespace) -> Found:
    """Every network's 64,000 steps, as far as --seconds reach; called again, it goes on."""
    interrupt, found = Interrupt(), read(options.out / "iterations.json")
    timer = Timer(options.seconds, lambda: setattr(interrupt, "requested", True))
    timer.daemon = True
    timer.start()
    with joined(options.data) as data:
        for depth in options.depths:
            name = f"resnet{depth}-cifar"
            if name in found or interrupt.requested:
                continue
            settings: Found = {"network": name, "steps": options.iterations, "validation": 0}
            settings |= {"precision": options.precision}  # the recipe's own is fp32
            job = prepare(data, "paper-cifar", [("benchmark", settings)])
            try:
                with directory(options.out / "runs" / name) as run:
                    found[name] = follow(job, run, interrupt) | errors(job, run)
            except Stopped:
                print(f"{name}: saved; call again", flush=True)
                break
            found[name]["told"] = told(job.execution)
            write(options.out / "iterations.json", found)
            print(name, found[name], flush=True)
    timer.cancel()
    return found


def keep(options: argparse.Namespace) -> Found:
    """Join what the parts left into results/gpu.json."""
    names = [name for name in PARTS if (options.out / f"{name}.json").exists()]
    table = {"machine": read(options.out / "machine.json")}
    table["measured"] = {name: read(options.out / f"{name}.json") for name in names}
    home = Path(__file__).resolve().parent.parent / "results"
    home.mkdir(exist_ok=True)
    write(home / "gpu.json", {"command": "python benchmarks/gpu.py", **table})
    return table


PARTS = {"throughput": throughput, "cifar": cifar, "steps": steps, "iterations": iterations}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--part", choices=[*PARTS, "record"], required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="results of the parts")
    parser.add_argument("--data", default="data/cifar-10-binary.tar.gz")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=150, help="of each measurement")
    parser.add_argument("--depths", type=int, nargs="+", default=list(DEPTHS))
    parser.add_argument("--iterations", type=int, default=ITERATIONS)
    parser.add_argument("--precision", default="bf16", help="of the part iterations")
    parser.add_argument("--seconds", type=float, default=540, help="until iterations stops")
    parser.add_argument("--network", default="sprint11-cifar", help="of the part cifar")
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--time", default="10s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--script", type=Path, help="the known record's script, unchanged")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.part == "record":
        print(json.dumps(keep(options), indent=1))
        return
    write(options.out / "machine.json", machine())
    found = PARTS[options.part](options)
    write(options.out / f"{options.part}.json", found)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
