"""The ledger: every claim with what became of it, the cheap ones first.

A budget is shared among the studies and trainings that claims lack, from the one that tells most
for its cost; what it cannot pay is not run. Without a budget nothing is trained: what can be
counted and computed is, and studies that are finished are read.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from residua import datasets, inquiry, studies
from residua.claims import CLAIMS, NOT_RUN, Finding, check_of, named, trainings
from residua.claims.evidence import Evidence, Found, finished, stopped
from residua.datasets.dataset import Dataset
from residua.question import Budget
from residua.sweeps import Measured

# What is measured for claims, from what tells most for its cost, and the core-seconds below which
# it cannot tell anything even of small images.
NEEDS: dict[str, float] = {
    "protocols": 200,
    "degradation": 900,
    "norms": 200,
    "decay": 100,
    "construction": 900,
    "bottlenecks": 400,
    "data-size": 900,
    "responses": 300,
    "twins": 4_000,
    "deepest": 1e6,
}


class Began(NamedTuple):
    """A study, or a set of trainings, has begun."""

    need: str
    seconds: float | None


class Judged(NamedTuple):
    """A claim and what became of it."""

    claim: str
    finding: Finding


class Failed(NamedTuple):
    """A need that could not be met, and why."""

    need: str
    why: str


Event = Began | Measured | Failed | Judged


def follow(
    names: Sequence[str],
    source: str | Path | Dataset,
    runs: Path,
    budget: Budget | None = None,
    command: Sequence[str] = (),
) -> Iterator[Event]:
    """Judge claims, telling of each and of what is measured on the way.

    Args:
        names: of claims; all where there are none.
        source: the images.
        runs: where finished studies are looked for, and new ones kept.
        budget: for what is missing; None measures nothing but what takes seconds.
        command: as it was typed.

    Raises:
        Refused: there is no such claim, or no such data.
        Stopped: what is measured so far is kept; the same command goes on.
    """
    chosen = named(tuple(names))
    evidence = Evidence(datasets.load(source), runs)
    later = [name for name in chosen if CLAIMS[name].needs]
    for name in chosen:
        if name not in later:
            yield Judged(name, check_of(CLAIMS[name])(evidence))
    gather(evidence, {need for name in later for need in CLAIMS[name].needs} | EXTRA)
    for need, share in shared(lacking(later, evidence, budget), budget):
        yield Began(need, share.seconds)
        yield from met(need, share, evidence, command)
    for name in later:
        finding = judged(name, evidence)
        if budget is not None and not evidence.found.keys() & set(CLAIMS[name].needs):
            unpaid = f"{finding.evidence} Not run at this budget ({budget.name})."
            finding = finding._replace(evidence=unpaid)
        yield Judged(name, finding)


def judged(name: str, evidence: Evidence) -> Finding:
    """A claim's finding; studies of another version may lack what it asks for."""
    try:
        return check_of(CLAIMS[name])(evidence)
    except KeyError as error:
        folders = ", ".join(each.folder for each in evidence.found.values())
        return Finding(NOT_RUN, f"Measured rows have no column {error}: {folders}.")


EXTRA = {"degradation"}  # told of where it is there, though a claim does not need it


def gather(evidence: Evidence, needs: set[str]) -> None:
    """Take what is finished."""
    for need in needs:
        found = look_up(need, evidence)
        if found is not None:
            evidence.found[need] = found


def lacking(names: Sequence[str], evidence: Evidence, budget: Budget | None) -> list[str]:
    """What undecided claims need and is not there, or was measured with less time than there is."""
    if budget is None:
        return []
    open_ = [name for name in names if judged(name, evidence).status == NOT_RUN]
    needs = {need for name in open_ for need in CLAIMS[name].needs}
    if "protocols" in needs and not trainings.weights_of(evidence.data):
        needs.remove("protocols")
    return [need for need in NEEDS if need in needs and longer(budget, evidence.found.get(need))]


def longer(budget: Budget, found: Found | None) -> bool:
    """Whether a budget can tell more than what was found with another one."""
    if found is None:
        return True
    before = found.facts.get("budget") or {}
    seconds = before.get("seconds")
    if before.get("name") == budget.name or seconds is None:
        return False
    return budget.seconds is None or budget.seconds > seconds


def look_up(need: str, evidence: Evidence) -> Found | None:
    """What is finished of a study or a set of trainings."""
    if need in trainings.SETS or need == "protocols":
        return trainings.known(evidence.runs, evidence.data, need)
    return finished(evidence.runs, evidence.data, need)


def shared(needs: Sequence[str], budget: Budget | None) -> Iterator[tuple[str, Budget]]:
    """Part a budget among the first needs that it can pay, in proportion to what they take."""
    if budget is None:
        return
    if budget.seconds is None:
        yield from ((need, budget) for need in needs)
        return
    work, taken = budget.seconds * budget.workers, list[str]()
    for need in needs:
        if sum(NEEDS[each] for each in (*taken, need)) <= work:
            taken.append(need)
    total = sum(NEEDS[need] for need in taken)
    for need in taken:
        yield need, replace(budget, seconds=math.floor(budget.seconds * NEEDS[need] / total) or 1)


CLAIMED = (20, 56)  # layers: what C4 is about


def prepared(need: str, data: Dataset, share: Budget) -> inquiry.Inquiry:
    """A study at the depths that its budget allows, but not less than the claims are about."""
    asked = inquiry.prepare(need, data, {}, share)
    if need == "degradation" and max(asked.factors.depths or (0,)) < max(CLAIMED):
        given = {"families": ("plain", "residual"), "depths": CLAIMED}
        return inquiry.prepare(need, data, given, share)
    return asked


def met(
    need: str, share: Budget, evidence: Evidence, command: Sequence[str]
) -> Iterator[Measured | Failed]:
    """Run a study or a set of trainings, and take its rows."""
    if need in trainings.SETS or need == "protocols":
        yield from trainings.follow(need, evidence.data, share, evidence.runs)
    elif need in studies.STUDIES and not studies.find(need).trained:
        path = stopped(evidence.runs, evidence.data, need, share)
        if path is not None:
            run, asked = inquiry.reopen(path)
        else:
            asked = prepared(need, evidence.data, share)
            run = inquiry.begin(asked, evidence.runs, command)
        for event in inquiry.follow(asked, run):
            if isinstance(event, Measured):
                yield event
    else:
        yield Failed(need, f"residua study {need} has to be run on a trained network first")
    found = look_up(need, evidence)
    if found is not None:
        evidence.found[need] = found
