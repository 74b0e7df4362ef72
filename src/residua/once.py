"""A trained network that several cells of a sweep share: trained once, by the first that needs it.

It is named as the registry has it, and then trained as the study trains, or by a run, a weights
file or a name in PRETRAINED, and then copied. Either way it lies beside the cells afterwards, where
a network that was stopped in training also goes on:

    cells/networks/<name>-<seed>/
      weights.safetensors       as of any run
      snapshots/                weights from time to time, where asked for
      outcome.json              there is nothing left to do, or it diverged
"""

import fcntl
import json
import math
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from residua import checkpoints, durable, networks
from residua.checkpoints import Weights
from residua.errors import Diverged, Refused
from residua.factors import Factors
from residua.networks.network import Network
from residua.pretrained import is_pretrained
from residua.question import Subject
from residua.runs import RunDirectory
from residua.trials import built, recipe_of, trained


def to_train(name: str) -> bool:
    """Whether a name is that of a network, which has to be trained, not that of weights."""
    try:
        networks.parse(name)
    except Refused:
        return False
    return True


def opened(name: str) -> Weights:
    """A trained network, by a run, a weights file or a name in PRETRAINED.

    Raises:
        Refused: it is none of these, nor the name of a network.
        BadData: the weights cannot be read.
    """
    if not is_pretrained(name) and not Path(name).exists():
        networks.parse(name)  # says what is wrong with it
    return checkpoints.open_weights(name)


def architecture(subject: Subject, name: str) -> str:
    """The network behind a name of it or of weights.

    Raises:
        Refused: it is neither, or the weights are of other images than the subject's.
        BadData: the weights cannot be read.
    """
    if to_train(name):
        return name
    weights = opened(name)
    weights.check(subject.classes, subject.data.name)
    size = weights.preprocessing.size
    if size != subject.look.size:
        raise Refused(
            f"these weights take images of {size} pixels, and the study has {subject.look.size}",
            where=name,
            fix=f"add --size {size}",
        )
    return weights.network


def ready(
    subject: Subject, factors: Factors, name: str, seed: int, cell: Path, snapshots: int = 0
) -> RunDirectory:
    """The folder of a trained network, trained now if no cell has done so.

    Args:
        cell: the folder of the cell that needs it.
        snapshots: after epochs of a training, at most so many, the last not among them. The first
            weights are not, either: where gradients explode the first steps dwarf all that follow.

    Raises:
        Diverged: the training did, now or before.
    """
    plain = re.sub(r"[^\w.]+", "-", name)
    run = RunDirectory(cell.parent / "networks" / f"{plain}-{seed}")
    run.path.mkdir(parents=True, exist_ok=True)
    outcome = run.path / "outcome.json"
    with turn(run.path):
        if not outcome.exists():
            said = prepared(subject, factors, name, seed, run, snapshots)
            durable.write(outcome, json.dumps({"diverged": said}).encode())
    said = json.loads(outcome.read_text("utf-8"))["diverged"]
    if said:
        raise Diverged(said)
    return run


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Wait until no other cell works in a folder; one that is killed there makes room."""
    with (folder / "turn").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def prepared(
    subject: Subject,
    factors: Factors,
    name: str,
    seed: int,
    run: RunDirectory,
    snapshots: int,
) -> str:
    """Leave the weights in a folder; say how it diverged if it did."""
    if not to_train(name):
        checkpoints.write_weights(run.weights, checkpoints.open_weights(name))
        return ""
    recipe = recipe_of(subject, factors, name, seed)
    network = built(subject, recipe)
    try:
        for mark in trained(subject, network, recipe, run.path):
            every = math.ceil(mark.epochs / snapshots) if snapshots else mark.epochs
            if mark.epoch % every == 0 and mark.epoch < mark.epochs:
                keep(subject, network, run, mark.epoch)
    except Diverged as error:
        return error.what
    shutil.rmtree(run.checkpoints)
    return ""


def keep(subject: Subject, network: Network, run: RunDirectory, epoch: int) -> None:
    """Write a snapshot."""
    folder = run.path / "snapshots"
    folder.mkdir(exist_ok=True)
    weights = Weights(network.state_dict(), network.name, subject.classes, subject.look)
    checkpoints.write_weights(folder / f"{epoch:05}.safetensors", weights)
