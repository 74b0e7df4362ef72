"""How a step runs on this hardware.

Networks are written as the papers write them; what makes them fast is decided here, and is done to
a view of the network that shares its parameters (`rewrites`). In the order of what they gain:

    precision      convolutions in bf16 where the hardware multiplies it fast; weights, norms'
                   statistics and the loss stay in fp32. GPUs without it: fp16, the loss scaled
    memory format  channels_last: the channels of a pixel are neighbors, as convolutions read them
    memory         what a step frees is kept for the next: the system clears pages it hands out
    parallelism    on a processor one pinned process per core (`team`), which wait for each other
                   once a step, where threads wait at every layer
    fusion         norm, addition and ReLU in one pass over memory: most of a small network's time
                   is moving numbers, not multiplying them. On GPUs `torch.compile` does it
    recomputation  what the backward pass needs is kept, or computed again where room is scarce

`prepare` times a few steps against the plain way, and falls back to it where this is no faster.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from residua.errors import Refused
from residua.networks.network import Network
from residua.recipes import Recipe
from residua.resources import cores, free_memory
from residua.rewrites.fused import fused
from residua.rewrites.memory import Plan, plan
from residua.rewrites.recomputed import recomputed

Outputs = Callable[[Tensor], list[Tensor]]  # images -> logits of the head and auxiliary heads

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
HELD = 2**30  # bytes
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def hold_memory() -> None:
    """Keep the memory that a step frees for the next one, for as long as the process lives.

    The C library gives large blocks back to the system, which clears each page when it is asked for
    it again: a fifth of a small network's step. Where there is no glibc, nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            mallopt(parameter, HELD)


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads until the block ends."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fast_bf16() -> bool:
    """Whether this hardware multiplies bfloat16 faster than float32."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # oneDNN converts on the fly where these instructions are missing, slower than plain float32.
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@dataclass(frozen=True)
class Execution:
    """Where and in which arithmetic a network runs."""

    device: torch.device
    precision: str
    threads: int
    scaler: torch.amp.GradScaler  # scales the loss for fp16, and passes it through otherwise
    processes: int = 1  # that share each step, each with one thread
    fused: bool = False  # norm, addition and ReLU in one pass
    compiled: bool = False
    plan: Plan | None = None  # what the backward pass keeps; None where memory is no question

    @property
    def roomy(self) -> bool:
        """Whether there is memory to spare: nothing has to be computed again for want of it."""
        return self.plan is None or (self.plan.keep == "all" and not self.plan.segments)

    def place(self, network: nn.Module) -> nn.Module:
        """Move the network here, its convolution weights in channels_last memory."""
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def view(self, network: Network) -> Network:
        """The network as a training step runs it; its parameters are the network's own."""
        keep, segments = (self.plan.keep, self.plan.segments) if self.plan else ("all", 0)
        view = fused(network, keep) if self.fused or keep != "all" else network
        return recomputed(view, segments) if segments else view

    def outputs(self, network: nn.Module) -> Outputs:
        """Logits of the head and of auxiliary heads for images, as a training step asks for them.

        A compilation happens at the first call, which may fail.
        """
        outputs: Outputs = lambda images: [network(images)]  # noqa: E731, of someone else's module
        if isinstance(network, Network):
            outputs = self.view(network).outputs
        return torch.compile(outputs, mode="reduce-overhead") if self.compiled else outputs

    def autocast(self) -> AbstractContextManager[Any]:
        """The context for a forward pass; weights, norms and loss stay in float32."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, DTYPES[self.precision])

    def wait(self) -> None:
        """Wait until the device has done what it was told to, so that a clock sees it."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @property
    def check_every(self) -> int:
        """Steps between looks at the loss: each look makes a GPU wait, and costs a CPU nothing."""
        return 1 if self.device.type == "cpu" else 50


def execution(recipe: Recipe) -> Execution:
    """The execution that a completed recipe asks for.

    Raises:
        Refused: this machine lacks the device, or the device the precision.
    """
    device = find_device(recipe.device or "cpu")
    precision = recipe.precision or "fp32"
    if precision == "fp16" and device.type == "cpu":
        raise Refused(
            "fp16 trains on GPUs only", where="precision=fp16 on the cpu", fix="use bf16 or fp32"
        )
    threads = recipe.threads or cores()
    torch.set_num_threads(threads)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    processes = recipe.processes or 1
    if processes > 1 and device.type != "cpu":
        raise Refused("several processes share a step on a processor only", f"device {device}")
    if processes > 1 and (recipe.batch or 1) % processes:
        raise Refused(
            f"{recipe.batch} images in a step cannot be shared by {processes} processes",
            where=f"--batch {recipe.batch} --processes {processes}",
            fix="choose a batch that is a multiple of the processes",
        )
    return Execution(
        device, precision, threads, scaler, processes, bool(recipe.fused), bool(recipe.compile)
    )


PROCESS = 2**26  # bytes that a process takes beside its share of a step, from the first step on


def fitted(run_on: Execution, network: Network, recipe: Recipe) -> Execution:
    """Choose what the backward pass keeps, so that a step fits into memory.

    Raises:
        OutOfResources: no way of training fits; the message says what the leanest one needs.
    """
    cuda = run_on.device.type == "cuda"
    free = torch.cuda.mem_get_info(run_on.device)[0] if cuda else free_memory()
    limit = min(free - PROCESS, recipe.memory or free)
    if run_on.processes > 1:  # each has its gradients, and a row in which the main one sees them
        weights = sum(weight.numel() for weight in network.parameters())
        limit -= run_on.processes * (2 * 4 * weights + PROCESS)
    size, batch = recipe.size or 0, recipe.batch or 1
    shape, dtype = (network.channels, size, size), DTYPES[run_on.precision]
    run_on.place(network)
    return replace(run_on, plan=plan(network, shape, batch, limit, dtype))


def find_device(name: str) -> torch.device:
    """A device of this machine by its name, or Refused with those that there are."""
    have = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    full = "cuda:0" if name == "cuda" else name
    if full not in have:
        raise Refused(f'this machine has no device "{name}"', fix=f"it has {', '.join(have)}")
    return torch.device(full)
