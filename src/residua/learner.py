"""A network with all that changes while it learns, and its way to disk and back.

What is restored continues to the bit: the optimizer's buffers, the averaged weights, the loss
scale and the random state of layers such as dropout are all part of it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from residua.batches import Batch
from residua.execution import Execution, Outputs
from residua.optimizers import make_optimizer
from residua.recipes import Recipe


@dataclass
class Learner:
    """A network, its optimizer, the average of its weights if one is kept, and where it runs.

    A step asks `outputs`, a faster view of the network, for logits; or it asks `together`, several
    processes, for the gradients of a step, given its index and the size of its images (0: theirs).
    """

    network: nn.Module
    optimizer: Optimizer
    averaged: AveragedModel | None
    execution: Execution
    outputs: Outputs
    together: Callable[[int, int], tuple[Tensor, Tensor]] | None = None  # loss, how many wrong

    @property
    def evaluated(self) -> nn.Module:
        """The network whose error counts: the average where there is one."""
        return self.network if self.averaged is None else self.averaged.module

    def state(self) -> dict[str, Tensor]:
        """Everything besides the weights, as tensors."""
        tensors = {"random": torch.get_rng_state()}
        if self.execution.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.execution.device)
        for index, values in self.optimizer.state_dict()["state"].items():
            for key, value in values.items():
                if value is not None:
                    tensors[f"optimizer.{index}.{key}"] = torch.as_tensor(value)
        if self.averaged is not None:
            averaged = self.averaged.state_dict()
            tensors |= {f"averaged.{name}": value for name, value in averaged.items()}
        scaler = self.execution.scaler.state_dict()
        tensors |= {f"scaler.{key}": torch.as_tensor(value) for key, value in scaler.items()}
        return tensors

    def broken(self) -> str:
        """The name of a tensor of the network or its state that is not finite, if there is one."""
        tensors = self.network.state_dict() | self.state()
        floats = {name: value for name, value in tensors.items() if value.is_floating_point()}
        return next((name for name, value in floats.items() if not value.isfinite().all()), "")

    def restore(self, weights: dict[str, Tensor], state: dict[str, Tensor]) -> None:
        """Continue from `weights` and `state`, as `state()` gave them."""
        self.network.load_state_dict(weights)
        torch.set_rng_state(state["random"])
        if "random.cuda" in state:
            torch.cuda.set_rng_state(state["random.cuda"], self.execution.device)
        parameters = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        self.optimizer.state.clear()
        for name, value in below("optimizer.", state).items():
            index, _, key = name.partition(".")
            weight = parameters[int(index)]
            self.optimizer.state[weight][key] = shaped_like(weight, value)
        if self.averaged is not None:
            self.averaged.load_state_dict(below("averaged.", state))
        if scaler := below("scaler.", state):
            self.execution.scaler.load_state_dict({key: v.item() for key, v in scaler.items()})


def make_learner(network: nn.Module, recipe: Recipe, execution: Execution) -> Learner:
    """A network ready for its first step."""
    network = execution.place(network)
    averaged = None
    if recipe.ema:
        rule = get_ema_multi_avg_fn(recipe.ema)
        averaged = AveragedModel(network, multi_avg_fn=rule, use_buffers=True)
    optimizer = make_optimizer(network, recipe)
    return Learner(network, optimizer, averaged, execution, execution.outputs(network))


@torch.no_grad()
def precise_norms(network: nn.Module, batches: Iterable[Batch], execution: Execution) -> None:
    """Recompute batch norm's statistics as a true average over many training images.

    The running averages that training leaves follow only the last steps; the authors recomputed
    them for testing (He et al. 2016a; the notes on their released models).
    """
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.reset_running_stats()
            norm.momentum = None  # a cumulative average
            norm.train()
    for batch in batches:
        with execution.autocast():
            network(batch.images)
    network.eval()


def below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The tensors whose names start with `prefix`, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def shaped_like(weight: Tensor, value: Tensor) -> Tensor:
    """A buffer in the memory format of its weight, so that sums run in the same order as before."""
    if value.shape != weight.shape:
        return value
    return torch.empty_like(weight, dtype=value.dtype).copy_(value)
