"""What the rows of a study tell, in the numbers and words that studies share."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from residua.comparisons import LEVEL
from residua.factors import Factors
from residua.question import Verdict
from residua.runs import DONE
from residua.seeds import FEWEST, Mean
from residua.sweeps import Row
from residua.words import percent

FITTED = 0.02  # training error of a network that has learned its images


def judge(
    shown: float,
    opposite: float,
    seeds: int,
    answers: tuple[str, str],
    *,
    facts: str,
    numbers: Mapping[str, Any],
    limits: tuple[str, ...],
) -> Verdict:
    """A verdict by two tests, and not enough evidence where neither shows anything.

    Args:
        shown: p-value of what is asked.
        opposite: p-value of what speaks against it.
        seeds: that both tests had.
        answers: what to say where it is shown, and where the opposite is.
        facts: what was measured, in sentences; they follow in either case.
        numbers: the same, for machines.
        limits: what the rows cannot show.
    """
    yes, no = answers
    if shown < LEVEL:
        return Verdict(True, f"{yes} {facts}", shown, numbers, limits)
    if opposite < LEVEL:
        return Verdict(False, f"{no} {facts}", opposite, numbers, limits)
    few = f" {FEWEST} seeds are the fewest that can show it." if seeds < FEWEST else ""
    return Verdict(None, f"Not enough evidence. {facts}{few}", shown, numbers, limits)


def error(row: Row, role: str = "train") -> float:
    """The error of a row; a network that diverged classifies nothing."""
    return float(row.get(f"{role}_error", 1.0))


def by_seed(rows: Sequence[Row], role: str = "train", **at: Any) -> dict[int, float]:
    """The errors of the rows that have certain values, by seed."""
    return {row["seed"]: error(row, role) for row in rows if at.items() <= row.items()}


def points(value: Mean) -> str:
    """A difference of errors in percentage points, with its interval where there is one."""
    if not math.isfinite(value.low):
        return f"{100 * value.mean:+.1f} points"
    return f"{100 * value.mean:+.1f} points ({100 * value.low:+.1f} to {100 * value.high:+.1f})"


def plainly(value: float) -> float | None:
    """A number with the digits that mean something; None where it is not finite."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def failures(rows: Sequence[Row]) -> list[str]:
    """How many trainings came to no end, as a limit of a verdict."""
    failed = sum(row["status"] != DONE for row in rows)
    if not failed:
        return []
    return [f"{failed} trainings diverged or ran out of memory; their error counts as 1."]


def unaugmented(factors: Factors) -> list[str]:
    """That images were learned as they are, as a limit of what is said of test errors."""
    if factors.augment:
        return []
    return ["Images were learned as they are, not in random views, which the papers' networks see."]


def unfitted(rows: Sequence[Row], epochs: Any) -> list[str]:
    """That no network has learned its images, as a limit of a verdict."""
    best = min(map(error, rows), default=1.0)
    if best <= FITTED:
        return []
    return [
        f"After {epochs or 0:g} epochs no network fits the training images (the best has "
        f"{percent(best)} error): slower learning and a worse end cannot be told apart."
    ]
