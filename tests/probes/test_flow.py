"""Norms of gradients and activations, on any module, against hand-written ones."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from residua import networks
from residua.errors import Refused
from residua.probes.flow import carried, gradient_flow

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randn(8, 3, 16, 16, generator=GENERATOR)
LABELS = torch.randint(0, 10, (8,), generator=GENERATOR)


class Strange(nn.Module):
    """Registers layers in another order than it calls them, and hides things from a trace."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.head = nn.Linear(12, 10)
        self.unused = nn.Linear(2, 2)
        self.first = nn.Linear(3 * 16 * 16, 12)
        self.hidden = nn.ModuleList(nn.Linear(12, 12) for _ in range(4))
        self.functional = nn.Linear(12, 12)
        self.own = nn.Parameter(torch.eye(12))
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.first(x.flatten(1)) @ self.own
        for layer in self.hidden:
            if x.abs().sum() > 0:  # depends on values
                x = torch.sigmoid(layer(x))
        x = self.drop(functional.linear(x, self.functional.weight))
        return {"logits": self.head(x)}


@pytest.mark.parametrize("name", ["plain8-cifar", "resnet8-cifar", "resnet8-cifar-join=gate"])
def test_norms_are_those_of_autograd(name: str) -> None:
    network = networks.build(name, 10, seed=3).train()
    flow = gradient_flow(network, IMAGES, LABELS)
    loss = functional.cross_entropy(network(IMAGES), LABELS)
    loss.backward()
    assert flow.loss == pytest.approx(loss.item(), rel=1e-6)
    layers = [layer for layer in flow.layers if layer.kind in ("Conv2d", "Linear")]
    assert len(layers) == len(flow.layers) == sum(p.ndim > 1 for p in network.parameters())
    for layer in flow.layers:
        weight = network.get_submodule(layer.name).get_parameter("weight")
        assert weight.grad is not None
        by_hand = math.sqrt(sum(float(g) ** 2 for g in weight.grad.flatten().tolist()))
        assert layer.gradient == pytest.approx(by_hand, rel=1e-5)
    stem = network.features.get_submodule("stem").get_submodule("conv")
    with torch.no_grad():
        output = stem(IMAGES)
    assert flow.layers[0].name == "features.stem.conv"
    assert flow.activations[0] == pytest.approx(output.square().mean().sqrt().item(), rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(training: bool) -> None:
    network = networks.build("resnet8-cifar", 10).train(training)
    network.features.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    gradient_flow(network, IMAGES, LABELS)
    carried(network, IMAGES, LABELS)
    after = network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert torch.equal(random, torch.get_rng_state())
    assert all(module.training is training for module in network.modules())
    assert not any(module._forward_hooks for module in network.modules())
    assert not any(weight.requires_grad for weight in network.features.parameters())
    assert all(weight.grad is None for weight in network.parameters())


def test_a_module_of_any_kind_is_measured_and_what_is_hidden_is_said() -> None:
    flow = gradient_flow(Strange(), IMAGES, LABELS)
    order = ["network", "first", "hidden.0", "hidden.1", "hidden.2", "hidden.3", "head"]
    assert [name for name in flow.names if name in order] == order
    found = {layer.name: layer for layer in flow.layers}
    assert math.isnan(found["unused"].gradient)
    assert found["functional"].gradient > 0 and math.isnan(found["functional"].activation)
    notes = "\n".join(flow.notes)
    assert "cannot be followed" in notes and "Strange.forward" in notes
    assert "no gradient by the weights of unused" in notes
    assert "without a call of their layer: functional" in notes
    assert flow.diagnosis.direction == "vanishing" and "hidden" in flow.diagnosis.at_fault


def test_layers_that_draw_at_random_draw_alike() -> None:
    network = Strange()
    first, second = (gradient_flow(network, IMAGES, LABELS) for _ in range(2))
    assert first.gradients[:3] == second.gradients[:3] and first.loss == second.loss


def test_what_is_no_classifier_is_refused() -> None:
    with pytest.raises(Refused, match="no layer with weights"):
        gradient_flow(nn.Sequential(nn.ReLU()), IMAGES, LABELS)
    with pytest.raises(Refused, match=r"shape \(8, classes\)"):
        gradient_flow(nn.Conv2d(3, 10, 1), IMAGES, LABELS)


def sigmoids(network: nn.Module) -> nn.Module:
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.Sigmoid())
    return network


def test_directions_of_the_reference() -> None:
    sigmoid = gradient_flow(
        sigmoids(networks.build("plain20-cifar-norm=none")), IMAGES, LABELS
    ).diagnosis
    assert sigmoid.direction == "vanishing" and sigmoid.ratio < 1e-9 and "ReLU" in sigmoid.remedy
    plain = gradient_flow(networks.build("plain56-cifar"), IMAGES, LABELS).diagnosis
    assert plain.direction == "exploding" and plain.ratio >= 1e3 and plain.slope > 0
    assert "shortcut" in plain.remedy and "normalize" not in plain.remedy
    residual = gradient_flow(networks.build("resnet56-cifar"), IMAGES, LABELS).diagnosis
    assert residual.direction == "healthy" and residual.ratio < 1e2 and not residual.remedy


def test_only_shortcuts_carry_gradients_past_branches() -> None:
    whole, rest = carried(networks.build("plain8-cifar"), IMAGES, LABELS)
    assert whole > 0 and rest == 0
    network = networks.build("resnet8-cifar").train()
    whole, rest = carried(network, IMAGES, LABELS)
    x = network.features.get_submodule("stem")(IMAGES)
    x.retain_grad()
    y = x
    for stage in ("stage1", "stage2", "stage3"):
        for block in network.features.get_submodule(stage).children():
            y = block.after(block.branch(y).detach() + block.shortcut(y))  # type: ignore[operator]
    functional.cross_entropy(network.head(y), LABELS).backward()
    assert x.grad is not None
    assert rest == pytest.approx(x.grad.norm().item(), rel=1e-5)
    assert 0 < rest < whole


def test_branches_of_ones_own_are_cut_by_their_paths() -> None:
    network = networks.build("resnet8-cifar")
    alone = [f"features.stage{stage}.0.branch" for stage in (1, 2, 3)]
    assert carried(network, IMAGES, LABELS, alone) == carried(network, IMAGES, LABELS)
    with pytest.raises(Refused, match="no such branches"):
        carried(network, IMAGES, LABELS, ["features.nowhere"])
    with pytest.raises(Refused, match="no such branches"):
        carried(Strange(), IMAGES, LABELS)
