"""Recomputation by segments: keep the input of a segment, run it again when its gradients are due.

With n blocks in s segments, n / s blocks are kept at a time beside s inputs: least at s = sqrt(n),
for one more forward pass (Chen et al. 2016, arXiv:1604.06174, section 3). Batch normalization runs
twice on the same batch and counts it once.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from residua.errors import Refused
from residua.networks.network import Features, Network
from residua.rewrites.fused import Line

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class Segmented(nn.Sequential):
    """A stage whose children run in segments; those that are fused stay so inside a segment."""

    def __init__(self, stage: nn.Module, count: int) -> None:
        super().__init__()
        children = dict(stage.named_children())
        for name, child in children.items():
            self.add_module(name, child)
        names = list(children)
        cuts = [len(names) * index // count for index in range(count + 1)]
        kind: Callable[..., nn.Module] = Line if isinstance(stage, Line) else line
        self.segments = tuple(
            kind({name: children[name] for name in names[first:last]})
            for first, last in zip(cuts, cuts[1:], strict=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        for segment in self.segments:
            x = again(segment, x)
        return x


def line(children: dict[str, nn.Module]) -> nn.Sequential:
    """The children in a row, without a parent that names them."""
    return nn.Sequential(*children.values())


def again(segment: nn.Module, x: Tensor) -> Tensor:
    """Run a segment, and run it again in the backward pass with the same random draws."""
    if not torch.is_grad_enabled():
        return segment(x)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), uncounted(segment)

    return checkpoint(segment, x, use_reentrant=False, context_fn=contexts)


@contextmanager
def uncounted(module: nn.Module) -> Iterator[None]:
    """Let batches that pass until the block ends leave no trace in running statistics.

    The norms write to copies: undoing the writes would invalidate what the backward pass kept.
    """
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    originals = [{name: norm._buffers.get(name) for name in STATISTICS} for norm in norms]
    try:
        for norm, buffers in zip(norms, originals, strict=True):
            for name, buffer in buffers.items():
                norm._buffers[name] = None if buffer is None else buffer.clone()
        yield
    finally:
        for norm, buffers in zip(norms, originals, strict=True):
            norm._buffers.update(buffers)


def recomputed(network: Network, segments: int) -> Network:
    """Return a view of a network, or of a view, whose stages run in `segments` segments in all.

    Each stage has at least one; the blocks of a stage are shared out evenly.

    Raises:
        Refused: fewer segments than one.
    """
    if segments < 1:
        raise Refused(f"{segments} segments", fix="choose 1 or more")
    stages = [stage for stage in network.features if splits(stage)]
    shares = shared(segments, [len(list(stage.children())) for stage in stages])
    counts = dict(zip(map(id, stages), shares, strict=True))
    features = copy.copy(network.features)
    features._modules = {
        name: Segmented(stage, counts[id(stage)]) if id(stage) in counts else stage
        for name, stage in network.features.named_children()
    }
    view = copy.copy(network)
    view._modules = {**network._modules, "features": features}
    assert isinstance(view.features, Features)
    return view


def splits(stage: nn.Module) -> bool:
    """Whether a stage is children in a row, and more than one."""
    return isinstance(stage, nn.Sequential) and len(stage) > 1


def shared(segments: int, blocks: Iterable[int]) -> list[int]:
    """Share segments out in proportion to `blocks`: one at least, at most one for each block."""
    blocks = list(blocks)
    every = sum(blocks)
    return [min(each, max(1, round(segments * each / every))) for each in blocks]
