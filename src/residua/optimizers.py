"""How weights move: parameter groups, optimizers, and the learning rate over a run's progress."""

import math
from collections.abc import Callable, Iterable, Sequence
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
            velocities = [velocity(self, weight) for weight in weights]
            if not weights:
                continue
            slopes = torch._foreach_add(gradients, weights, alpha=group["weight_decay"])
            torch._foreach_mul_(velocities, group["momentum"])
            torch._foreach_add_(velocities, slopes, alpha=group["lr"])
            torch._foreach_sub_(weights, velocities)
        return loss


class Muon(Optimizer):
    """Momentum orthogonalized (Jordan et al. 2024, "Muon"): every direction moves equally far.

    A weight of `d` channels out is a matrix W (d, c k k). With v <- m v + g, a step is

        W <- l (W / |W| - r U / sqrt(d))    U = (S S^T)^(-1/2) S of S = g + m v (Nesterov)

    U is S with all of its singular values made one, as `orthogonalized` finds it, and has the norm
    sqrt(d). The length l is that of W at first, so r is the angle by which W turns: weights that
    grow would turn less and less, and before a norm their length means nothing. A weight that
    starts at zero has no length, and moves by r U.

    Groups that are not "orthogonal" (the first layer, the last, norms, biases) move by SGD with
    Nesterov momentum at the rate r times their "factor".
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, dtype: torch.dtype) -> None:
        super().__init__(groups, {"lr": lr})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None if closure is None else closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            gradients: list[Tensor] = [weight.grad for weight in weights]
            if not group["orthogonal"]:
                decayed = torch._foreach_add(gradients, weights, alpha=group["weight_decay"])
                gradients = list(decayed)
            velocities = [velocity(self, weight) for weight in weights]
            torch._foreach_mul_(velocities, group["momentum"])
            torch._foreach_add_(velocities, gradients)
            moves = list(torch._foreach_add(gradients, velocities, alpha=group["momentum"]))
            if group["orthogonal"]:
                self.turn(weights, moves, group["lr"])
            else:
                torch._foreach_add_(weights, moves, alpha=-group["lr"] * group["factor"])
        return loss

    def turn(self, weights: list[Tensor], moves: Sequence[Tensor], rate: float) -> None:
        """Turn each weight by the rate; nothing here waits for a GPU."""
        moves = self.orthogonal(moves)
        for weight, move, norm in zip(weights, moves, torch._foreach_norm(weights), strict=True):
            length = self.state[weight].setdefault("length", norm)
            one = torch.ones_like(length)
            weight *= torch.where(length > 0, length / norm, one)
            step = torch.where(length > 0, length / math.sqrt(len(weight)), one)
            weight -= rate * step * move

    def orthogonal(self, moves: Sequence[Tensor]) -> list[Tensor]:
        """Each move with all singular values made one, those of one shape together."""
        shapes: dict[torch.Size, list[int]] = {}
        for index, move in enumerate(moves):
            shapes.setdefault(move.shape, []).append(index)
        found = list(moves)
        for shape, places in shapes.items():
            # Convolution weights lie channels last; the order of a matrix's columns is free.
            rows = [
                moves[place].permute(0, 2, 3, 1).reshape(len(moves[place]), -1) for place in places
            ]
            d, c, k, q = shape
            done = orthogonalized(torch.stack(rows), self.dtype).view(-1, d, k, q, c)
            for place, move in zip(places, done.permute(0, 1, 4, 2, 3), strict=True):
                found[place] = move
        return found


# Of x -> a x + b x^3 + c x^5, which takes singular values from 0..1 to about one (Jordan et al.).
QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalized(matrices: Tensor, dtype: torch.dtype, rounds: int = 3) -> Tensor:
    """Matrices (n, d, e) with their singular values brought near one, by Newton-Schulz iteration.

    A round is X <- a X + (b A + c A A) X with A = X X^T. Three bring all that are above a
    fiftieth of the matrix's norm to 0.5..1.3; what matters is that none dominates.
    """
    a, b, c = QUINTIC
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.mT
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-12)).to(dtype)
    for _ in range(rounds):
        products = x @ x.mT
        x = torch.baddbmm(
            x, torch.baddbmm(products, products, products, beta=b, alpha=c), x, beta=a
        )
    return (x if wide else x.mT).to(matrices.dtype)


def velocity(optimizer: Optimizer, weight: Tensor) -> Tensor:
    """The running velocity of one weight, zero at first."""
    state = optimizer.state[weight]
    if "momentum_buffer" not in state:
        state["momentum_buffer"] = torch.zeros_like(weight)
    return state["momentum_buffer"]


def make_optimizer(network: nn.Module, recipe: Recipe) -> Optimizer:
    """The recipe's optimizer over the network's parameter groups."""
    rate = recipe.learning_rate or 0.0
    if recipe.optimizer == "muon":
        dtype = torch.bfloat16 if recipe.precision == "bf16" else torch.float32
        return Muon(muon_groups(network, recipe), rate, dtype)
    groups = parameter_groups(network, recipe)
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


# Of the layers that Muon leaves to SGD: what their rate is of Muon's, and their momentum.
REST = {"factor": 1.25, "momentum": 0.9, "orthogonal": False}


def muon_groups(network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """The convolutions behind the first for Muon, everything else for SGD by its weight decay.

    The first sees pixels, whose few directions differ for a reason.
    """
    convolutions = [m.weight for m in network.modules() if isinstance(m, nn.Conv2d)][1:]
    turned = {id(weight): weight for weight in convolutions if weight.requires_grad}
    rest = parameter_groups(network, recipe)
    for group in rest:
        group["params"] = [weight for weight in group["params"] if id(weight) not in turned]
        group |= REST
    first = {
        "params": list(turned.values()),
        "weight_decay": 0.0,  # their length is constant
        "momentum": recipe.momentum,
        "orthogonal": True,
    }
    return [group for group in (first, *rest) if group["params"]]


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
