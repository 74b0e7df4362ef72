"""Deviations of layer responses against hand-written ones."""

import pytest
import torch
from torch import Tensor, nn

from residua import networks
from residua.errors import Refused
from residua.probes.responses import responses

IMAGES = torch.randn(12, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class InPlace(nn.Module):
    """A convolution without a norm, altered in place, one used twice, and one with its norm."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.bare = nn.Conv2d(3, 4, 3)
        self.again = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.point = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu_(self.bare(x))
        return self.norm(self.point(self.again(self.again(x))))


def test_they_are_deviations_after_the_norm() -> None:
    network = networks.build("resnet8-cifar", 10, seed=1).eval()
    for module in network.modules():  # as after training: no scale is that of another
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight)
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
    found = responses(network, [IMAGES[:5], IMAGES[5:]])
    assert [each.name for each in found][:2] == [
        "features.stem.conv",
        "features.stage1.0.branch.conv1",
    ]
    assert len(found) == 7  # all but the classifier
    with torch.no_grad():
        stem = network.features.get_submodule("stem")(IMAGES)
        block = network.features.get_submodule("stage1.0.branch")
        first = block.get_submodule("norm1")(block.get_submodule("conv1")(stem))
    assert found[1].norm == "features.stage1.0.branch.norm1"
    assert found[1].deviation == pytest.approx(first.std(correction=0).item(), rel=1e-5)
    last = block(stem)
    assert found[2].deviation == pytest.approx(last.std(correction=0).item(), rel=1e-5)


def test_batches_do_not_matter() -> None:
    network = networks.build("plain8-cifar", 10)
    one, many = responses(network, [IMAGES]), responses(network, IMAGES.split(5))
    for whole, parts in zip(one, many, strict=True):
        assert whole.deviation == pytest.approx(parts.deviation, rel=1e-6)


def test_the_network_is_left_as_it_was() -> None:
    network = networks.build("resnet8-cifar", 10).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    responses(network, [IMAGES])
    assert network.training
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in before.items())
    assert not any(module._forward_hooks for module in network.modules())


def test_a_convolution_without_a_norm_counts_itself() -> None:
    network = InPlace()
    found = responses(network, [IMAGES])
    assert [(each.name, each.norm) for each in found] == [("bare", ""), ("again", "")]
    with torch.no_grad():
        x = network.bare(IMAGES)
        y = network.again(x.relu())
        both = torch.stack([y, network.again(y)])
    assert found[0].deviation == pytest.approx(x.std(correction=0).item(), rel=1e-5)
    assert found[1].deviation == pytest.approx(both.std(correction=0).item(), rel=1e-5)


def test_a_network_without_such_layers_is_refused() -> None:
    with pytest.raises(Refused, match="no 3x3 convolution"):
        responses(nn.Conv2d(3, 2, 1), [IMAGES])
