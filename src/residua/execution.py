"""How a step runs on this hardware: device, precision, memory format, threads.

Networks are written as the papers write them; what makes them fast is decided here.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from residua.errors import Refused
from residua.recipes import Recipe

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def free_memory() -> int:
    """Bytes of main memory that can be taken without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        kilobytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable"))
        return 1024 * int(kilobytes)
    except (OSError, StopIteration):  # not Linux: count only what nothing else has ever used
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")


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

    def place(self, network: nn.Module) -> nn.Module:
        """Move the network here, its convolution weights in channels_last memory."""
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def autocast(self) -> AbstractContextManager[Any]:
        """The context for a forward pass; weights, norms and loss stay in float32."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, DTYPES[self.precision])

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
    return Execution(device, precision, threads, scaler)


def find_device(name: str) -> torch.device:
    """A device of this machine by its name, or Refused with those that there are."""
    have = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    full = "cuda:0" if name == "cuda" else name
    if full not in have:
        raise Refused(f'this machine has no device "{name}"', fix=f"it has {', '.join(have)}")
    return torch.device(full)
