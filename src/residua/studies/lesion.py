"""What does a trained network lose when blocks are dropped, or stand in another order?

Veit et al. 2016: a residual network behaves like many short paths side by side. Dropping one block
of n cuts half of its 2^n paths and costs little, the error rises smoothly with every further one
and with disorder, and most of the gradient comes back along short paths. A plain network is one
path, and every block of it is needed.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from residua import plots
from residua.batches import evaluation
from residua.datasets.dataset import Split
from residua.errors import Refused
from residua.execution import using_threads
from residua.factors import Factors
from residua.intervals import wilson
from residua.networks.network import Network
from residua.probes.damage import costs, of_paths, of_several, of_single, over_draws, path_numbers
from residua.probes.lesions import (
    blocks_of,
    exchangeable,
    followed,
    input_gradients,
    rank_correlation,
    reordered,
    swapped,
    without,
)
from residua.question import Budget, Picture, Study, Subject, Verdict
from residua.runs import DONE
from residua.seeds import FEWEST
from residua.sweeps import Cell, Row
from residua.trials import SLOWER
from residua.words import listed

BATCH = 100  # images at a time: their activations stay in a core's cache
POINTS = 10  # of the curves
MANY = 20  # draws, where time does not count
FEW = 100  # images: fewer tell too little of one block
PATHS, PATH_IMAGES = 10, 16  # paths of each length for each draw, and images that follow one
BACKWARD = 3  # times as long as forward alone, at most
HALF = 0.5  # of what a network knows: a block that costs more is needed


def scale(subject: Subject, given: Factors, budget: Budget) -> Factors:
    """Fill in blocks, numbers and lengths, then as many test images as the budget allows."""
    network = network_of(subject)
    found = blocks_of(network)
    same = [block for block in found if block.keeps_shape]
    names = given.blocks or tuple(block.name for block in found if block.droppable)
    without(network, names)  # refuses what cannot be dropped
    removed = given.removed or evenly(len(same))
    if removed and not 1 <= min(removed) <= max(removed) <= len(same):
        raise Refused(
            f"{network.name} has {len(same)} blocks that keep the shape",
            where=f"received --removed {listed([str(each) for each in removed])}",
            fix=f"choose from 1 to {len(same)}",
        )
    lengths = lengths_of(network, given)
    draws = given.seeds or (FEWEST if math.isfinite(budget.work) else MANY)
    tested = given.tested or len(subject.test)
    asked = 1 + len(names) + draws * (1 + bool(exchangeable(found))) * len(removed)
    if given.tested is None and math.isfinite(budget.work):
        each = seconds_of(subject, network)
        paths = len(lengths) * draws * PATHS * PATH_IMAGES * BACKWARD * each
        tested = min(tested, max(FEW, math.floor((budget.work - paths) / (asked * each))))
    return replace(
        given,
        blocks=names,
        removed=removed,
        lengths=lengths,
        seeds=draws,
        tested=min(tested, len(subject.test)),
    )


def lengths_of(network: Network, given: Factors) -> tuple[int, ...]:
    """The lengths of paths that are followed; none where a plain block leaves a single path.

    Raises:
        Refused: others are asked for than there are.
    """
    found = blocks_of(network)
    single = any(block.kind == "plain" for block in found)
    possible = () if single else tuple(range(len(found) + 1))
    wanted = given.lengths or possible
    if set(wanted) - set(possible):
        raise Refused(
            f"paths of {network.name} have 0 to {len(found)} branches"
            if possible
            else f"{network.name} has plain blocks: a single path leads through all of them",
            where=f"received --lengths {listed([str(each) for each in wanted])}",
        )
    return wanted


def network_of(subject: Subject) -> Network:
    """The trained network, a new one each time."""
    if subject.weights is None:
        raise Refused("this study is about a trained network")
    network = subject.weights.build()
    subject.execution.place(network)
    return network


def evenly(most: int) -> tuple[int, ...]:
    """At most ten whole numbers from 1 to `most`."""
    return tuple(sorted({round(each) for each in np.linspace(min(1, most), most, POINTS)} - {0}))


def seconds_of(subject: Subject, network: Network) -> float:
    """Seconds that one core takes to classify an image."""
    some = subject.test.select(range(min(BATCH, len(subject.test))))
    answers(subject, network, some)
    began = time.monotonic()
    answers(subject, network, some)
    return SLOWER * (time.monotonic() - began) / len(some)


def cells(factors: Factors) -> list[Cell]:
    """The whole network, each block, each draw of several, each length of a path."""
    found = [cell("whole")]
    found += [cell("drop", name, 1) for name in factors.blocks or ()]
    for lesion in ("several", "swap"):
        for count in factors.removed or ():
            found += [cell(lesion, "", count, draw) for draw in range(factors.seeds or 1)]
    return found + [cell("path", "", length) for length in factors.lengths or ()]


def cell(lesion: str, block: str = "", count: int = 0, draw: int = 0) -> Cell:
    return Cell({"lesion": lesion, "block": block, "count": count, "seed": draw})


def measure(subject: Subject, factors: Factors, cell: Cell, folder: Path) -> Mapping[str, Any]:
    """The error with one lesion, or gradients along paths of one length."""
    lesion, block, count = (cell.values[key] for key in ("lesion", "block", "count"))
    network = network_of(subject)
    drawn = torch.Generator().manual_seed(1_000 * count + cell.values["seed"])
    if lesion == "path":
        return {
            "gradients": along_paths(subject, network, count, drawn, PATHS * (factors.seeds or 1))
        }
    found: dict[str, Any] = {}
    split = subject.test.evenly(factors.tested or len(subject.test))
    if lesion == "drop":
        network = without(network, [block])
    elif lesion == "several":
        same = [each.name for each in blocks_of(network) if each.keeps_shape]
        gone = [same[place] for place in torch.randperm(len(same), generator=drawn)[:count]]
        network, found["dropped"] = without(network, gone), sorted(gone)
    elif lesion == "swap":
        if not exchangeable(blocks_of(network)):
            return {"tau": 1.0}
        order = swapped(network, count, drawn)
        network, found["tau"] = reordered(network, order), rank_correlation(network, order)
    else:
        found |= about(network, split)
    right = answers(subject, network, split)
    wrong = int((~right).sum())
    found |= {"error": wrong / len(split), "wrong": wrong, "images": len(split)}
    if lesion in ("whole", "drop"):
        found["right"] = np.packbits(right).tobytes().hex()
    return found


def about(network: Network, split: Split) -> dict[str, Any]:
    """What the figures and the verdict need to know of a network and of the images."""
    found = blocks_of(network)
    commonest = int(torch.bincount(split.labels).max())
    return {
        "network": network.name,
        "kinds": sorted({block.kind for block in found}),
        "order": [block.name for block in found],
        "changing": [block.name for block in found if not block.keeps_shape],
        "stuck": [block.name for block in found if not block.droppable],
        "chance": 1 - commonest / len(split),
    }


@torch.inference_mode()
def answers(subject: Subject, network: Network, split: Split) -> NDArray[np.bool_]:
    """Which images of a split a network gets right (n)."""
    run_on, right = subject.execution, []
    with using_threads(run_on.threads):
        for batch in evaluation(split, subject.look, BATCH, run_on.device):
            with run_on.autocast():
                right.append((network(batch.images).argmax(1) == batch.labels).cpu())
    return np.asarray(torch.cat(right).numpy(), bool)


def along_paths(
    subject: Subject, network: Network, length: int, drawn: torch.Generator, paths: int
) -> list[float]:
    """Norms of the gradient at the input along random paths of one length, a mean over images.

    As in 2016, section 4.3: the images go forward through all of the network; backward the
    gradient takes the branch of `length` random blocks, and the shortcut of the others.
    """
    names = [block.name for block in blocks_of(network)]
    pictures = torch.Generator().manual_seed(0)  # the same for each length: few weigh heavily
    found = []
    for _ in range(paths):
        path = [names[place] for place in torch.randperm(len(names), generator=drawn)[:length]]
        some = torch.randint(len(subject.train), (PATH_IMAGES,), generator=pictures).tolist()
        split = subject.train.select(some)
        batch = next(evaluation(split, subject.look, PATH_IMAGES, subject.execution.device))
        with using_threads(subject.execution.threads):
            gradients = input_gradients(followed(network, path), batch.images, batch.labels)
        found.append(float(gradients.flatten(1).norm(dim=1).mean()))
    return found


# What follows.


def conclude(factors: Factors, rows: Sequence[Row]) -> Verdict:
    """Whether most blocks that keep the shape can be dropped alone.

    A block can be spared if without it the network keeps more than half of what it knows: its error
    stays on its own side of the middle between its error and that of the commonest class alone. The
    interval of the block must say so.
    """
    whole = next((row for row in rows if row["lesion"] == "whole"), None)
    if whole is None or whole["status"] != DONE:
        return Verdict(None, "Not enough evidence: the whole network could not be measured.")
    found = [cost for cost in costs(rows) if cost.block not in whole["changing"]]
    knows = whole["chance"] - whole["error"]
    few = whole["images"] < FEW or not found
    if few or wilson(whole["wrong"], whole["images"])[1] > whole["chance"]:
        return Verdict(
            None,
            f"Not enough evidence: it takes {FEW} test images, a network that tells more than the "
            "commonest class, and a block that keeps the shape.",
        )
    spared = [cost for cost in found if cost.high < HALF * knows]
    needed = [cost for cost in found if cost.low > HALF * knows]
    numbers = {
        "error": whole["error"],
        "interval": list(wilson(whole["wrong"], whole["images"])),
        "blocks": len(whole["order"]),
        "costs": {cost.block: cost[1:] for cost in costs(rows)},
        "spared": len(spared),
        "needed": len(needed),
        "removed": {count: each._asdict() for count, each in over_draws(rows, "several").items()},
        "swapped": {count: each._asdict() for count, each in over_draws(rows, "swap").items()},
        "paths": path_numbers(rows),
    }
    words = " ".join(filter(None, (of_single(found, spared, needed), of_several(rows, whole),
                                   of_paths(numbers["paths"]))))  # fmt: skip
    most = len(found) / 2
    holds = True if len(spared) > most else False if len(needed) > most else None
    if holds is None:
        words = f"Not enough evidence. {words}"
    return Verdict(holds, words, None, numbers, limits(factors, rows, whole))


def limits(factors: Factors, rows: Sequence[Row], whole: Row) -> tuple[str, ...]:
    """What the rows cannot show."""
    found = ["One network from one seed: another one may lean on other blocks."]
    if whole["stuck"]:
        found.append(
            f"{listed(whole['stuck'])} cannot be dropped: they change the shape, and a plain block "
            "has no shortcut that would do so in their place."
        )
    if "plain" in whole["kinds"]:
        found.append("It has no paths to choose from: a plain network is a single one.")
    elif any(row["lesion"] == "path" for row in rows):
        found.append(
            "Gradients of paths are added by their norms, as the paper does: those that point in "
            "different directions partly cancel."
        )
    failed = sum(row["status"] != DONE for row in rows)
    if failed:
        found.append(f"{failed} measurements ran out of memory and are left out.")
    return tuple(found)


def draw(factors: Factors, rows: Sequence[Row], theme: str) -> Any:
    return plots.dropped(rows, theme)


def draw_several(factors: Factors, rows: Sequence[Row], theme: str) -> Any:
    return plots.damaged(rows, theme)


def draw_paths(factors: Factors, rows: Sequence[Row], theme: str) -> Any:
    return plots.paths(rows, theme)


STUDY = Study(
    question="Can a trained network do without any one of its blocks, or with them out of order?",
    source="Veit et al. 2016, sections 4.1 to 4.3, figures 3, 5 and 6",
    takes=("blocks", "removed", "lengths", "seeds", "tested", "images"),
    scale=scale,
    cells=cells,
    measure=measure,
    conclude=conclude,
    figures={
        "lesion": Picture(
            draw,
            "Test error when one block is dropped, with its 95 % interval. Pale bars: blocks that "
            "change the shape.",
        ),
        "damage": Picture(
            draw_several,
            "Test error when several blocks are removed, or change places, at random: a dot for "
            "each draw, a line through the means. Rank correlation is Kendall's tau, 1 in order.",
        ),
        "paths": Picture(
            draw_paths,
            "Paths of the unrolled network by how many branches they take; the gradient that comes "
            "back to the input along one of them; and along all of a length together.",
        ),
    },
    columns=(
        "lesion", "block", "count", "seed", "status", "error", "wrong", "images", "tau",
    ),
    trained=True,
)  # fmt: skip
