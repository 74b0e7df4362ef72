"""What lesions of a trained network cost: numbers and sentences from what was measured.

    costs          of each block dropped alone, on the same images
    over_draws     error against how many blocks were removed, or changed places
    path_numbers   along which paths the gradient comes back

Rows are those of the study `lesion`, plain values.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from residua.intervals import paired
from residua.runs import DONE
from residua.seeds import Mean, mean
from residua.words import percent

Row = Mapping[str, Any]
RESAMPLED = 2_000


class Cost(NamedTuple):
    """What dropping one block costs: error with it dropped minus error of the whole network."""

    block: str
    rise: float
    low: float
    high: float


def costs(rows: Sequence[Row]) -> list[Cost]:
    """The cost of each block that was dropped alone, with its 95 % interval on the same images."""
    whole = next(row for row in rows if row["lesion"] == "whole")
    was = unpacked(whole)
    found = []
    for row in rows:
        if row["lesion"] == "drop" and row["status"] == DONE:
            lost, won = int((was & ~unpacked(row)).sum()), int((~was & unpacked(row)).sum())
            found.append(Cost(row["block"], (lost - won) / len(was), *paired(lost, won, len(was))))
    return found


def unpacked(row: Row) -> NDArray[np.bool_]:
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(row["right"]), np.uint8))
    return bits[: row["images"]].astype(bool)


def of_single(found: Sequence[Cost], spared: Sequence[Cost], needed: Sequence[Cost]) -> str:
    """What dropping one block does, in words."""
    ranked = sorted(found, key=lambda cost: cost.rise)
    total, middle = len(ranked), ranked[len(ranked) // 2]
    least, most = ranked[0], ranked[-1]
    if len(spared) == total:
        return (
            f"No single block is worth half of what the network knows: of {total} that keep the "
            f"shape none costs more than {points(most)} ({most.block}), the one in the middle "
            f"{points(middle)}."
        )
    if len(needed) == total:
        return (
            f"Every single block is worth more than half of what the network knows: of {total} "
            f"that keep the shape each costs {points(least)} ({least.block}) or more, the one in "
            f"the middle {points(middle)}."
        )
    return (
        f"Of {total} blocks that keep the shape {len(spared)} can be spared one at a time and "
        f"{len(needed)} are needed: they cost from {points(least)} ({least.block}) to "
        f"{points(most)} ({most.block}), the one in the middle {points(middle)}."
    )


def points(cost: Cost) -> str:
    """A cost in percentage points, with its interval."""
    return f"{100 * cost.rise:.1f} points ({100 * cost.low:.1f} to {100 * cost.high:.1f})"


def over_draws(rows: Sequence[Row], lesion: str) -> dict[int, Mean]:
    """The mean error over draws for each number of blocks."""
    groups: dict[int, list[float]] = {}
    for row in rows:
        if row["lesion"] == lesion and row.get("error") is not None:
            groups.setdefault(row["count"], []).append(row["error"])
    return {count: mean(errors) for count, errors in sorted(groups.items())}


def of_several(rows: Sequence[Row], whole: Row) -> str:
    """How many blocks can be removed at random before half of what the network knows is lost."""
    found = over_draws(rows, "several")
    middle = (whole["error"] + whole["chance"]) / 2
    beyond = [count for count, each in found.items() if each.mean > middle]
    if not beyond:
        return ""
    each = found[beyond[0]]
    spread = f" ({100 * each.low:.0f} to {100 * each.high:.0f})" if each.low > 0 else ""
    return (
        f"With {beyond[0]} removed at random more than half of what it knows is lost: the error is "
        f"{percent(each.mean)}{spread}."
    )


def path_numbers(rows: Sequence[Row]) -> dict[str, Any]:
    """Where the gradient comes back: mean lengths of all paths and by gradient, and the middle."""
    norms = {
        int(row["count"]): np.asarray(row["gradients"], np.float64)
        for row in rows
        if row["lesion"] == "path" and row.get("gradients")
    }
    whole = next((row for row in rows if row["lesion"] == "whole"), {})
    count = len(whole.get("order", ()))
    if sorted(norms) != list(range(count + 1)):  # not every length
        return {}
    ways = np.array([math.comb(count, length) for length in range(count + 1)], np.float64)
    ways /= ways.sum()
    means = np.array([norms[length].mean() for length in range(count + 1)])
    shares = ways * means / (ways * means).sum()
    generator = np.random.default_rng(0)
    drawn = np.stack(
        [generator.choice(norms[k], (RESAMPLED, len(norms[k]))).mean(1) for k in range(count + 1)],
        1,
    )
    lengths = (drawn * ways * np.arange(count + 1)).sum(1) / (drawn * ways).sum(1)
    low, high = np.searchsorted(np.cumsum(shares), (0.05, 0.95))
    return {
        "blocks": count,
        "mean_length": count / 2,
        "by_gradient": float((shares * np.arange(count + 1)).sum()),
        "interval": [float(each) for each in np.quantile(lengths, (0.025, 0.975))],
        "middle": [int(low), int(high)],  # lengths that carry nine tenths of the gradient
        "share_of_paths": float(ways[low : high + 1].sum()),
    }


def of_paths(found: Mapping[str, Any]) -> str:
    """Where the gradient comes back, in words."""
    if not found:
        return ""
    low, high = found["middle"]
    lengths = "{:.1f} ({:.1f} to {:.1f})".format(found["by_gradient"], *found["interval"])
    return (
        f"Nine tenths of the gradient come back along paths through {low} to {high} of "
        f"{found['blocks']} branches, {percent(found['share_of_paths'])} of all paths: weighted by "
        f"gradient a path is {lengths} branches long, of all {found['mean_length']:g}."
    )
