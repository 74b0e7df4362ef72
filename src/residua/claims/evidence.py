"""The evidence that claims rest on: rows of studies and trainings, and the folders they are in."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from residua.claims import CONFIRMED, NOT_RUN, REFUTED, Finding
from residua.comparisons import LEVEL
from residua.datasets.dataset import Dataset
from residua.question import Budget
from residua.runs import DONE, STUDY
from residua.seeds import greater, less, mean
from residua.sweeps import Row
from residua.verdicts import points


class Found(NamedTuple):
    """Rows that were measured, and where they are kept."""

    rows: Sequence[Row]
    folder: str
    facts: Mapping[str, Any]  # of the study: its factors, its verdict


@dataclass
class Evidence:
    """What is known about one data set."""

    data: Dataset
    runs: Path
    found: dict[str, Found] = field(default_factory=dict)  # by study, or set of trainings

    def missing(self, need: str) -> Finding:
        """What to say where a need is not met."""
        return Finding(NOT_RUN, f"It takes {need} on {self.data.name}; none are finished.")


def finished(runs: Path, data: Dataset, study: str) -> Found | None:
    """The finished study of the same images that took the largest budget, the newest of equals."""
    best: tuple[tuple[float, str], Found] | None = None
    for path, info in infos(runs):
        same = info.get("data", {}).get("fingerprint") == data.fingerprint
        if info.get("study") != study or info.get("status") != DONE or not same:
            continue
        seconds = (info.get("budget") or {}).get("seconds")
        rank = (float("inf") if seconds is None else float(seconds), str(info.get("started")))
        if best is None or rank > best[0]:
            best = rank, Found(info.get("rows", []), str(path), info)
    return None if best is None else best[1]


def stopped(runs: Path, data: Dataset, study: str, budget: Budget) -> Path | None:
    """A study of the same images and budget that was stopped before its end."""
    for path, info in infos(runs):
        same = info.get("data", {}).get("fingerprint") == data.fingerprint
        begun = info.get("status") in ("new", "running", "stopped")
        asked = (info.get("study"), (info.get("budget") or {}).get("name"))
        if same and begun and asked == (study, budget.name):
            return path
    return None


def infos(runs: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every study.json that can be read below a folder of runs."""
    for path in sorted(runs.glob(f"*/{STUDY}")):
        try:
            info = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            continue  # a claim does not fail for the sake of another study
        if isinstance(info, dict):
            yield path.parent, info


def decided(differences: Mapping[int, float], words: str, folder: str) -> Finding:
    """Confirmed where differences of all seeds are shown to be above zero, refuted where below."""
    p, against = greater(differences.values()), less(differences.values())
    told = f"{words} ({len(differences)} seeds, p = {min(p, against):.2g})."
    if p < LEVEL:
        return Finding(CONFIRMED, told, folder)
    if against < LEVEL:
        return Finding(REFUTED, told, folder)
    return Finding(NOT_RUN, f"Not enough evidence. {told}", folder)


def both(first: Finding, second: Finding) -> Finding:
    """A claim of two parts: confirmed where both are, refuted where either is."""
    statuses = (first.status, second.status)
    status = CONFIRMED if set(statuses) == {CONFIRMED} else NOT_RUN
    status = REFUTED if REFUTED in statuses else status
    return Finding(status, f"{first.evidence} {second.evidence}", first.source or second.source)


def average(differences: Mapping[int, float]) -> str:
    return points(mean(differences.values()))
