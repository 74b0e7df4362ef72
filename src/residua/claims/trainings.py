"""Trainings and tests that no study makes, and that some claims need.

A set is a few variants, each trained from several seeds on the same images in the same order. Its
rows are kept below the folder of runs, so that a ledger that is stopped goes on, and a later one
finds them:

    <data>-claims-<fingerprint>/<set>/       plan.json and a file for each cell
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from residua import durable
from residua.batches import evaluation
from residua.checkpoints import Weights, open_weights
from residua.claims.evidence import Found
from residua.comparisons import compare
from residua.datasets.dataset import Dataset
from residua.evaluate import Evaluation
from residua.factors import Factors
from residua.inquiry import subject_of
from residua.networks.network import Network
from residua.networks.residual import Residual
from residua.pretrained import PRETRAINED
from residua.protocols import Protocol
from residua.question import Budget, Subject
from residua.runs import DONE
from residua.sweeps import Cell, Measured, stored, sweep
from residua.testing import Asking, evaluate
from residua.trials import built, fullest, outcome, recipe_of
from residua.trials import finished as trained_network

PLAN = "plan.json"
SHOWN = 256  # images on which branches are measured
ASKED = 2_000  # test images, unless there is much time
LEAST = 16  # pixels: networks for smaller images learned without crops and mirror images


class Variant(NamedTuple):
    """One kind of training in a set."""

    network: str
    rate: float = 1.0  # times the usual learning rate
    decay: float = 1e-4


SETS: dict[str, dict[str, Variant]] = {
    "norms": {
        f"{norm} {words}": Variant(f"resnet20-cifar{'-norm=none' * (norm == 'none')}", rate)
        for norm in ("batch", "none")
        for words, rate in (("1/32", 1 / 32), ("1", 1.0), ("4", 4.0))
    },
    "decay": {
        "with decay": Variant("resnet20-cifar", decay=5e-4),
        "without decay": Variant("resnet20-cifar", decay=0.0),
    },
    "bottlenecks": {  # of equal cost
        "basic": Variant("resnet20-cifar"),
        "bottleneck": Variant("resnet29-cifar-branch=bottleneck"),
    },
    "twins": {
        f"{family} {depth}": Variant(f"{name}{depth}{'-shortcut=A' * (name == 'resnet')}")
        for family, name in (("plain", "plain"), ("residual", "resnet"))
        for depth in (18, 34)
    },
    "deepest": {
        "110": Variant("resnet110-cifar"),
        "1202": Variant("resnet1202-cifar"),
    },
}
SIZES = {"twins": 32}  # pixels: these networks divide by 32


def home(runs: Path, data: Dataset, name: str) -> Path:
    """Where the rows of a set are kept, apart for each data set."""
    return runs / f"{data.name}-claims-{data.fingerprint[:8]}" / name


def known(runs: Path, data: Dataset, name: str) -> Found | None:
    """The rows of a set that is complete."""
    folder = home(runs, data, name)
    plan = planned(folder)
    if plan.get("status") != DONE:
        return None
    rows = [stored(Cell(values), folder) for values in plan["cells"]]
    found = [each.row for each in rows if each is not None]
    return Found(found, str(folder), plan) if len(found) == len(rows) else None


def planned(folder: Path) -> dict[str, Any]:
    """What a set's plan says, nothing if it has none."""
    try:
        plan = json.loads((folder / PLAN).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return plan if isinstance(plan, dict) else {}


def follow(name: str, data: Dataset, budget: Budget, runs: Path) -> Iterator[Measured]:
    """Make the trainings or tests of a set, telling of each."""
    folder = home(runs, data, name)
    folder.mkdir(parents=True, exist_ok=True)
    subject = subject_of(data, Factors(size=SIZES.get(name)), None, None)
    if subject.execution.device.type != "cpu":
        budget = replace(budget, workers=1)
    before = planned(folder)
    unfinished = before.get("status") == "running" and before["budget"]["name"] == budget.name
    if name == "protocols":
        cells, factors = tests(data, budget), Factors()
        measure = partial(asked, data, subject)
    else:
        # What was begun goes on as it was planned: another look at the clock would plan anew.
        factors = Factors(**before["factors"]) if unfinished else scaled(name, subject, budget)
        subject = replace(subject, train=subject.train.evenly(factors.images))
        cells, measure = trainings(name, factors), partial(train, subject, factors, name)
    plan = {"cells": [cell.values for cell in cells], "factors": asdict(factors)}
    plan |= {"budget": asdict(budget)}
    write(folder, plan | {"status": "running"})
    yield from sweep(cells, measure, folder, budget.workers)
    write(folder, plan | {"status": DONE})


def write(folder: Path, plan: Mapping[str, Any]) -> None:
    durable.write(folder / PLAN, json.dumps(plan, indent=1).encode())


def scaled(name: str, subject: Subject, budget: Budget) -> Factors:
    """Seeds, epochs and images that a budget allows."""
    names = [variant.network for variant in SETS[name].values()]
    return fullest(subject, budget, [Factors()], lambda _: names)


def trainings(name: str, factors: Factors) -> list[Cell]:
    """A training for each variant and seed; what decides its length tells it from others."""
    length = {"epochs": factors.epochs, "images": factors.images, "batch": factors.batch}
    return [
        Cell({"label": label, "seed": seed, **length})
        for label in SETS[name]
        for seed in range(factors.seeds or 1)
    ]


def train(
    subject: Subject, factors: Factors, name: str, cell: Cell, folder: Path
) -> Mapping[str, Any]:
    """Train one network; its errors, and how large its branches are."""
    variant = SETS[name][cell.values["label"]]
    recipe = recipe_of(subject, factors, variant.network, cell.values["seed"])
    rate = (recipe.learning_rate or 0.0) * variant.rate
    recipe = replace(recipe, learning_rate=rate, weight_decay=variant.decay)
    row = outcome(subject, built(subject, recipe), recipe, folder)
    share = branch_share(trained_network(folder), subject) if name == "decay" else {}
    return {**row, **share}


@torch.no_grad()
def branch_share(network: Network, subject: Subject) -> dict[str, float]:
    """How large branches F(x) are beside x, on average over identity blocks and images."""
    shares: list[float] = []

    def note(module: Any, args: Any, output: torch.Tensor) -> None:
        shares.append(float(output.norm() / args[0].norm()))

    for block in network.modules():
        if isinstance(block, Residual) and isinstance(block.shortcut, torch.nn.Identity):
            block.branch.register_forward_hook(note)
    some = subject.test.select(range(min(SHOWN, len(subject.test))))
    network.eval()(next(evaluation(some, subject.look, SHOWN, torch.device("cpu"))).images)
    return {"share": sum(shares) / len(shares)} if shares else {}


# Protocols.


def weights_of(data: Dataset) -> dict[str, Weights]:
    """The trained networks that come with Residua, know this data's classes, and learned crops."""
    found = {name: open_weights(name) for name in PRETRAINED}
    return {
        name: each
        for name, each in found.items()
        if set(each.classes) == set(data.classes) and each.preprocessing.size >= LEAST
    }


def tests(data: Dataset, budget: Budget) -> list[Cell]:
    """Each network by each protocol, and all of them together."""
    names = sorted(weights_of(data))
    long = budget.seconds is None or budget.seconds >= 3600
    images = len(data.splits["test"]) if long else min(ASKED, len(data.splits["test"]))
    cells = [
        Cell({"protocol": protocol, "network": name, "images": images})
        for name in names
        for protocol in ("ten-crop", "multi-scale")
    ]
    together = {"protocol": "ensemble", "network": " + ".join(names), "images": images}
    return [*cells, Cell(together)] if len(names) > 1 else cells


def asked(data: Dataset, subject: Subject, cell: Cell, folder: Path) -> Mapping[str, Any]:
    """The error by a protocol against that of a single view, on the same images."""
    protocol, images = cell.values["protocol"], cell.values["images"]
    test = data.splits["test"]
    part = replace(data, splits={**data.splits, "test": test.evenly(images)})
    members = [weights_of(data)[name] for name in cell.values["network"].split(" + ")]

    def tested(way: str) -> tuple[Evaluation, list[Evaluation]]:
        return evaluate(members, part, "test", subject.execution, Asking(Protocol(way)))

    joint, alone = tested("single")
    if protocol == "ensemble":
        usual = min(alone, key=lambda each: each.error)
        found = compare(joint.answers(protocol), usual.answers("best"))
    else:
        found = compare(tested(protocol)[0].answers(protocol), joint.answers("single"))
    numbers = found.to_dict()
    return {key: numbers[key] for key in ("difference", "interval", "p_value", "total")}
