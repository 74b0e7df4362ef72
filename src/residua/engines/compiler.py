"""The engine of torch's own compiler: one program for one shape, its weights frozen into it.

Frozen weights are laid out as the program reads them, once. A machine without a working C++
compiler runs the folded view instead, and says so.
"""

import importlib
import os
import tempfile
import traceback
from typing import Any

import torch
from torch import Tensor

from residua.engines import Job, Ready
from residua.engines.exporting import muted
from residua.engines.fixed import any_number
from residua.engines.views import folded_view, placed

FAILURES = (RuntimeError, OSError, ImportError)  # torch's own are RuntimeErrors


def compiled(job: Job) -> Ready:
    """Compile for `job.shape`, which takes 5 to 60 seconds."""
    view, device = placed(job), job.execution.device
    try:
        with muted(), torch.inference_mode(), inductor().patch(freezing=True):
            step = torch.compile(view, dynamic=False)
            step(laid_out(torch.zeros(job.shape, device=device)))
    except FAILURES as error:
        note = f"not compiled, see {kept(error)}: the engine folded runs instead"
        instead = folded_view(job)
        return instead._replace(notes=(note, *instead.notes))
    return Ready(logits=any_number(lambda batch: step(laid_out(batch)), job))


def laid_out(batch: Tensor) -> Tensor:
    """Inputs in the order in which convolutions read them; programs are made for one order."""
    return batch.contiguous(memory_format=torch.channels_last)


def inductor() -> Any:
    """The compiler's settings, which take a second to load."""
    with muted():
        return importlib.import_module("torch._inductor.config")


def kept(error: Exception) -> str:
    """The file that keeps what a compiler said."""
    descriptor, path = tempfile.mkstemp(".log", "residua-compile-")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("".join(traceback.format_exception(error)))
    return path
