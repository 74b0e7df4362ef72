"""The engine that chooses: the folded network, or the compiled one where there is enough to do.

Where the hardware multiplies bf16 fast, convolutions are done in it. Its rounding moves scores by
less than a percent, which decides nothing but close calls; those are asked again in float32, so
that the best class is that of the network in float32.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from residua.engines import Job, Ready, precisions
from residua.engines.compiler import compiled
from residua.engines.views import folded_view

PAYS = 120.0  # seconds of work from which a compilation, which saves about a quarter, pays
CLOSE = 1 / 32  # of the distance from the highest to the lowest logit


def automatic(job: Job) -> Ready:
    """Choose precision and engine; say which and why in the first note."""
    if job.whole:
        view = folded_view(job._replace(precision=job.precision or "fp32"))
        why = "folded: features and dense scores are taken from the layers"
        return view._replace(notes=(why, *view.notes))
    fast = "bf16" in precisions(job.execution.device.type)
    chosen = job._replace(precision=job.precision or ("bf16" if fast else "fp32"))
    view = folded_view(chosen)
    seconds = job.images * seconds_each(logits_of(view), job) if job.images else 0.0
    why = f"folded, {chosen.precision}: {job.images:,} pictures, too few to compile for"
    made = view
    if seconds > PAYS:
        made = compiled(chosen)
        why = f"compiled, {chosen.precision}: it pays from {PAYS:.0f} seconds of work on"
    if job.precision or chosen.precision == "fp32" or job.network.classes < 2:
        return made._replace(notes=(why, *made.notes))
    exact = logits_of(folded_view(job._replace(precision="fp32")))
    notes = (f"{why}; close calls again in fp32", *made.notes)
    return Ready(logits=surely(logits_of(made), exact), pixels=made.pixels, notes=notes)


def surely(
    fast: Callable[[Tensor], Tensor], exact: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    """Logits by `fast`, and by `exact` where the two best are closer than rounding can tell."""

    def logits(batch: Tensor) -> Tensor:
        found = fast(batch)
        best, second = found.topk(2, 1).values.unbind(1)
        close = best - second < CLOSE * (best - found.amin(1))
        if close.any():
            found[close] = exact(batch[close])
        return found

    return logits


def logits_of(ready: Ready) -> Callable[[Tensor], Tensor]:
    """The logits of an engine, whether it is a view or gives logits alone."""
    if ready.logits is not None:
        return ready.logits
    assert ready.network is not None
    return ready.network


@torch.inference_mode()
def seconds_each(run: Callable[[Tensor], Tensor], job: Job) -> float:
    """Seconds for an image, the second of two batches."""
    batch = torch.zeros(job.shape, device=job.execution.device)
    run(batch)
    began = time.monotonic()
    run(batch).cpu()
    return (time.monotonic() - began) / len(batch)
