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
    REST,
    CaffeSGD,
    Muon,
    learning_rate,
    make_optimizer,
    muon_groups,
    orthogonalized,
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


def matrices(seed: int, count: int, d: int, e: int) -> Tensor:
    return torch.randn(count, d, e, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 2**40), st.integers(1, 3), st.integers(1, 12), st.integers(1, 40))
def test_orthogonalizing_turns_nothing_and_makes_what_is_large_alike(
    seed: int, count: int, d: int, e: int
) -> None:
    """The singular vectors stay; singular values above a fiftieth of the norm become about one."""
    given_ = matrices(seed, count, d, e)
    left, before, right = torch.linalg.svd(given_, full_matrices=False)
    after = left.mT @ orthogonalized(given_, torch.float32) @ right.mT

    values = after.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(after, torch.diag_embed(values), atol=2e-4, rtol=0)
    large = before > given_.norm(dim=(1, 2))[:, None] / 50
    assert ((values > 0.6) & (values < 1.25) | ~large).all()


@given(st.integers(0, 2**40), st.floats(1e-3, 1e3))
def test_orthogonalizing_ignores_scale_and_commutes_with_rotations(seed: int, scale: float) -> None:
    given_ = matrices(seed, 1, 5, 9)
    rotation = torch.linalg.qr(matrices(seed + 1, 1, 5, 5))[0]
    once = orthogonalized(given_, torch.float32)

    torch.testing.assert_close(orthogonalized(scale * given_, torch.float32), once)
    turned = orthogonalized(rotation @ given_, torch.float32)
    torch.testing.assert_close(turned, rotation @ once, atol=1e-4, rtol=1e-3)


def test_half_precision_orthogonalizes_to_its_rounding() -> None:
    given_ = matrices(3, 2, 16, 144)
    exact, rounded = (orthogonalized(given_, kind) for kind in (torch.float32, torch.bfloat16))
    assert rounded.dtype == torch.float32
    assert (rounded - exact).norm() < 0.03 * exact.norm()
    assert torch.equal(orthogonalized(torch.zeros(1, 3, 4), torch.bfloat16), torch.zeros(1, 3, 4))


def test_muon_is_its_recursion_whatever_the_order_in_memory() -> None:
    """W <- l (W / |W| - r U / sqrt(d)), on one weight at a time; like shapes share a product."""
    shapes, rate, m = [(4, 3, 3, 3), (4, 3, 3, 3), (6, 2, 1, 1)], 0.1, 0.6
    generator = torch.Generator().manual_seed(0)
    start = [3 * torch.randn(shape, generator=generator) for shape in shapes]
    weights = [nn.Parameter(value.contiguous(memory_format=torch.channels_last)) for value in start]
    group = {"params": weights, "momentum": m, "weight_decay": 0.0, "orthogonal": True}
    optimizer = Muon([group], rate, torch.float32)
    velocities, lengths = [torch.zeros(shape) for shape in shapes], [w.norm() for w in start]
    for _ in range(3):
        for index, weight in enumerate(weights):
            gradient = torch.randn(shapes[index], generator=generator)
            weight.grad = gradient.clone()
            velocities[index] = m * velocities[index] + gradient
            move = (gradient + m * velocities[index]).flatten(1)
            turn = orthogonalized(move[None], torch.float32)[0].view(shapes[index])
            unit = start[index] / start[index].norm()
            start[index] = lengths[index] * (unit - rate * turn / math.sqrt(len(turn)))
        optimizer.step()

    for weight, expected in zip(weights, start, strict=True):
        torch.testing.assert_close(weight.detach(), expected, atol=1e-4, rtol=1e-3)


def test_muon_moves_a_weight_that_starts_at_zero_and_none_without_a_gradient() -> None:
    zero, unused = nn.Parameter(torch.zeros(4, 4, 1, 1)), nn.Parameter(torch.ones(4, 4, 1, 1))
    group = {"params": [zero, unused], "momentum": 0.6, "weight_decay": 0.0, "orthogonal": True}
    optimizer = Muon([group], 0.1, torch.float32)
    for _ in range(2):
        zero.grad = torch.eye(4).view(4, 4, 1, 1)
        optimizer.step()
    assert -0.25 < zero.diagonal().min() < -0.1
    assert torch.equal(unused, torch.ones(4, 4, 1, 1))


@given(scale=st.floats(0.1, 10))
def test_muon_turns_a_weight_by_an_angle_whatever_its_length(scale: float) -> None:
    generator = torch.Generator().manual_seed(1)
    start, gradient = (torch.randn(8, 4, 3, 3, generator=generator) for _ in range(2))
    angles = []
    for length in (1.0, scale):
        weight = nn.Parameter(length * start)
        weight.grad = gradient
        group = {"params": [weight], "momentum": 0.6, "weight_decay": 0.0, "orthogonal": True}
        Muon([group], 0.05, torch.float32).step()
        angles.append(torch.cosine_similarity(weight.flatten(), start.flatten(), 0).item())
    assert angles[0] == pytest.approx(angles[1], abs=1e-5)
    assert 0.99 < angles[0] < 1


def test_muon_moves_the_rest_as_sgd_with_nesterov_momentum() -> None:
    ours, theirs = (nn.Parameter(torch.tensor([3.0, -1.0])) for _ in range(2))
    muon = Muon([{"params": [ours], "weight_decay": 0.01, **REST}], 0.1, torch.float32)
    rate = 0.1 * float(REST["factor"])
    sgd = SGD([theirs], rate, momentum=0.9, nesterov=True, weight_decay=0.01)
    for step in range(4):
        for weight, optimizer in ((ours, muon), (theirs, sgd)):
            weight.grad = torch.tensor([1.0, 2.0]) * (step + 1)
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


@given(
    name=st.sampled_from(["resnet8-cifar", "sprint11-cifar", "resnet18", "preact11-cifar-gn"]),
    decay_norms=st.booleans(),
)
def test_muon_turns_every_convolution_but_the_first(name: str, decay_norms: bool) -> None:
    with torch.device("meta"):
        network = networks.build(name, 5)
    groups = muon_groups(network, Recipe(decay_norms=decay_norms))

    held = [id(weight) for group in groups for weight in group["params"]]
    assert sorted(held) == sorted(id(weight) for weight in network.parameters())
    turned = {id(w) for group in groups if group["orthogonal"] for w in group["params"]}
    for key, weight in network.named_parameters():
        assert (id(weight) in turned) == (weight.ndim == 4 and "stem" not in key), key


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
