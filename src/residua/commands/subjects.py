"""What an evaluation is about: which networks, on which images, and whose test images these are."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from residua.commands.models import Model, is_model, open_model
from residua.errors import Refused
from residua.runs import RunDirectory
from residua.words import harmless

if TYPE_CHECKING:
    from residua.datasets.dataset import Dataset

FIX = "residua evaluate RUN, or residua evaluate WEIGHTS DATA"


@dataclass(frozen=True)
class Subject:
    """Networks and the images that they are asked about."""

    models: tuple[Model, ...]
    names: tuple[str, ...]  # of the networks, no two alike
    dataset: "Dataset"
    split: str
    readers: tuple[RunDirectory, ...]  # the runs of which these are the own test images

    @property
    def runs(self) -> tuple[RunDirectory, ...]:
        """The run of each network.

        Raises:
            Refused: one is a weights file, which has no validation images.
        """
        found = [model.run for model in self.models if model.run is not None]
        if len(found) < len(self.models):
            raise Refused(
                "a weights file has no validation images of its own",
                where=", ".join(harmless(model.name) for model in self.models),
                fix="give runs instead",
            )
        return tuple(found)


def parted(arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """The networks among the arguments, and the data if there is any.

    Raises:
        Refused: there is no network, or one of them twice, or more than one data set.
    """
    models = [argument for argument in arguments if is_model(argument)]
    others = [argument for argument in arguments if not is_model(argument)]
    if not models and arguments:
        open_model(arguments[0])  # says what is wrong with it
    if not models:
        raise Refused("there is no run and no weights file to evaluate", fix=FIX)
    if len(others) > 1:
        raise Refused("there is more than one data set", f"received {', '.join(others)}", FIX)
    places = [Path(model).resolve() for model in models]
    twice = [model for index, model in enumerate(models) if places[index] in places[:index]]
    if twice:
        raise Refused(f"{harmless(twice[0])} is there twice", f"received {', '.join(models)}")
    return models, others[0] if others else None


def opened(arguments: Sequence[str], source: str | None, split: str | None) -> Subject:
    """Open the networks and the images.

    Raises:
        Refused: there is no data; the runs were trained on different data and none is named; or
            there is no such split.
    """
    from residua import testing, workflow

    models = tuple(open_model(argument) for argument in arguments)
    dataset = data_of(models, source)
    runs = [model.run for model in models if model.run is not None]
    own = [run for run in runs if workflow.is_own(run, dataset)]
    others = [run for run in runs if run not in own]
    if own and others and not dataset.divided:
        raise Refused(
            f"{harmless(others[0].path.name)} and {harmless(own[0].path.name)} held other images "
            "out of the same data",
            where="what one is tested on the other may have learned from",
            fix="train them with the same --seed, or evaluate them on other data",
        )
    split = split or testing.usual_split(dataset, bool(own))
    if split == "validation" and own and split not in dataset.splits:
        from residua.selection import with_validation

        dataset = with_validation(runs, dataset)
    readers = tuple(own) if split == "test" else ()
    return Subject(models, names_of(arguments, models), dataset, split, readers)


def data_of(models: Sequence[Model], source: str | None) -> "Dataset":
    """The data that was given, or the runs' own."""
    from residua import datasets

    kept = [model.run.info()["data"] for model in models if model.run is not None]
    if source is None and len({own["fingerprint"] for own in kept}) > 1:
        raise Refused(
            "the runs were trained on different data",
            where=", ".join(f"{own['source']} with seed {own['seed']}" for own in kept),
            fix="name the data to evaluate on after them",
        )
    if source is None and not kept:
        raise Refused("a weights file has no data of its own", fix="name the data after it")
    own = kept[0] if kept else {}
    # The seed finds the run's test images again.
    return datasets.load(source or own["source"], own.get("seed", 0))


def names_of(arguments: Sequence[str], models: Sequence[Model]) -> tuple[str, ...]:
    """The names of the networks; those that are alike with as many folders as tell them apart."""
    names = [model.name for model in models]
    paths = [Path(argument).resolve().parts for argument in arguments]
    depth = 1
    while len(set(names)) < len(names):
        depth += 1
        tails = ["/".join(parts[-depth:]) for parts in paths]
        names = [
            tail if names.count(name) > 1 else name for name, tail in zip(names, tails, strict=True)
        ]
    return tuple(names)


@contextmanager
def locked(runs: Sequence[RunDirectory]) -> Iterator[None]:
    """Be the only writer of all these runs; of several processes at one task the first writes."""
    from residua import distributed

    with ExitStack() as stack:
        for run in runs if distributed.rank() == 0 else ():
            stack.enter_context(run.lock())
        yield
