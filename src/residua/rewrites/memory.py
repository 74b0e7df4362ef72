"""What a training step keeps in memory, measured, and the fastest plan that fits.

Between forward and backward pass a step holds

    weights, gradients and momentum     12 bytes for each parameter
    what the backward pass will need    measured on batches of 2 and 4, and linear in the batch
    what is rebuilt at a time           the largest segment, and a few tensors of the widest block

and on a processor what the heap loses between them.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from residua.errors import OutOfResources
from residua.networks.network import Network
from residua.rewrites.fused import fused
from residua.rewrites.recomputed import Segmented, recomputed, uncounted
from residua.words import byte_count

AT_ONCE = 6  # tensors as large as the largest that a block's backward pass holds
PER_PARAMETER = 12  # bytes: weight, gradient and momentum in float32
Shape = tuple[int, int, int]  # of an image: channels, height, width

COSTS = {
    "all": "no more time: everything is kept",
    "lean": "about 8 % more time: the last convolution of each block runs twice",
    "input": "about 12 % more time: each block runs twice",
    "segments": "about 35 % more time: each block runs three times",
}


# Of what is kept for long among what is soon freed, glibc's heap loses the gaps between: resident
# bytes of ResNet-302 steps, batch 128, for each byte that tensors hold (1.0 where each tensor
# is mapped by itself, which doubles a step's time).
SCATTER = {"all": 1.1, "lean": 1.9, "input": 2.2, "segments": 1.6}


class Plan(NamedTuple):
    """What blocks keep (chain.KEEPS), the segments that run again (0: none), and what that takes.

    `bytes` is the memory of a step, `cost` its price in words.
    """

    keep: str
    segments: int
    bytes: int
    cost: str


class Need(NamedTuple):
    """Bytes that a step holds: for each image, and whatever the batch."""

    each: float
    fixed: float

    def bytes(self, batch: int) -> int:
        return math.ceil(self.fixed + self.each * batch)


def saved_bytes(view: Network, shape: Shape, dtype: torch.dtype = torch.float32) -> int:
    """Bytes that one more image of a batch keeps between forward and backward pass.

    Args:
        view: a network or a view of one, in any mode; it is left as it was.
        shape: of an image.
        dtype: of autocast; float32 for none.
    """
    return int(need(view, shape, dtype, whole=False).each)


def plan(
    network: Network,
    shape: Shape,
    batch: int,
    limit: int,
    dtype: torch.dtype = torch.float32,
) -> Plan:
    """The fastest way to train on batches of `batch` images within `limit` bytes.

    Args:
        network: on the device and in the memory format of the training.
        shape: of an image.
        batch: images in a step.
        limit: bytes that the step may take, weights included.
        dtype: of autocast; float32 for none.

    Raises:
        OutOfResources: no plan fits; the message has the least that is needed, and the largest
            batch that fits.
    """
    least: Plan | None = None
    largest = 0
    for keep, segments in choices(network):
        view = fused(network, keep)
        if segments:
            view = recomputed(view, segments)
        kind = "segments" if segments else keep
        found = need(view, shape, dtype)
        if next(network.parameters()).is_cpu:
            found = found._replace(each=SCATTER[kind] * found.each)
        each = Plan(keep, segments, found.bytes(batch), COSTS[kind])
        if each.bytes <= limit:
            return each
        if least is None or each.bytes < least.bytes:
            least = each
        largest = max(largest, int((limit - found.fixed) / found.each))
    assert least is not None  # there are choices
    raise OutOfResources(
        f"a batch of {batch} images needs at least {byte_count(least.bytes)} of memory",
        where=f"{network.name}, {shape[1]}x{shape[2]} pixels, within {byte_count(limit)}",
        fix=f"a batch of {largest} fits"
        if largest > 1
        else "choose smaller images or a smaller network",
    )


def choices(network: Network) -> Iterator[tuple[str, int]]:
    """Yield what to keep and the number of segments, the fastest first."""
    yield from (("all", 0), ("lean", 0), ("input", 0))
    blocks = sum(len(list(stage.children())) for stage in network.features)
    yield "input", max(1, round(2 * math.sqrt(blocks)))
    yield "input", max(1, round(math.sqrt(blocks)))


# Measuring.


def need(view: Network, shape: Shape, dtype: torch.dtype, whole: bool = True) -> Need:
    """Measure a view on batches of 2 and 4; not `whole` leaves out what is rebuilt, and weights."""
    with undisturbed(view):
        two, four = (measured(view, shape, dtype, batch, whole) for batch in (2, 4))
    each = (four - two) / 2
    weights = PER_PARAMETER * sum(weight.numel() for weight in view.parameters())
    return Need(each, max(0.0, two - 2 * each) + (weights if whole else 0))


def measured(view: Network, shape: Shape, dtype: torch.dtype, batch: int, whole: bool) -> int:
    """Bytes that a batch keeps, and at most holds beside that if `whole`."""
    device = next(view.parameters()).device
    images = torch.zeros(batch, *shape, device=device).contiguous(memory_format=torch.channels_last)
    inputs: dict[nn.Module, Tensor] = {}
    segments = [
        segment
        for stage in view.modules()
        if isinstance(stage, Segmented)
        for segment in stage.segments
    ]

    def note(segment: nn.Module, received: tuple[Tensor]) -> None:
        inputs[segment] = received[0].detach()

    hooks = [segment.register_forward_pre_hook(note) for segment in segments]
    try:
        with torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
            with Kept(view) as kept:
                outputs = view.outputs(images)
            del outputs
            if not whole:
                return kept.bytes()
            rebuilt, widest = 0, kept.largest()
            for segment, x in inputs.items():
                with Kept(view) as inside:
                    segment(x.requires_grad_(x.is_floating_point()))
                rebuilt = max(rebuilt, inside.bytes())
                widest = max(widest, inside.largest())
        return kept.bytes() + rebuilt + AT_ONCE * widest
    finally:
        for hook in hooks:
            hook.remove()


class Kept:
    """What autograd keeps of the operations inside a `with`, parameters and buffers left out."""

    def __init__(self, network: nn.Module) -> None:
        tensors = (*network.parameters(), *network.buffers())
        self.own = {tensor.untyped_storage().data_ptr() for tensor in tensors}
        self.storages: dict[int, torch.UntypedStorage] = {}
        self.hooks = saved_tensors_hooks(self.pack, lambda tensor: tensor)

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.own:
            self.storages[storage.data_ptr()] = storage  # held, so that its address stays its own
        return tensor

    def __enter__(self) -> "Kept":
        self.hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.hooks.__exit__(*error)

    def bytes(self) -> int:
        return sum(storage.nbytes() for storage in self.storages.values())

    def largest(self) -> int:
        return max((storage.nbytes() for storage in self.storages.values()), default=0)


@contextmanager
def undisturbed(view: nn.Module) -> Iterator[None]:
    """Train until the block ends, and leave mode, statistics and random numbers as they were."""
    modes = [(module, module.training) for module in view.modules()]
    with torch.random.fork_rng(), uncounted(view), torch.enable_grad():
        try:
            view.train()
            yield
        finally:
            for module, mode in modes:
                module.training = mode
