"""Any number of inputs for an engine that is made for one shape: the last ones are filled up."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from residua.engines import Job
from residua.errors import Refused


def any_number(run: Callable[[Tensor], Tensor], job: Job) -> Callable[[Tensor], Tensor]:
    """Logits (b, classes) of inputs (b, c, h, w) from a function that takes `job.shape` alone."""
    most, *shape = job.shape

    @torch.inference_mode()
    def logits(batch: Tensor) -> Tensor:
        if list(batch.shape[1:]) != shape:
            raise Refused(
                f"this engine is made for images of {shape[1]}x{shape[2]} pixels",
                where=f"received shape {tuple(batch.shape)}",
                fix="choose the engine torch or folded, which take any size",
            )
        parts = [
            run(F.pad(part, (0, 0, 0, 0, 0, 0, 0, most - len(part))))[: len(part)]
            for part in batch.split(most)
        ]
        return torch.cat(parts)

    return logits
