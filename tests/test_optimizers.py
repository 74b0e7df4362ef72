"""How weights move: the papers' momentum, groups that cover everything once, schedules."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from residua import networks
from residua.optimizers import (
    CaffeSGD,
    learning_rate,
    make_optimizer,
    parameter_groups,
)
from residua.recipes import RECIPES, Recipe

rates = st.lists(st.floats(0.001, 0.5), min_size=1, max_size=12)


def descend(kind: type[Optimizer], rates: list[float], momentum: float, decay: float) -> Tensor:
    """Minimize (w - 1)^2 / 2 - cos u with a rate for each step."""
    weights = nn.Parameter(torch.tensor([3.0, -1.0], dtype=torch.float64))
    optimizer = kind([weights], lr=1.0, momentum=momentum, weight_decay=decay)  # type: ignore[call-arg]
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss = (weights[0] - 1) ** 2 / 2 - weights[1].cos()
        loss.backward()
        optimizer.step()
    return weights.detach()


@given(rates=rates, momentum=st.floats(0, 0.99), decay=st.floats(0, 0.1))
def test_caffe_sgd_is_the_papers_recursion(
    rates: list[float], momentum: float, decay: float
) -> None:
    """v <- m v + r (g + d w), w <- w - v, on plain numbers."""
    w, u, v, z = 3.0, -1.0, 0.0, 0.0
    for rate in rates:
        g, h = (w - 1) + decay * w, math.sin(u) + decay * u
        v, z = momentum * v + rate * g, momentum * z + rate * h
        w, u = w - v, u - z
    found = descend(CaffeSGD, rates, momentum, decay)
    assert found.tolist() == pytest.approx([w, u], rel=1e-9, abs=1e-12)


@given(rate=st.floats(0.001, 0.3), count=st.integers(1, 12), momentum=st.floats(0, 0.99))
def test_caffe_sgd_equals_torchs_while_the_rate_is_constant(
    rate: float, count: int, momentum: float
) -> None:
    ours = descend(CaffeSGD, [rate] * count, momentum, 1e-2)
    theirs = descend(SGD, [rate] * count, momentum, 1e-2)
    assert torch.allclose(ours, theirs, rtol=1e-9)


def test_caffe_sgd_slows_down_later_than_torchs_at_a_drop() -> None:
    """At a drop from r to s the velocity keeps r: they part by (r - s) m V, V torch's velocity."""
    before, after, momentum = 0.1, 0.01, 0.9
    ours = descend(CaffeSGD, [before, before, after], momentum, 0.0)
    theirs = descend(SGD, [before, before, after], momentum, 0.0)

    path = [descend(SGD, [before] * count, momentum, 0.0) for count in (1, 2)]
    velocity = (path[0] - path[1]) / before
    assert torch.allclose(theirs - ours, (before - after) * momentum * velocity, rtol=1e-9)
    assert (theirs - ours).abs().min() > 1e-3


def test_caffe_sgd_leaves_what_has_no_gradient() -> None:
    used, unused = (nn.Parameter(torch.ones(2)) for _ in range(2))
    optimizer = CaffeSGD([used, unused], 0.1, 0.9, 0.1)
    used.sum().backward()
    optimizer.step()
    assert torch.equal(unused, torch.ones(2))
    assert (used < 1).all()


@given(
    name=st.sampled_from(["resnet8-cifar", "plain8-cifar", "resnet18", "preact11-cifar"]),
    decay_norms=st.booleans(),
    weight_decay=st.sampled_from([0.0, 1e-4]),
)
def test_groups_hold_every_parameter_once(
    name: str, decay_norms: bool, weight_decay: float
) -> None:
    with torch.device("meta"):
        network = networks.build(name, 5)
    recipe = Recipe(decay_norms=decay_norms, weight_decay=weight_decay)
    groups = parameter_groups(network, recipe)

    held = [id(weight) for group in groups for weight in group["params"]]
    assert sorted(held) == sorted(id(weight) for weight in network.parameters())
    decayed = {id(w) for group in groups if group["weight_decay"] for w in group["params"]}
    for key, weight in network.named_parameters():
        expected = weight_decay > 0 and (decay_norms or weight.ndim > 1)
        assert (id(weight) in decayed) == expected, key


def test_frozen_parameters_are_in_no_group() -> None:
    network = networks.build("resnet8-cifar", 3)
    for weight in network.features.parameters():
        weight.requires_grad_(False)
    groups = parameter_groups(network, Recipe())
    assert sum(len(group["params"]) for group in groups) == len(list(network.head.parameters()))


@pytest.mark.parametrize("optimizer", ["sgd", "caffe-sgd", "adamw"])
def test_recipes_settings_reach_the_optimizer(optimizer: str) -> None:
    recipe = Recipe(optimizer=optimizer, learning_rate=0.3, momentum=0.8, weight_decay=0.02)  # type: ignore[arg-type]
    made = make_optimizer(networks.build("resnet8-cifar", 3), recipe)
    group = made.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (0.3, 0.02)
    assert (group["betas"][0] if optimizer == "adamw" else group["momentum"]) == 0.8


def test_nesterov_without_momentum_is_plain_sgd() -> None:
    """The two forms agree at zero momentum; torch refuses the combination."""
    weights = nn.Linear(1, 1, bias=False)
    nn.init.ones_(weights.weight)
    recipe = Recipe(nesterov=True, momentum=0.0, learning_rate=0.5, weight_decay=0.0)
    optimizer = make_optimizer(weights, recipe)
    for _ in range(2):
        weights(torch.ones(1)).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert weights.weight.item() == 0.0


PAPER = RECIPES["paper-cifar"][1]


@pytest.mark.parametrize(
    ("iteration", "rate"),
    [
        (0, 0.1),
        (31_999, 0.1),
        (32_000, 0.01),
        (47_999, 0.01),
        (48_000, 0.001),
        (63_999, 0.001),
    ],
)
def test_paper_cifar_drops_exactly_at_32k_and_48k(iteration: int, rate: float) -> None:
    assert learning_rate(PAPER, iteration / 64_000) == pytest.approx(rate, rel=1e-12)


@given(st.integers(10, 100_000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1))))
def test_a_step_on_a_milestone_has_the_lower_rate_in_runs_of_any_length(
    run: tuple[int, int],
) -> None:
    """Whatever the rounding of step / steps against a milestone that was given as a share."""
    steps, at = run
    recipe = Recipe(schedule="step", milestones=(at / steps,), learning_rate=1.0)
    assert learning_rate(recipe, at / steps) == pytest.approx(0.1)
    if at > 0:
        assert learning_rate(recipe, (at - 1) / steps) == 1.0


shapes = st.builds(
    Recipe,
    schedule=st.sampled_from(["step", "cosine", "one-cycle", "constant"]),
    warmup=st.floats(0, 0.9),
    learning_rate=st.floats(0, 10),
)


@given(recipe=shapes, progress=st.floats(0, 1))
def test_rates_lie_between_zero_and_the_peak(recipe: Recipe, progress: float) -> None:
    peak = recipe.learning_rate or 0.0
    assert 0 <= learning_rate(recipe, progress) <= peak * (1 + 1e-12)


@given(recipe=shapes)
def test_a_warmup_rises_to_the_peak_and_ends_there(recipe: Recipe) -> None:
    peak = recipe.learning_rate or 0.0
    if recipe.warmup > 0.01:
        half = learning_rate(recipe, recipe.warmup / 2)
        assert half == pytest.approx(peak / 2)
        assert learning_rate(recipe, 0.0) == pytest.approx(peak / 1000)
    if recipe.warmup < 0.5:  # before the first milestone
        assert learning_rate(recipe, recipe.warmup) == pytest.approx(peak)


@pytest.mark.parametrize(
    ("schedule", "middle", "end"),
    [("one-cycle", 0.5, 0.0), ("cosine", 0.5, 0.0), ("constant", 1.0, 1.0), ("step", 0.1, 0.01)],
)
def test_the_middle_and_the_end(schedule: str, middle: float, end: float) -> None:
    recipe = Recipe(schedule=schedule, learning_rate=1.0)  # type: ignore[arg-type]
    assert learning_rate(recipe, 0.5) == pytest.approx(middle)
    assert learning_rate(recipe, 1.0) == pytest.approx(end, abs=1e-12)
