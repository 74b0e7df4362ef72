"""What a study is: a question, what is measured for it, how it is drawn, and what follows.

    scale     the factors that were left open, so that the study ends within its budget
    cells     the measurements, each of which needs no other (sweeps)
    measure   one of them
    conclude  a verdict from all rows
    figures   what shows them

Each is a function of plain values and of the subject, so that a study stopped anywhere goes on to
the same table.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from residua.checkpoints import Weights
from residua.datasets.dataset import Dataset, Split
from residua.execution import Execution
from residua.factors import Factors
from residua.images import Preprocessing
from residua.recipes import Recipe
from residua.sweeps import Cell, Row


@dataclass(frozen=True)
class Budget:
    """How long a study may take, and on how many cores."""

    name: str  # as it was given: 5m, 1h, full
    seconds: float | None  # None: what the papers did, however long it takes
    workers: int

    @property
    def work(self) -> float:
        """Core-seconds; a tenth is left for reading, drawing and an uneven end."""
        return math.inf if self.seconds is None else 0.9 * self.seconds * self.workers


@dataclass(frozen=True)
class Subject:
    """What is studied: images, and a trained network where the question is about one."""

    data: Dataset  # as it is on disk
    train: Split  # in memory, at the size of `look`
    test: Split
    look: Preprocessing
    recipe: Recipe  # of a network that is trained for the study, on one core
    execution: Execution  # of one core, or of the device
    weights: Weights | None = None
    notes: tuple[str, ...] = ()  # what was shrunk or taken on trust

    @property
    def classes(self) -> tuple[str, ...]:
        return self.data.classes


class Verdict(NamedTuple):
    """What follows from the rows."""

    holds: bool | None  # None: not enough evidence
    words: str  # a sentence or two with the numbers in them
    p_value: float | None = None
    numbers: Mapping[str, Any] = {}  # plain values, intervals among them
    limits: tuple[str, ...] = ()  # what this budget cannot show


class Picture(NamedTuple):
    """A figure: how it is drawn from factors and rows in a theme, and what it shows."""

    draw: Callable[[Factors, Sequence[Row], str], Figure]
    caption: str


@dataclass(frozen=True)
class Study:
    """One question, and the functions that answer it."""

    question: str
    source: str  # paper, section, figure
    takes: tuple[str, ...]  # names of Factors
    scale: Callable[[Subject, Factors, Budget], Factors]
    cells: Callable[[Factors], list[Cell]]
    measure: Callable[[Subject, Factors, Cell, Path], Mapping[str, Any]]
    conclude: Callable[[Factors, Sequence[Row]], Verdict]
    figures: Mapping[str, Picture]  # by file name, the main one first
    columns: tuple[str, ...]  # of the table, among all that the rows hold
    trained: bool = False  # about a trained network, not about training
