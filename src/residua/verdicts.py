"""What the rows of a study tell, in the numbers and words that studies share."""

import math
from collections.abc import Sequence
from typing import Any

from residua.runs import DONE
from residua.seeds import Mean
from residua.sweeps import Row
from residua.words import percent

LEVEL = 0.05  # of a test
FITTED = 0.02  # training error of a network that has learned its images


def error(row: Row, role: str = "train") -> float:
    """The error of a row; a network that diverged classifies nothing."""
    return float(row.get(f"{role}_error", 1.0))


def points(value: Mean) -> str:
    """A difference of errors in percentage points, with its interval where there is one."""
    if not math.isfinite(value.low):
        return f"{100 * value.mean:+.1f} points"
    return f"{100 * value.mean:+.1f} points ({100 * value.low:+.1f} to {100 * value.high:+.1f})"


def failures(rows: Sequence[Row]) -> list[str]:
    """How many trainings came to no end, as a limit of a verdict."""
    failed = sum(row["status"] != DONE for row in rows)
    if not failed:
        return []
    return [f"{failed} trainings diverged or ran out of memory; their error counts as 1."]


def unfitted(rows: Sequence[Row], epochs: Any) -> list[str]:
    """That no network has learned its images, as a limit of a verdict."""
    best = min(map(error, rows), default=1.0)
    if best <= FITTED:
        return []
    return [
        f"After {epochs or 0:g} epochs no network fits the training images (the best has "
        f"{percent(best)} error): slower learning and a worse end cannot be told apart."
    ]
