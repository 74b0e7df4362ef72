"""Every study by name: one file each, which holds a question and the functions that answer it.

STUDIES names no module's contents, so that listing them loads no torch; `find` does.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from residua.errors import unknown

if TYPE_CHECKING:
    from residua.question import Study

STUDIES: dict[str, str] = {
    "construction": "does SGD keep the solution that a deeper network has by construction?",
    "data-size": "do highway networks need more images than residual ones?",
    "degradation": "do deeper plain networks fit training images worse, and residual ones not?",
    "gradient-flow": "do gradients vanish or explode toward the input, with and without shortcuts?",
    "gates": "must the gates of a deep highway network begin nearly closed?",
    "lesion": "what does a trained network lose when blocks are dropped, or out of order?",
    "landscape": "how rough is the loss around trained weights, with and without shortcuts?",
    "responses": "are the responses of residual networks small, and smaller with depth?",
    "shortcuts": "is the identity the best shortcut, and which order of activations suits it?",
    "width-depth": "at the same cost, is a deeper network better than a wider one?",
}


def find(name: str) -> "Study":
    """A study by its name.

    Raises:
        Refused: there is none of that name; the message names the nearest.
    """
    if name not in STUDIES:
        raise unknown("study", name, STUDIES)
    found: Study = import_module(f"residua.studies.{name.replace('-', '_')}").STUDY
    return found
