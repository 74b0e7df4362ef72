"""The verbs as Python functions; the command line parses, calls these, and prints.

import residua as rs
data = rs.load("pets/")
run = rs.train(data, network="resnet50", time="20m")
run.evaluate()
run.predict("cat.jpg")
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from residua import checkpoints, datasets, drawing, inquiry, networks, testing, workflow
from residua.checkpoints import Weights
from residua.datasets.dataset import Dataset
from residua.drawing import Drawing
from residua.engines import Choice
from residua.errors import BadData
from residua.evaluate import Evaluation
from residua.execution import Execution, execution
from residua.networks.graph import Graph, graph
from residua.networks.network import Network
from residua.predictor import Answer, Floats, Prediction, Predictor
from residua.prepare import prepare
from residua.protocols import Protocol
from residua.recipes import Recipe
from residua.runs import STUDY, RunDirectory

RUNS = Path("runs")
FOLDED = Choice("folded")  # the network's scores to six digits, sooner


@dataclass(frozen=True)
class Run:
    """A finished or unfinished run, and what can be asked of it."""

    directory: RunDirectory

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """A run by its folder."""
        return cls(RunDirectory.open(Path(path)))

    @property
    def path(self) -> Path:
        return self.directory.path

    @property
    def info(self) -> dict[str, Any]:
        """What run.json holds."""
        return self.directory.info()

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """A row for each epoch and split."""
        return self.directory.metrics()

    def weights(self) -> Weights:
        """The selected weights."""
        return checkpoints.read_weights(self.directory.weights)

    def network(self) -> Network:
        """The trained network, an ordinary nn.Module in evaluation mode."""
        return self.weights().build()

    def evaluate(
        self,
        data: str | Path | Dataset | None = None,
        protocol: str = "single",
        split: str | None = None,
        *,
        scales: Sequence[int] = (),
        average: str = "softmax",
        mirror: bool = True,
    ) -> Evaluation:
        """Ask the network about every image of a split, or of "all".

        By default the test images of the run's own data; all images of data without a test split.
        The last three are those of `Protocol`.
        """
        info = self.info
        source = info["data"]["source"] if data is None else data
        dataset = datasets.load(source, info["data"]["seed"])  # to find its test images again
        split = split or testing.usual_split(dataset, workflow.is_own(self.directory, dataset))
        asking = testing.Asking(Protocol(protocol, average, tuple(scales), mirror))
        tested, _ = testing.evaluate([self.weights()], dataset, split, plain_execution(), asking)
        return tested

    def predict(self, picture: str | Path | bytes, top: int = 5) -> list[Prediction]:
        """The most likely classes of one picture, a path or the bytes of a file.

        Raises:
            BadData: it cannot be read.
        """
        answer = next(predict(self.weights(), [picture], top))
        if answer.error:
            raise BadData(answer.error, where=answer.name)
        return list(answer.predictions)

    def features(self, pictures: Iterable[str | Path | bytes], level: int | None = None) -> Floats:
        """Feature vectors (n, width) of pictures, as `residua.features` gives them."""
        return features(self.weights(), pictures, level)

    def report(self) -> Path:
        """Write the run's page and card again; return the page's path."""
        return workflow.write_report(self.directory)


@dataclass(frozen=True)
class Studied:
    """A study that is done, and what came of it."""

    directory: RunDirectory

    @classmethod
    def open(cls, path: str | Path) -> "Studied":
        """A study by its folder."""
        return cls(RunDirectory.open(Path(path), STUDY))

    @property
    def path(self) -> Path:
        return self.directory.path

    @property
    def info(self) -> dict[str, Any]:
        """What study.json holds: verdict, holds, p_value, numbers, limits, rows ..."""
        return self.directory.info()

    def report(self) -> Path:
        """Write the study's page again; return its path."""
        return inquiry.rewrite(self.path)


def study(
    name: str,
    data: str | Path | Dataset = "digits",
    *,
    weights: Weights | None = None,
    budget: str = "5m",
    workers: int | None = None,
    runs: str | Path = RUNS,
    **factors: Any,
) -> Studied:
    """Answer a question about depth and shortcuts, in a new folder under `runs`.

    Args:
        name: of a study, see `residua list studies`.
        data: a data set, its path or its name.
        weights: of the trained network that it is about, if it is about one.
        budget: how long it may take: 5m, 1h, full.
        workers: processor cores to use; by default all.
        runs: the folder for the study's own.
        factors: fields of `Factors`, such as depths=(20, 56).

    Raises:
        ResiduaError: one of its kinds, each with what, where and how to fix it.
    """
    asked = inquiry.prepare(name, data, factors, inquiry.budget_of(budget, workers), weights)
    words = ["residua.study", name, str(asked.subject.data.source)]
    directory = inquiry.begin(asked, Path(runs), words)
    for _ in inquiry.follow(asked, directory):
        pass
    return Studied(directory)


def load(source: str | Path | Dataset, seed: int = 0) -> Dataset:
    """A data set by its name or path; `seed` draws the splits that it lacks."""
    return datasets.load(source, seed)


def network(name: str, classes: int | None = None, channels: int = 3, seed: int = 0) -> Network:
    """A network by its name, He-initialized: an ordinary nn.Module."""
    return networks.build(name, classes, channels, seed=seed)


def draw(
    *sources: str | nn.Module,
    size: int | None = None,
    channels: int = 3,
    folded: bool | None = None,
    block: str | None = None,
    compare: bool = False,
) -> Drawing:
    """Networks side by side, as text of a picture, `.svg()`, or of a page, `.page()`.

    Args:
        sources: names of networks, or modules, of Residua or not.
        size: height and width of the images; by default what a network is made for, or 224.
        channels: of the images, for modules that are not Residua's.
        folded: draw like blocks once; by default where a network has more than 40 layers.
        block: only this part of each, such as "stage1.0".
        compare: two networks; color what differs.

    Raises:
        Refused: no such network, or a module whose operations cannot be followed.
    """
    graphs = [taken_apart(source, size, channels) for source in sources]
    return drawing.draw(graphs, folded=folded, block=block, compare=compare)


def taken_apart(source: str | nn.Module, size: int | None, channels: int) -> tuple[str, Graph]:
    """A network's name and its operations."""
    if isinstance(source, str):
        source = networks.weightless(source)
    if not isinstance(source, Network):
        side = 224 if size is None else size
        return type(source).__name__, graph(source, (channels, side, side))
    side = networks.parse(source.name)[0].size if size is None else size
    return source.name, graph(source, (source.channels, side, side))


def train(
    data: str | Path | Dataset,
    *,
    recipe: str = "auto",
    runs: str | Path = RUNS,
    **settings: Any,
) -> Run:
    """Train a classifier and leave all that came of it in a new folder under `runs`.

    Args:
        data: a data set, its path or its name.
        recipe: a name from `residua list recipes`.
        runs: the folder for the run's own.
        settings: fields of `Recipe`, such as network="resnet50", time="20m" or seed=1.

    Raises:
        ResiduaError: one of its kinds, each with what, where and how to fix it.
    """
    job = prepare(data, recipe, [("argument", settings)], Path(runs))
    directory = workflow.begin(job, Path(runs), ["residua.train", str(job.dataset.source)])
    for _ in workflow.follow(job, directory):
        pass
    return Run(directory)


def resume(path: str | Path) -> Run:
    """Go on with a stopped run, to the same bits as if it had not stopped."""
    directory, job = workflow.reopen(Path(path))
    for _ in workflow.follow(job, directory):
        pass
    return Run(directory)


def predict(
    weights: Weights,
    pictures: Iterable[str | Path | bytes],
    top: int = 5,
    device: str | None = None,
    choice: Choice = FOLDED,
) -> Iterator[Answer]:
    """Answer for each picture, a path or the bytes of a file, in order.

    One that cannot be read gets an answer that says why, and does not end the work.

    Args:
        weights: of a network.
        pictures: paths or the bytes of files.
        top: classes in an answer.
        device: cpu, cuda or cuda:1.
        choice: the engine, by default that of `residua predict`.
    """
    sources = (item if isinstance(item, bytes) else Path(item) for item in pictures)
    return Predictor(weights, plain_execution(device), choice=choice).predict(sources, top)


def features(
    weights: Weights,
    pictures: Iterable[str | Path | bytes],
    level: int | None = None,
    device: str | None = None,
) -> Floats:
    """Feature vectors (n, width) of pictures: a feature map averaged over all positions.

    Args:
        weights: of a network.
        pictures: paths or the bytes of files.
        level: of the map, as `network.features(x, levels)` has it; by default the last map.
        device: cpu, cuda or cuda:1.

    Raises:
        BadData: a picture cannot be read.
        Refused: the network has no such level.
    """
    predictor = Predictor(weights, plain_execution(device), choice=FOLDED)
    sources = (item if isinstance(item, bytes) else Path(item) for item in pictures)
    rows = []
    for answer in predictor.predict(sources, 1, predictor.stage(level)):
        if answer.features is None:
            raise BadData(answer.error, where=answer.name)
        rows.append(answer.features)
    return np.stack(rows)


def plain_execution(device: str | None = None) -> Execution:
    """In float32, on the device or the first GPU or the processor."""
    best = "cuda" if torch.cuda.is_available() else "cpu"
    return execution(Recipe(device=device or best, precision="fp32"))
