"""Landscapes of the loss, against what can be computed by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from residua import networks
from residua.batches import Batch
from residua.errors import Refused
from residua.probes import landscapes
from residua.probes.landscapes import directions, path, sharpness, surface, weights


def batch(count: int = 12, size: int = 8, classes: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 3, size, size, generator=generator)
    labels = torch.randint(classes, (count,), generator=generator)
    return Batch(images, labels, torch.arange(count))


def network(name: str = "resnet8-cifar") -> nn.Module:
    built = networks.build(name, 4, seed=3)
    built.train()
    for _ in range(3):  # norms have statistics of their own
        built(batch().images)
    return built


def halves(shown: Batch) -> list[Batch]:
    return [Batch(*(part[at::2] for part in shown)) for at in (0, 1)]


def test_every_filter_of_a_direction_has_the_norm_of_the_networks_filter() -> None:
    net = network()
    one, other = directions(net, 0)
    own = dict(net.named_parameters())
    assert set(one) == {name for name, value in own.items() if value.dim() > 1}
    for name, value in one.items():
        torch.testing.assert_close(value.flatten(1).norm(dim=1), own[name].flatten(1).norm(dim=1))
        assert not torch.allclose(value, other[name])
    again, _ = directions(net, 0)
    assert all(torch.equal(one[name], again[name]) for name in one)


@given(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))
@settings(max_examples=15, deadline=None)
def test_a_point_of_a_surface_is_the_loss_of_the_moved_network(x: float, y: float) -> None:
    net, shown = network(), batch()
    axes = directions(net, 5)
    found = surface(net, axes, [(x, y)], halves(shown))[0]
    with torch.no_grad():
        for name, value in net.named_parameters():
            if name in axes[0]:
                value += x * axes[0][name] + y * axes[1][name]
        logits = net.eval()(shown.images)
    assert found.loss == pytest.approx(float(F.cross_entropy(logits, shown.labels)), rel=1e-2)
    assert found.error == int((logits.argmax(1) != shown.labels).sum()) / 12


def test_a_filter_and_what_scales_it_back_make_no_difference() -> None:
    """Twice the weights in front of a norm are the same network, and so is its landscape."""
    net, shown = network(), [batch()]
    points = [(x, 0.3) for x in (-1.0, 0.0, 0.5)]
    before = surface(net, directions(net, 2), points, shown)
    bent = sharpness(net, shown).eigenvalue
    with torch.no_grad():
        for name, module in net.named_modules():
            if name.endswith("norm1"):
                module.get_buffer("running_mean").mul_(4)
                module.get_buffer("running_var").mul_(16)
                module.eps *= 16
            elif name.endswith("conv1"):
                module.get_parameter("weight").mul_(4)
    after = surface(net, directions(net, 2), points, shown)
    for one, other in zip(before, after, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-3)
    assert sharpness(net, shown).eigenvalue == pytest.approx(bent, rel=1e-2)


@pytest.mark.parametrize("name", ["resnet8-cifar", "plain8-cifar", "resnet8-cifar-join=gate"])
def test_nothing_changes_the_network(name: str) -> None:
    net, shown = network(name), [batch()]
    net.get_submodule("head").eval()  # a mixture of modes is restored, too
    before = {key: value.clone() for key, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    surface(net, directions(net, 0), [(0.5, 0.5)], shown)
    sharpness(net, shown, steps=2)
    after = net.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert [module.training for module in net.modules()] == modes
    assert all(value.grad is None for value in net.parameters())


class Softmax(nn.Module):
    """A linear layer, of which the Hessian can be written down."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 2 * 2, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x.flatten(1))


@pytest.mark.parametrize("filters", [False, True])
def test_the_eigenvalue_is_that_of_the_whole_hessian(filters: bool) -> None:
    torch.manual_seed(0)
    net, shown = Softmax(), batch(30, 2)
    x, p = shown.images.flatten(1), net(shown.images).softmax(1).detach()
    bends = torch.einsum("na,ab->nab", p, torch.eye(4)) - torch.einsum("na,nb->nab", p, p)
    hessian = torch.einsum("nab,ni,nj->aibj", bends, x, x).reshape(48, 48) / len(x)
    if filters:
        units = net.linear.weight.detach().norm(dim=1).repeat_interleave(12)
        hessian = units[:, None] * hessian * units
    expected = float(torch.linalg.eigvalsh(hessian)[-1])

    found = sharpness(net, halves(shown), filters=filters)

    assert found.eigenvalue == pytest.approx(expected, rel=1e-2)
    assert found.residual < 0.2 and found.steps < 100


def test_curvature_is_that_of_small_steps() -> None:
    """The curvature along a direction is how the loss bends there, where no kink adds to it."""
    net, shown = network(), [batch()]
    for name, module in list(net.named_modules()):
        if isinstance(module, nn.ReLU):
            net.set_submodule(name, nn.Tanh())
    own = weights(net)
    units = {name: torch.ones_like(value) for name, value in own.items()}
    vector = landscapes.unit(directions(net, 7)[0])
    image = landscapes.curvature(net, own, vector, units, shown)
    step = 0.1
    losses = [each.loss for each in surface(net, [vector], [(-step,), (0,), (step,)], shown)]
    bend = (losses[0] - 2 * losses[1] + losses[2]) / step**2
    assert landscapes.inner(vector, image) == pytest.approx(bend, rel=0.1)


def test_a_way_lies_in_its_plane() -> None:
    generator = torch.Generator().manual_seed(0)
    end = {"a": torch.randn(4, 3, generator=generator), "b": torch.randn(5, generator=generator)}
    one, other = (
        {k: torch.randn(v.shape, generator=generator) for k, v in end.items()} for _ in "xy"
    )
    places = [(5.0, 1.0), (3.0, -2.0), (1.0, 0.5)]
    snapshots = [{k: v + x * one[k] + y * other[k] for k, v in end.items()} for x, y in places]

    found = path(snapshots, end)

    assert sum(found.shares) == pytest.approx(1)
    assert found.points[-1] == (0.0, 0.0) and found.points[0][0] > 0
    first, second = found.axes
    assert landscapes.inner(first, second) == pytest.approx(0, abs=1e-5)
    assert landscapes.inner(first, first) == pytest.approx(1, abs=1e-5)
    for snapshot, (x, y) in zip(snapshots, found.points, strict=False):
        for name, value in snapshot.items():
            again = end[name] + x * first[name] + y * second[name]
            torch.testing.assert_close(again, value, atol=1e-4, rtol=1e-4)


def test_a_way_takes_two_snapshots() -> None:
    end = {"a": torch.zeros(2, 2)}
    with pytest.raises(Refused, match="two snapshots"):
        path([{"a": torch.ones(2, 2)}], end)


def test_far_away_a_loss_need_not_be_finite() -> None:
    net = network("plain8-cifar")
    found = surface(net, directions(net, 0), [(1e20, 0.0)], [batch()])[0]
    assert not math.isfinite(found.loss) or found.loss > 1e10
