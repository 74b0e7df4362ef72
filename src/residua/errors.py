"""Every way residua refuses or fails: one exception per exit code.

A message has three parts, because a person asks three questions of it: what is wrong, where it is
(a file, a row, a flag and the value received), and what to do about it.

    raise BadData("the image is empty", where="pets/train/cat/7.jpg", fix="remove the file")
"""

from collections.abc import Iterable
from difflib import get_close_matches


class ResiduaError(Exception):
    """An error that a person can act on; its exit code tells a script which kind it is."""

    exit_code = 1

    def __init__(self, what: str, where: str = "", fix: str = "") -> None:
        super().__init__(what, where, fix)
        self.what, self.where, self.fix = what, where, fix

    def __str__(self) -> str:
        lines = (("error", self.what), ("where", self.where), ("fix", self.fix))
        return "\n".join(f"{label + ':':<7}{text}" for label, text in lines if text)


class Refused(ResiduaError):
    """What was asked for cannot be done: a bad flag, name, value or combination."""

    exit_code = 2


class BadData(ResiduaError):
    """A file or a data set is not what it should be."""

    exit_code = 3


class OutOfResources(ResiduaError):
    """Memory, disk space or input and output failed."""

    exit_code = 4


class Diverged(ResiduaError):
    """Training produced numbers that are not finite."""

    exit_code = 5


class Locked(ResiduaError):
    """Another process is writing to the same place."""

    exit_code = 6


class GateNotMet(ResiduaError):
    """A measured value is below the value that was demanded."""

    exit_code = 7


class Stopped(ResiduaError):
    """A signal ended the work, which can be resumed."""

    exit_code = 75


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `did you mean "..."?` for the known name nearest to `name`, or an empty string."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    nearest = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f'did you mean "{by_lower[nearest[0]]}"?' if nearest else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> Refused:
    """Return the error for a name that is not in a registry, with the nearest one that is."""
    known = tuple(known)
    fix = suggestion(name, known) or f"known: {', '.join(known)}"
    return Refused(f'no {kind} named "{name}"', fix=fix)
