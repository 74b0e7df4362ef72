"""How weights move: parameter groups, optimizers, and the learning rate over a run's progress."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from residua.recipes import Recipe


class CaffeSGD(Optimizer):
    """Momentum as the papers' code has it: v <- m v + r (g + d w), then w <- w - v.

    The rate r is inside the velocity v, so a drop of the rate slows the network over the next
    steps; torch.optim.SGD keeps it outside and slows it at once.
    """

    def __init__(
        self, params: Iterable[Any], lr: float, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None if closure is None else closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            gradients: list[Tensor] = [weight.grad for weight in weights]
            velocities = [self.velocity(weight) for weight in weights]
            if not weights:
                continue
            slopes = torch._foreach_add(gradients, weights, alpha=group["weight_decay"])
            torch._foreach_mul_(velocities, group["momentum"])
            torch._foreach_add_(velocities, slopes, alpha=group["lr"])
            torch._foreach_sub_(weights, velocities)
        return loss

    def velocity(self, weight: Tensor) -> Tensor:
        """The running velocity of one weight, zero at first."""
        state = self.state[weight]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        return state["momentum_buffer"]


def make_optimizer(network: nn.Module, recipe: Recipe) -> Optimizer:
    """The recipe's optimizer over the network's parameter groups."""
    groups = parameter_groups(network, recipe)
    rate = recipe.learning_rate or 0.0
    if recipe.optimizer == "adamw":
        return AdamW(groups, lr=rate, betas=(recipe.momentum, 0.999))
    if recipe.optimizer == "caffe-sgd":
        return CaffeSGD(groups, rate, recipe.momentum, recipe.weight_decay)
    nesterov = recipe.nesterov and recipe.momentum > 0  # the same without momentum
    return SGD(groups, lr=rate, momentum=recipe.momentum, nesterov=nesterov)


def parameter_groups(network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Group the trainable parameters by their weight decay.

    Norms and biases have one axis and decay only under `decay_norms`.
    """
    groups: dict[float, dict[str, Any]] = {}
    for parameter in network.parameters():
        if not parameter.requires_grad:
            continue
        decays = parameter.ndim > 1 or recipe.decay_norms
        decay = recipe.weight_decay if decays else 0.0
        groups.setdefault(decay, {"params": [], "weight_decay": decay})["params"].append(parameter)
    return list(groups.values())


def learning_rate(recipe: Recipe, progress: float) -> float:
    """The rate at `progress`, the share of the run that is done, 0 to 1.

    one-cycle rises linearly over the warm-up and falls linearly to zero; cosine falls as half a
    cosine; step divides by ten at each milestone.
    """
    peak = recipe.learning_rate or 0.0
    if progress < recipe.warmup:
        return peak * max(progress / recipe.warmup, 1e-3)
    fall = (progress - recipe.warmup) / (1 - recipe.warmup)
    match recipe.schedule:
        case "one-cycle":
            return peak * (1 - fall)
        case "cosine":
            return peak * (1 + math.cos(math.pi * fall)) / 2
        case "step":
            # A step that lies on a milestone belongs to the lower rate, whatever the rounding.
            return peak * 0.1 ** sum(progress + 1e-12 >= at for at in recipe.milestones)
        case "constant":
            return peak
