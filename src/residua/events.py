"""What happens in a training, for whoever wants to show it."""

from pathlib import Path
from typing import Any, NamedTuple


class Advance(NamedTuple):
    """A step was taken."""

    step: int
    steps: int
    epoch: int
    loss: float
    images_per_second: float
    seconds_left: float


class Epoch(NamedTuple):
    """An epoch ended; its rows are in the run's metrics."""

    number: int
    rows: list[dict[str, Any]]
    best: bool  # the validation error is the lowest so far


class Saved(NamedTuple):
    """A checkpoint would survive a power cut from now on."""

    step: int
    path: Path


class Note(NamedTuple):
    """Something a person should know."""

    text: str


Event = Advance | Epoch | Saved | Note
