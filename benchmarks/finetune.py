"""What fine-tuning gains over training from scratch, and what its settings could add.

    python benchmarks/finetune.py WEIGHTS.th CIFAR10

The weights are those of a ResNet-20 for CIFAR-10 that another project published. Two tasks, with
300 training images each, drawn anew for every seed:

    digits       the bundled digits, enlarged to 32 x 32: 30 images of each
    orientation  CIFAR-10 test images turned by 0, 90, 180 or 270 degrees: 75 of each; the weights
                 have seen images like these, but learned none of the four classes

Every run takes the same number of steps of 32 images on one thread. Settings are compared, and the
best rates chosen, on images that neither the training nor the final comparison sees.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice, product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch
from record import record
from torch import Tensor, nn

from residua import datasets, workflow
from residua.checkpoints import Weights
from residua.datasets.dataset import Dataset, Split
from residua.errors import Diverged
from residua.feeding import alone, endless
from residua.learner import Learner, make_learner
from residua.optimizers import learning_rate
from residua.prepare import Job, prepare
from residua.steps import steps

NETWORK, IMAGES, BATCH = "resnet20-cifar", 300, 32
BUDGETS = (40, 200)  # steps
TASKS = ("digits", "orientation")
UNSEEN = 1000  # images of the second task to compare settings by, and as many for the test
RATE = 0.05  # what `automatic` chooses for 32 images in a step


@dataclass(frozen=True)
class Way:
    """One way to train: settings over the recipe `quick`, and what no setting says."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    scratch: bool = False  # from random weights
    frozen: bool = False  # norms keep the statistics and the form of evaluation
    head: str = "he"  # how the new head starts: he or zero
    body: float = 1.0  # factor on the rate of all but the head; 0 trains the head alone
    stage: float = 1.0  # factor on the rate from each stage to the one before it
    probing: float = 0.0  # share of the steps in which only the head learns, before the rest


class Cell(NamedTuple):
    """One training."""

    seed: int
    budget: int
    task: str
    way: str


OURS = "fine-tuning"  # as `residua train --init` does it
CHANGES = {
    "a tenth of the rate": Way({"learning_rate": RATE / 10}),
    "a third of the rate": Way({"learning_rate": RATE / 3}),
    "three times the rate": Way({"learning_rate": RATE * 3}),
    "each stage 0.7 as fast as the next": Way(stage=0.7),
    "a tenth of the rate below the head": Way(body=0.1),
    "the head alone": Way(body=0, frozen=True),
    "the head alone in the first fifth": Way(probing=0.2),
    "a head of zeros": Way(head="zero"),
    "frozen norms": Way(frozen=True),
    "frozen norms, a tenth of the rate": Way({"learning_rate": RATE / 10}, frozen=True),
    "no warm-up": Way({"warmup": 0.0}),
    "cosine": Way({"schedule": "cosine"}),
    "no label smoothing": Way({"label_smoothing": 0.0}),
    # What the recipe `finetune` said before these measurements.
    "the former recipe": Way(
        {"learning_rate": RATE / 10, "schedule": "cosine", "warmup": 0.1}, stage=0.7
    ),
}
RATES = (OURS, "a tenth of the rate", "a third of the rate", "three times the rate")
SCRATCH = {
    f"scratch, {name}": Way({"learning_rate": rate}, scratch=True)
    for name, rate in (
        ("a third of the rate", RATE / 3),
        ("the rate", RATE),
        ("three times the rate", RATE * 3),
    )
}
WAYS = {OURS: Way(), **CHANGES, **SCRATCH}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights")
    parser.add_argument("data", help="CIFAR-10 in any official layout")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        ours = str(Path(place, "resnet20.safetensors"))
        words = ["convert", options.weights, "--network", NETWORK, "--out", ours]
        residua = (sys.executable, "-m", "residua")
        subprocess.run([*residua, *words], check=True, stdout=subprocess.DEVNULL)
        cells = [Cell(*cell) for cell in product(options.seeds, BUDGETS, TASKS, WAYS)]
        rows = measured(cells, ours, options.data, options.workers)
    fixed = {"images": IMAGES, "batch": BATCH, "rate": RATE, "seeds": options.seeds}
    tables = [summary(rows, task, budget) for task, budget in product(TASKS, BUDGETS)]
    record("finetune", fixed | {"tables": tables})


def measured(
    cells: Sequence[Cell], weights: str, data: str, workers: int
) -> dict[Cell, dict[str, float]]:
    """Errors and seconds of every training, some side by side."""
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        futures = {cell: pool.submit(run, cell, weights, data) for cell in cells}
        rows = {}
        for done, (cell, future) in enumerate(futures.items(), 1):
            rows[cell] = future.result()
            print(f"{done} of {len(cells)}", *cell, rows[cell], file=sys.stderr)
    return rows


def run(cell: Cell, weights: str, data: str) -> dict[str, float]:
    """Train as a cell says; errors on the images to compare by and on the test images."""
    way = WAYS[cell.way]
    settings = {
        "network": NETWORK,
        "init": None if way.scratch else weights,
        "size": 32,
        "flip": False,  # neither task looks the same in a mirror
        "batch": BATCH,
        "learning_rate": RATE,
        "steps": cell.budget,
        "seed": cell.seed,
        "validation": 0.0,
        "precision": "fp32",
        "device": "cpu",
        "threads": 1,
        "workers": 0,
    }
    dataset = {"digits": digits, "orientation": orientation}[cell.task](cell.seed, data)
    job = prepare(dataset, "quick", [("benchmark", settings | dict(way.settings))])
    began = time.monotonic()
    try:
        network = trained(job, way)
    except Diverged:  # what is left can only guess
        return dict.fromkeys(("unseen", "test"), 1 - 1 / len(dataset.classes))
    seconds = time.monotonic() - began
    made = Weights(network.state_dict(), NETWORK, dataset.classes, job.task.preprocessing)
    row = {"seconds": seconds}
    for split in ("unseen", "test"):
        row[split] = workflow.evaluate(made, dataset, split, "single", job.execution).error
    return row


def trained(job: Job, way: Way) -> nn.Module:
    """The network after all steps."""
    task, recipe = job.task, job.recipe
    if way.head == "zero":
        nn.init.zeros_(task.network.head.get_parameter("linear.weight"))
    learner = make_learner(task.network, recipe, job.execution)
    pace(learner, way)
    total = recipe.steps or 0
    probing = total if way.body == 0 else round(way.probing * total)
    batches = endless(alone(task, recipe, job.execution.device))
    for first, last in ((0, probing), (probing, total)):
        task.network.train()
        for module in task.network.modules():
            if way.frozen and isinstance(module, nn.BatchNorm2d):
                module.eval()
        task.network.features.requires_grad_(first >= probing)
        part = islice(batches, last - first)
        for _ in steps(learner, part, recipe, lambda s: learning_rate(recipe, s / total), first):
            for group in learner.optimizer.param_groups:
                group["lr"] *= group["pace"]  # the step's rate is set, and not yet used
    return task.network.eval()


def pace(learner: Learner, way: Way) -> None:
    """Give each weight the factor on its rate that a way says; the head's is 1."""
    names = {id(weight): name for name, weight in learner.network.named_parameters()}
    stages = [name for name, _ in learner.network.get_submodule("features").named_children()]
    groups = learner.optimizer.param_groups
    for group in list(groups):
        weights, group["params"], group["pace"] = group["params"], [], 1.0
        for weight in weights:
            root, stage, *_ = names[id(weight)].split(".")
            if root == "head":
                group["params"].append(weight)
                continue
            factor = way.body * way.stage ** (len(stages) - stages.index(stage))
            groups.append({**group, "params": [weight], "pace": factor})


def summary(rows: Mapping[Cell, Mapping[str, float]], task: str, budget: int) -> dict[str, object]:
    """The comparison with scratch, and what each change does to the error on unseen images."""
    named = {
        way: {cell.seed: row for cell, row in rows.items() if cell[1:] == (budget, task, way)}
        for way in WAYS
    }

    def mean(way: str) -> float:
        return statistics.mean(column(named[way], "unseen"))

    # The rate that the recipe has, then the best ones for this task and these steps.
    compared = dict.fromkeys((OURS, min(RATES, key=mean), min(SCRATCH, key=mean)))
    changes = {}
    for way in (*CHANGES, *SCRATCH):
        pairs = zip(column(named[way], "unseen"), column(named[OURS], "unseen"), strict=True)
        differences = [changed - ours for changed, ours in pairs]
        error = statistics.stdev(differences) / len(differences) ** 0.5
        changes[way] = spread(column(named[way], "unseen")) | {
            "difference": round(statistics.mean(differences), 5),
            "standard_error": round(error, 5),
        }
    return {
        "task": task,
        "steps": budget,
        "test_error": {way: spread(column(named[way], "test")) for way in compared},
        "seconds": {way: spread(column(named[way], "seconds")) for way in compared},
        "unseen_error": {OURS: spread(column(named[OURS], "unseen")), **changes},
    }


def column(rows: Mapping[int, Mapping[str, float]], name: str) -> list[float]:
    return [rows[seed][name] for seed in sorted(rows)]


def spread(values: Sequence[float]) -> dict[str, object]:
    return {
        "mean": round(statistics.mean(values), 5),
        "deviation": round(statistics.stdev(values), 5),
        "each": [round(value, 5) for value in values],
    }


def digits(seed: int, data: str) -> Dataset:
    """Thirty training digits of each kind; the other training digits are unseen."""
    whole = datasets.load("digits")
    return drawn(whole, whole.splits["train"], whole.splits["test"], seed)


@cache
def turned(data: str) -> Split:
    """The test images of CIFAR-10, turned by quarters at random; labels tell by how many."""
    images = datasets.load(data).splits["test"].images
    assert isinstance(images, Tensor)
    quarters = torch.randint(4, (len(images),), generator=torch.Generator().manual_seed(0))
    views = [image.rot90(int(k), (0, 1)) for image, k in zip(images, quarters, strict=True)]
    return Split(torch.stack(views), quarters)


def orientation(seed: int, data: str) -> Dataset:
    """Seventy-five images of each orientation; a thousand others are unseen."""
    whole = turned(data)
    classes = ("0", "90", "180", "270")
    dataset = Dataset("orientation", data, classes, {}, fingerprint=f"orientation {seed}")
    test, rest = range(UNSEEN), range(UNSEEN, len(whole))
    made = drawn(dataset, whole.select(rest), whole.select(test), seed)
    unseen = made.splits["unseen"].select(range(UNSEEN))
    return replace(made, splits=made.splits | {"unseen": unseen})


def drawn(dataset: Dataset, pool: Split, test: Split, seed: int) -> Dataset:
    """IMAGES of the pool to learn from, as many of each class; the others are unseen."""
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))
    share = IMAGES // len(dataset.classes)
    labels = pool.labels[order]
    chosen = torch.cat([order[labels == kind][:share] for kind in range(len(dataset.classes))])
    inside = set(chosen.tolist())
    rest = [index for index in order.tolist() if index not in inside]
    splits = {"train": pool.select(chosen), "unseen": pool.select(rest), "test": test}
    return replace(dataset, splits=splits)


if __name__ == "__main__":
    main()
