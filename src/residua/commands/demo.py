"""`residua demo`: the whole job on the bundled digits."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from residua.commands.terminal import EMPHASIS, QUIET, Terminal, place
from residua.words import plain

if TYPE_CHECKING:
    from residua.datasets.dataset import Dataset

PICTURES = 8  # of the test split that are predicted from files
STUDY = {"families": ("plain", "residual"), "depths": (20, 56), "seeds": 5, "epochs": 8.0}


def demo(
    *,
    epochs: float | None = None,
    seed: int = 0,
    runs: str = "runs",
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> None:
    """Do the whole job on the bundled digits: check, train, predict, evaluate, and see depth fail.

    It ends with a study: networks of 20 and 56 layers, with and without shortcuts. Nothing is
    downloaded and nothing is opened. It takes less than three minutes on two cores.

    Args:
        epochs: passes over the training images; by default as for any data of this size
        seed: of the weights, the order and the splits
        runs: folder for the run's own folder
    """
    from residua import prepare, workflow
    from residua.commands import progress
    from residua.commands.check import inspected
    from residua.commands.train import introduce

    head("check", "residua check digits", terminal)
    layer = {"epochs": epochs, "seed": seed}
    job = prepare.prepare(
        "digits", layers=[("flag", {key: value for key, value in layer.items() if value})]
    )
    found = inspected(job.dataset, None, terminal)
    terminal.say(f"{len(found.problems)} problems" if found.problems else "nothing is wrong")

    head("train", "residua train digits", terminal)
    introduce(job, terminal)
    run = workflow.begin(job, Path(runs), terminal.command)
    progress.watch(job, run, terminal)

    where = place(run.path)
    head("predict", f"residua predict {where} {where}/pictures", terminal)
    answers = read_back(run.path, job.dataset, terminal)

    head("result", f"residua evaluate {where}; residua report {where}", terminal)
    told = progress.ending(run, terminal)

    words = " ".join(f"--{key} {plain(value)}" for key, value in STUDY.items())
    head("study", f"residua study degradation digits {words.replace(', ', ',')}", terminal)
    told["study"] = degradation(job.dataset, epochs, Path(runs), terminal)
    terminal.answer(told | {"predictions": answers, "problems": len(found.problems)})


def degradation(
    dataset: "Dataset", epochs: float | None, runs: Path, terminal: Terminal
) -> dict[str, Any]:
    """Let networks with and without shortcuts grow deeper."""
    from residua import inquiry
    from residua.commands import study

    factors = STUDY | ({"epochs": epochs} if epochs else {})
    asked = inquiry.prepare("degradation", dataset, factors, inquiry.budget_of("2m", None))
    run = inquiry.begin(asked, runs, terminal.command)
    study.introduce(asked, run, terminal)
    return study.watch(asked, run, terminal)


def head(name: str, command: str, terminal: Terminal) -> None:
    """Tell which part comes, and the command that does it alone."""
    terminal.say()
    terminal.say((name, EMPHASIS), (f"  {command}", QUIET))


def read_back(run: Path, dataset: "Dataset", terminal: Terminal) -> list[dict[str, Any]]:
    """Write some test digits as PNG files into the run, and predict them from the files."""
    from residua import api, checkpoints, durable, images
    from residua.commands.predict import row_of, tell

    split = dataset.splits["test"]
    folder = run / "pictures"
    folder.mkdir(exist_ok=True)
    paths = []
    for index in range(0, len(split), len(split) // PICTURES)[:PICTURES]:
        label = dataset.classes[int(split.labels[index])]
        paths.append(folder / f"{label}-{index}.png")
        durable.write(paths[-1], images.encode_png(split.pixels(index)))
    weights = checkpoints.open_weights(run)
    rows = [row_of(answer, 0.0) for answer in api.predict(weights, paths, 3)]
    for row in rows:
        tell(row | {"name": Path(row["name"]).name}, (9, 1), terminal)
    return rows
