"""What runs a trained network: engines that give the same answers and differ in speed.

    torch         the network as it is written, layer by layer
    folded        norms folded into convolutions, sums and ReLUs done by the convolutions
    compiled      the same through torch's compiler, its weights frozen into the program
    onnxruntime   through ONNX Runtime
    openvino      through OpenVINO, also in integers of 8 bits
    auto          folded or compiled, whichever is sooner ready; see `automatic`

An engine is a function from a Job to a Ready. Precision is a choice of its own: float32 repeats the
network's scores to about 6 digits, bf16 and int8 to 2 or 3, so that the best of two close classes
may change. None binds a thread to a core: the threads of other libraries would inherit that.
"""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from residua.errors import Refused, unknown
from residua.words import listed

if TYPE_CHECKING:  # names are checked before the seconds that loading torch takes
    from types import ModuleType

    from torch import Tensor

    from residua.execution import Execution
    from residua.networks.network import Network

    Logits = Callable[[Tensor], Tensor]  # inputs (b, c, h, w) -> (b, classes), both in float32


class Choice(NamedTuple):
    """What runs a network."""

    engine: str = "torch"
    precision: str = ""  # by default that of the execution; of `auto`, its own choice
    images: int = 0  # how many it will be asked about, where that is known
    features: bool = False  # whether it will be asked for feature maps


PLAIN = Choice()


class Job(NamedTuple):
    """What an engine is given."""

    network: "Network"  # in evaluation mode, on its device
    execution: "Execution"
    precision: str
    shape: tuple[int, int, int, int]  # of the inputs, and how many at a time
    images: int = 0
    whole: bool = False  # feature maps are asked for, or images of several sizes
    calibration: "Tensor | None" = None  # inputs from which the ranges of int8 are taken


class Ready(NamedTuple):
    """A network as an engine runs it: a view that takes any size, or logits alone of one size."""

    network: "Network | None" = None
    logits: "Logits | None" = None
    pixels: int = 0  # best in a step; 0 where it does not matter
    notes: tuple[str, ...] = ()


class Engine(NamedTuple):
    """A row of the registry."""

    make: Callable[[Job], Ready]
    precisions: tuple[str, ...]
    devices: tuple[str, ...]
    whole: bool  # gives feature maps too, and takes images of any size
    extra: str  # what has to be installed for it: residua[extra]; nothing if empty
    about: str


# For each thread, four images of 224 x 224: feature maps then stay within a processor's caches, and
# memory that was just freed is used again rather than asked for anew.
STEP = 4 * 224 * 224


def step_pixels(job: Job) -> int:
    """The best pixels in a step of a network whose layers run one by one."""
    return STEP * job.execution.threads if job.execution.device.type == "cpu" else 0


def plain(job: Job) -> Ready:
    """The network itself; bf16 and fp16 by autocast, as in training."""
    return Ready(job.network, pixels=step_pixels(job))


def folded(job: Job) -> Ready:
    from residua.engines import views

    return views.folded_view(job)


def compiled(job: Job) -> Ready:
    from residua.engines import compiler

    return compiler.compiled(job)


def onnxruntime(job: Job) -> Ready:
    from residua.engines import onnx

    return onnx.session(job)


def openvino(job: Job) -> Ready:
    from residua.engines import vino

    return vino.session(job)


def automatic(job: Job) -> Ready:
    from residua.engines import chosen

    return chosen.automatic(job)


BOTH, CPU = ("cpu", "cuda"), ("cpu",)
FLOATS = ("fp32", "bf16", "fp16")
ENGINES: dict[str, Engine] = {
    "torch": Engine(plain, FLOATS, BOTH, True, "", "the network as it is written, layer by layer"),
    "folded": Engine(
        folded, FLOATS, BOTH, True, "", "norms, sums and ReLUs done by the convolutions"
    ),
    "compiled": Engine(
        compiled, FLOATS, BOTH, False, "", "by torch's compiler, after 5 to 60 seconds"
    ),
    "onnxruntime": Engine(onnxruntime, ("fp32",), CPU, False, "onnx", "by ONNX Runtime"),
    "openvino": Engine(
        openvino,
        ("fp32", "bf16", "int8"),
        CPU,
        False,
        "openvino",
        "by OpenVINO, made for processors",
    ),
    "auto": Engine(automatic, FLOATS, BOTH, True, "", "folded, or compiled where that pays"),
}
PRECISIONS = tuple(dict.fromkeys(each for row in ENGINES.values() for each in row.precisions))


def check(choice: Choice) -> None:
    """Refuse what no machine has, before anything is read.

    Raises:
        Refused: no such engine, or one without this precision.
    """
    if choice.engine not in ENGINES:
        raise unknown("engine", choice.engine, ENGINES)
    have = ENGINES[choice.engine].precisions
    if choice.precision and choice.precision not in have:
        raise Refused(
            f"the engine {choice.engine} has no precision {choice.precision}",
            where=f"--precision {choice.precision}",
            fix=f"it has {listed(have)}",
        )


def ready(engine: str, job: Job) -> Ready:
    """Make a network ready to run.

    Raises:
        Refused: there is no such engine here, or not in this precision.
    """
    check(Choice(engine, job.precision))
    row, device = ENGINES[engine], job.execution.device.type
    if device not in row.devices:
        fix = f"it runs on {listed(row.devices)}"
        raise Refused(f"the engine {engine} does not run on {device}", fix=fix)
    if job.whole and not row.whole:
        fix = "choose the engine torch or folded"
        raise Refused(f"the engine {engine} gives scores of whole images only", fix=fix)
    have = precisions(device)
    if job.precision and job.precision not in have:
        raise Refused(
            f"this machine has no fast {job.precision}",
            where=f"precision {job.precision} on {device}",
            fix=f"it has {listed([each for each in row.precisions if each in have])}",
        )
    return row.make(job)


def precisions(device: str) -> tuple[str, ...]:
    """What a device computes no slower than float32."""
    import torch

    if device == "cuda":
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("fp32", *(("bf16",) if bf16 else ()), "fp16")
    # oneDNN converts on the fly where these instructions are missing, slower than plain float32.
    bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return ("fp32", *(("bf16",) if bf16 else ()), "int8")


def needed(module: str, engine: str) -> "ModuleType":
    """A package of an engine's extra.

    Raises:
        Refused: it is not installed; the message says how to.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        fix = f'pip install "residua[{ENGINES[engine].extra}]"'
        what = f"the engine {engine} needs an extra that is missing"
        raise Refused(what, where=f"no package {module}", fix=fix) from error
