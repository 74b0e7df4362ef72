"""Initial weights: He's deviations, one stream for each name, identities on request."""

import math

import pytest
import torch
from torch import Tensor, nn

from residua import networks
from residua.networks import initialize
from residua.networks.residual import Residual


def test_weights_have_the_deviations_of_he() -> None:
    network = networks.build("resnet18-a", 1000)
    conv = network.features.stage4[1].branch.conv2.weight
    linear = network.head.linear

    assert conv.std().item() == pytest.approx(math.sqrt(2 / (512 * 9)), rel=0.01)
    assert conv.mean().item() == pytest.approx(0, abs=1e-4)
    assert linear.weight.std().item() == pytest.approx(math.sqrt(1 / 512), rel=0.01)
    assert not linear.bias.any()


@pytest.mark.parametrize("name", ["googlenet", "vgg16", "alexnet", "highway32-cifar", "nin"])
def test_without_norms_the_signal_neither_grows_nor_fades(name: str) -> None:
    network, size = networks.build(name, 10).eval(), networks.parse(name)[0].size
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))

    with torch.no_grad():
        logits = network(images)

    assert 0.05 < logits.std().item() < 5


def test_norms_start_as_the_identity() -> None:
    for module in networks.build("preact11-cifar").modules():
        if isinstance(module, nn.BatchNorm2d):
            assert torch.equal(module.weight, torch.ones_like(module.weight))
            assert not module.bias.any()


@pytest.mark.parametrize(
    ("plain", "residual"),
    [
        ("plain20-cifar", "resnet20-cifar"),
        ("plain20-cifar", "resnet20-cifar-c"),
        ("plain18", "resnet18"),
    ],
)
def test_twins_share_every_draw_of_every_shared_name(plain: str, residual: str) -> None:
    one, other = (networks.build(name, 10, seed=3).state_dict() for name in (plain, residual))

    assert set(one) <= set(other)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_seed_decides_every_weight() -> None:
    one, same, other = (networks.build("resnet8-cifar", seed=seed) for seed in (1, 1, 2))

    for name, weight in one.named_parameters():
        assert torch.equal(weight, same.get_parameter(name))
        if weight.ndim > 1:
            assert not torch.equal(weight, other.get_parameter(name))


def test_every_draw_is_its_own() -> None:
    network = networks.build("resnet14-cifar")
    drawn = [weight.flatten()[:8] for weight in network.parameters() if weight.ndim > 1]

    assert len({tuple(values.tolist()) for values in drawn}) == len(drawn)


@pytest.mark.parametrize(
    "name", ["resnet20-cifar", "resnet29-cifar-bottleneck-b", "preact20-cifar"]
)
def test_zero_init_makes_every_block_its_shortcut(name: str) -> None:
    network = networks.build(name, zero_init=True).eval()
    blocks = [block for block in network.modules() if isinstance(block, Residual)]
    x = network.features.stem(torch.randn(2, 3, 16, 16))

    assert blocks
    for block in blocks:
        expected = block.after(block.shortcut(block.before(x)))
        assert torch.equal(block(x), expected)
        x = expected


def test_without_zero_init_no_block_is_its_shortcut() -> None:
    network = networks.build("resnet8-cifar").eval()
    x = torch.randn(2, 16, 8, 8)

    block = network.features.stage1[0]

    assert not torch.allclose(block(x), x.relu())


def test_on_the_meta_device_nothing_is_drawn() -> None:
    with torch.device("meta"):
        network = networks.build("resnet152")

    assert all(weight.is_meta for weight in network.parameters())


def smooth(count: int, size: int = 16) -> Tensor:
    """Images whose neighboring pixels and colors are alike, as those of photographs are."""
    noise = torch.randn(count, 3, size + 2, size + 2, generator=torch.Generator().manual_seed(2))
    mixing = torch.tensor([[1.0, 0.3, 0.1], [0.2, 1.0, 0.3], [0.4, 0.1, 1.0]])
    blurred = nn.functional.avg_pool2d(noise, 3, stride=1)
    return torch.einsum("dc,nchw->ndhw", mixing, blurred) * 2


@pytest.mark.parametrize("name", ["sprint11-cifar", "resnet8-cifar"])
def test_whitened_filters_give_uncorrelated_outputs_of_one_size(name: str) -> None:
    network, images = networks.build(name, 10), smooth(400)
    before = network.features.stem.conv.weight.clone()
    initialize.whiten(network, images)
    conv = network.features.stem.conv
    half = conv.out_channels // 2
    with torch.no_grad():
        seen = nn.functional.conv2d(images, conv.weight[:half]).transpose(0, 1).flatten(1)

    assert torch.equal(conv.weight[half:], -conv.weight[:half])
    covariance = seen @ seen.T / seen.shape[1]
    torch.testing.assert_close(covariance, torch.eye(half), atol=0.05, rtol=0)
    assert conv.weight.requires_grad and not torch.equal(conv.weight, before)


def test_whitening_keeps_what_has_no_direction_and_freezes_on_request() -> None:
    network = networks.build("resnet18", 10)  # 64 filters of 147 inputs: half of them directions
    network.features.stem.conv = nn.Conv2d(3, 30, 2)
    before = network.features.stem.conv.weight.clone()
    initialize.whiten(network, smooth(50), frozen=True)
    weight = network.features.stem.conv.weight

    assert torch.equal(weight[24:], before[24:])
    assert not torch.equal(weight[:24], before[:24])
    assert not weight.requires_grad and network.head.linear.weight.requires_grad
