"""The folded network as torch exports it for other engines, without what the exporters chat."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import torch
from torch.export import ExportedProgram

from residua.engines import Job
from residua.rewrites.folded import folded

OPERATORS = "torch.onnx._internal.exporter._registration"  # warns that torchvision is missing
OWN = r".*(LeafSpec|torch\.jit).*is deprecated"  # warnings of torch about torch


def exported(job: Job) -> ExportedProgram:
    """The network for `job.shape`, in float32, as a graph of torch's operators."""
    with torch.no_grad():
        return torch.export.export(folded(job.network), (torch.zeros(job.shape),))


@contextmanager
def muted() -> Iterator[None]:
    """Keep progress off standard output, and what nobody here can act on off standard error."""
    log = logging.getLogger(OPERATORS)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            for kind in (FutureWarning, DeprecationWarning):
                warnings.filterwarnings("ignore", OWN, kind)
            yield
    finally:
        log.setLevel(before)
