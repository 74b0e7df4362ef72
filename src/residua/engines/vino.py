"""The engine of OpenVINO, made for processors: float32, bf16, or integers of 8 bits.

For int8 the range of every feature map is taken from calibration pictures, which need no labels
(Jacob et al. 2018, arXiv:1712.05877, section 3): a quarter of the memory, and products of integers.
"""

import logging
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from residua.engines import Job, Ready, needed
from residua.engines.exporting import exported, muted
from residua.engines.fixed import any_number
from residua.errors import Refused

HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}  # what int8 leaves is computed in float32


def session(job: Job) -> Ready:
    """A model for `job.shape`."""
    openvino = needed("openvino", "openvino")
    precision = job.precision or "fp32"
    with muted():
        model = openvino.convert_model(exported(job))
    if precision == "int8":
        model = quantized(model, job)
    settings = {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "INFERENCE_NUM_THREADS": job.execution.threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
    made = openvino.Core().compile_model(model, "CPU", settings)
    request = made.create_infer_request()

    def run(batch: Tensor) -> Tensor:
        results = request.infer([batch.contiguous().numpy()])
        return torch.from_numpy(results[made.output(0)].copy())

    return Ready(logits=any_number(run, job))


def quantized(model: Any, job: Job) -> Any:
    """The model in integers, its ranges those of the calibration pictures.

    Raises:
        Refused: there are none, or the package that measures them is missing.
    """
    if job.calibration is None or not len(job.calibration):
        raise Refused(
            "int8 needs pictures from which to take the ranges of its numbers",
            fix="give calibration pictures, or choose bf16",
        )
    nncf = needed("nncf", "openvino")
    nncf.set_log_level(logging.ERROR)
    inputs = [part.numpy() for part in filled(job.calibration, job.shape[0])]
    with muted():
        return nncf.quantize(model, nncf.Dataset(inputs), subset_size=len(inputs))


def filled(inputs: Tensor, count: int) -> Iterable[Tensor]:
    """Batches of `count`, the last filled up with the first inputs."""
    missing = -len(inputs) % count
    again = inputs[torch.arange(missing) % len(inputs)]
    return torch.cat([inputs, again]).contiguous().split(count)
