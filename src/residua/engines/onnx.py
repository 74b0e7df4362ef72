"""The engine of ONNX Runtime: the folded network in the format ONNX, exported in memory."""

import torch
from torch import Tensor

from residua.engines import Job, Ready, needed
from residua.engines.exporting import exported, muted
from residua.engines.fixed import any_number


def session(job: Job) -> Ready:
    """A session for `job.shape`, in float32."""
    runtime = needed("onnxruntime", "onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = job.execution.threads  # with a number given, none is bound
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    made = runtime.InferenceSession(model(job), options, providers=["CPUExecutionProvider"])
    (name,) = (each.name for each in made.get_inputs())

    def run(batch: Tensor) -> Tensor:
        (logits,) = made.run(None, {name: batch.contiguous().numpy()})
        return torch.from_numpy(logits)

    return Ready(logits=any_number(run, job))


def model(job: Job) -> bytes:
    """The network in ONNX."""
    for package in ("onnx", "onnxscript"):
        needed(package, "onnxruntime")
    with muted():
        program = torch.onnx.export(exported(job), dynamo=True, verbose=False)
    assert program is not None
    return bytes(program.model_proto.SerializeToString())
