"""Every study by name: one file each, which holds a question and the functions that answer it.

STUDIES names no module's contents, so that listing them loads no torch; `find` does.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from residua.errors import unknown

if TYPE_CHECKING:
    from residua.study import Study

STUDIES: dict[str, str] = {
    "degradation": "do deeper plain networks fit even the training images worse? residual ones?",
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
