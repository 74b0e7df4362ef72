"""The smallest trainings that are still trainings, and what two of them must have in common."""

import hashlib
import json
from pathlib import Path
from typing import Any, TextIO

import torch
from PIL import Image

from residua import datasets, workflow
from residua.datasets.dataset import Dataset, fingerprint
from residua.events import Advance, Event
from residua.interrupt import Interrupt
from residua.prepare import Job, prepare
from residua.runs import RunDirectory
from residua.training import train

SETTINGS: dict[str, Any] = {
    "network": "resnet8-cifar",
    "epochs": 3,
    "batch": 32,
    "learning_rate": 0.05,
    "validation": 0.2,
    "threads": 1,
    "workers": 0,
    "precision": "fp32",
    "device": "cpu",
}
CLOCKS = ("seconds", "images_per_second")  # fields of a row that no two runs share


def digits(train_images: int = 240, test_images: int = 60) -> Dataset:
    """The first of the bundled digits, which a few steps learn."""
    whole = datasets.load("digits")
    counts = {"train": train_images, "test": test_images}
    splits = {role: whole.splits[role].select(range(count)) for role, count in counts.items()}
    print_ = fingerprint(splits, whole.classes)
    return Dataset("digits", "digits", whole.classes, splits, print_)


def folder(root: Path, images: int = 10, size: int = 12, splits: tuple[str, ...] = ()) -> Path:
    """Three classes of PNG files that differ in color, in folders."""
    generator = torch.Generator().manual_seed(3)
    for role in splits or ("",):
        for channel, name in enumerate(("red", "green", "blue")):
            place = root / role / name
            place.mkdir(parents=True, exist_ok=True)
            for index in range(images):
                pixels = torch.randint(0, 160, (size, size, 3), generator=generator)
                pixels[:, :, channel] += 90
                image = Image.fromarray(pixels.to(torch.uint8).numpy())
                image.save(place / f"{index}.png")
    return root


def job(source: Any = None, recipe: str = "quick", **changes: Any) -> Job:
    """A training on the digits, or on `source`, decided but not begun."""
    source = digits() if source is None else source
    return prepare(source, recipe, [("test", SETTINGS | changes)])


def begin(job: Job, parent: Path) -> RunDirectory:
    return workflow.begin(job, parent, ["test"])


def fit(
    job: Job, run: RunDirectory, stop: int | None = None, log: TextIO | None = None
) -> list[Event]:
    """Train, without the evaluation and the pictures at the end.

    Args:
        stop: ask for an interrupt during this step, counted from 1.
        log: where the images of each step are written.
    """
    interrupt, events = Interrupt(), []
    for event in train(job.task, job.recipe, run, job.execution, interrupt, log):
        events.append(event)
        if isinstance(event, Advance) and event.step == stop:
            interrupt.requested = True
    return events


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def outcome(run: RunDirectory) -> dict[str, Any]:
    """Everything that a run leaves and that must not depend on when it was interrupted."""
    manifests = {
        path.parent.name: json.loads(path.read_text())
        for path in run.checkpoints.glob("*/manifest.json")
        if path.parent.name.isdigit()
    }
    newest = max(map(int, manifests))
    position = {**manifests[str(newest)]["position"], "seconds": None}
    return {
        "weights": sha256(run.weights),
        "newest": newest,
        "parts": manifests[str(newest)]["sha256"],
        "position": position,
        "rows": [{k: v for k, v in row.items() if k not in CLOCKS} for row in run.metrics()],
    }
