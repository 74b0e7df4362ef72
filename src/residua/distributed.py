"""Several processes at one task: who I am, what is mine, and what the others found.

Alone, all of it is the identity. Under torchrun each process gets every n-th item, so that the
shares are equal and the whole comes out in its order.
"""

import atexit
import os
from typing import TypeVar

import torch
from torch import distributed

T = TypeVar("T")


def world() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which of them this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def share(total: int) -> torch.Tensor:
    """The positions among `total` that are this process's."""
    return torch.arange(total)[rank() :: world()]


def gathered(mine: T) -> list[T]:
    """What every process found, in the order of their ranks."""
    if world() == 1:
        return [mine]
    if not distributed.is_initialized():
        distributed.init_process_group("gloo")
        atexit.register(distributed.destroy_process_group)  # else its threads abort the process
    found: list[T | None] = [None] * world()
    distributed.all_gather_object(found, mine)
    return [each for each in found if each is not None]
