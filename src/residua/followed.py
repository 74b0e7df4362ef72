"""The flow of gradients in a network before and while it learns, on one batch (flow.py)."""

from pathlib import Path
from typing import Any

from residua.batches import Batch, evaluation
from residua.errors import Diverged
from residua.networks.network import Network
from residua.probes.flow import Flow, gradient_flow
from residua.question import Subject
from residua.recipes import Recipe
from residua.runs import DONE, RunDirectory
from residua.trials import WATCHED, error_on, step_of, trained
from residua.verdicts import plainly

PIXELS = 2**14  # of all images on which norms are measured: 16 images of 32 x 32 pixels
IMAGES = (16, 64)  # at least and at most


def batch_of(subject: Subject) -> Batch:
    """Training images from all over the split, without augmentation: the same at every time."""
    least, most = IMAGES
    many = min(len(subject.train), max(least, min(most, PIXELS // subject.look.size**2)))
    return next(
        evaluation(subject.train.evenly(many), subject.look, many, subject.execution.device)
    )


def follow(
    subject: Subject, network: Network, recipe: Recipe, folder: Path
) -> tuple[list[dict[str, Any]], str]:
    """Train a network; its state after each epoch, and whether it diverges on the way.

    The last row has its error on training images, too.
    """
    run, batch, status = RunDirectory(folder), batch_of(subject), DONE
    try:
        for mark in trained(subject, network, recipe, folder):
            flow = gradient_flow(mark.network, batch.images, batch.labels)
            row = {"epoch": mark.epoch, **state(flow), **norms(flow)}
            if mark.epoch == mark.epochs:
                wrong, total = error_on(subject, mark.network, subject.train.evenly(WATCHED))
                row["train_error"] = wrong / total
            # In the run's metrics, so that a resumed training finds it, and drops what it repeats.
            run.record({"step": step_of(run), "split": "flow", **row})
    except Diverged as error:
        status = f"diverged: {error.what}"
    return [row for row in run.metrics() if row.get("split") == "flow"], status


def state(flow: Flow) -> dict[str, Any]:
    """What a flow is called, as columns of a row."""
    found = flow.diagnosis
    values = {"ratio": found.ratio, "slope": found.slope, "loss": flow.loss}
    rounded = {key: plainly(value) for key, value in values.items()}
    return {"direction": found.direction, **rounded, "at_fault": found.at_fault}


def norms(flow: Flow) -> dict[str, list[float | None]]:
    values = {"gradients": flow.gradients, "activations": flow.activations}
    return {key: [plainly(value) for value in each] for key, each in values.items()}
