"""Which of a verb's arguments is a trained network, and which is data."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from residua.commands.terminal import place
from residua.errors import BadData, Refused
from residua.pretrained import PRETRAINED, is_pretrained
from residua.runs import STUDY, RunDirectory
from residua.words import harmless

if TYPE_CHECKING:  # an argument is told apart before torch is loaded
    from residua.checkpoints import Weights

PICKLED = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth", ".th"}


class Model(NamedTuple):
    """A trained network, and the run that it comes from if it comes from one."""

    weights: "Weights"
    run: RunDirectory | None
    name: str


def is_model(argument: str) -> bool:
    """Whether an argument is a run's folder, or weights, ours or not."""
    path = Path(argument)
    if is_pretrained(argument) or path.suffix.lower() in {".safetensors", *PICKLED}:
        return True
    return (path / "run.json").is_file() or (path / "model.safetensors").is_file()


def is_study(argument: str) -> bool:
    """Whether an argument is a study's folder."""
    return (Path(argument) / STUDY).is_file()


def open_run(argument: str) -> RunDirectory:
    """A run by its folder.

    Raises:
        Refused: there is no such folder.
        BadData: it is not a run.
    """
    path = Path(argument)
    if not path.exists():
        raise Refused(f'no run "{harmless(argument)}"', fix="give a folder below runs")
    return RunDirectory.open(path)


def open_model(argument: str) -> Model:
    """The selected weights of a run, or a weights file.

    Raises:
        Refused: the argument is neither, or needs to be converted first.
        BadData: the weights cannot be used.
    """
    path = Path(argument)
    if not path.exists() and not is_pretrained(argument):
        names = ", ".join(PRETRAINED)
        fix = f"give a run's folder, a .safetensors file, or one of {names}"
        raise Refused(f'no run or weights "{harmless(argument)}"', fix=fix)
    if path.suffix.lower() in PICKLED:
        fix = f"convert it once: residua convert {harmless(argument)} --network NAME"
        raise Refused("a pickled file is a program, and is not opened here", str(path), fix)
    if (path / "model.safetensors").is_file():
        fix = f"convert it once: residua convert {harmless(argument)}"
        raise Refused("these weights are under the names of others", str(path), fix)
    from residua.checkpoints import open_weights

    if is_pretrained(argument):
        return Model(open_weights(argument), None, argument)
    if not path.is_dir():
        return Model(open_weights(path), None, place(path))
    run = RunDirectory.open(path)
    if not run.weights.exists():
        fix = f"train it to the end of an epoch: residua resume {place(run.path)}"
        raise BadData("the run has no weights yet", place(run.path), fix)
    return Model(open_weights(run.path), run, run.path.name)
