"""Folded and packed views: the same results in fewer steps, the network itself unchanged."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from residua import networks
from residua.networks.network import Network, named
from residua.networks.residual import Residual
from residua.rewrites.folded import fold, folded, merged
from residua.rewrites.packed import Packed, PackedResidual, pack, possible

SIZES = {"googlenet": 64, "bn-inception": 64, "alexnet": 67, "alexnet-2014": 63, "nin": 48}
VARIANTS = [
    "resnet20-cifar-shortcut=B-se", "resnet20-cifar-shortcut=D-blur", "resnet20-cifar-shortcut=C",
    "resnet20-cifar-survival=0.5", "resnet20-cifar-shortcut=dropout", "resnet20-cifar-join=mean",
    "resnet20-cifar-join=gate", "resnet20-cifar-shortcut=gated", "resnet20-cifar-norm=group",
    "resnet20-cifar-norm=fixup", "resnet20-cifar-norm=skipinit", "preact20-cifar-branch=basic",
    "wide16-cifar-width=1-dropout=0.3", "resnet50-d", "resnext50", "googlenet-norm=batch",
    "resnet14-cifar-join=norm_after", "resnet14-cifar-join=relu_before",
    "resnet14-cifar-join=relu_first",
]  # fmt: skip
NAMES = [
    *(
        template.format(depth=min(family.depths))
        for template, family in networks.NETWORKS.items()
        if not template.startswith(("alexnet", "vgg", "wide-"))  # heads of 120 million weights
    ),
    *VARIANTS,
]


def learned(name: str, classes: int = 7) -> tuple[Network, Tensor]:
    """A network whose norms have statistics, as after training, and some inputs."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = networks.build(name, classes)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None and module.running_var is not None
                nn.init.normal_(module.running_mean, std=0.2)
                nn.init.uniform_(module.running_var, 0.3, 2)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, std=0.2)
        for value in network.parameters():
            if not value.any():  # what Fixup and SkipInit start at zero
                nn.init.normal_(value, std=0.2)
        size = max(SIZES.get(name.partition("-norm")[0], 32), network.smallest)
        return network, torch.randn(3, 3, size, size)


def furthest(found: Tensor, expected: Tensor) -> float:
    """The greatest difference, as a share of the greatest value."""
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", NAMES)
def test_views_give_what_the_network_gives(name: str) -> None:
    network, x = learned(name)
    with torch.inference_mode():
        expected = network.eval()(x)
        view = folded(network)
        assert furthest(view(x), expected) < 1e-5
        if possible():
            wide = x.contiguous(memory_format=torch.channels_last)
            packed = pack(view.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
            assert furthest(packed(wide), expected) < 1e-5
            assert furthest(packed(x), expected) < 1e-5  # whatever the order of its numbers


@pytest.mark.parametrize("name", ["resnet20-cifar", "preact20-cifar-branch=basic", "vgg11"])
def test_levels_keep_their_maps(name: str) -> None:
    """Sums are written over what nothing else needs; maps that were asked for are needed."""
    network, x = learned(name)
    with torch.inference_mode():
        network.eval()
        levels = list(network.features.levels())
        view = folded(network)
        for each in (view, pack(view)) if possible() else (view,):
            assert each.features.levels() == network.features.levels()
            before = x.clone()
            maps = zip(each.features(x, levels), network.features(x, levels), strict=True)
            assert all(furthest(found, expected) < 1e-5 for found, expected in maps)
            assert torch.equal(x, before)


@pytest.mark.parametrize("name", ["resnet20-cifar", "googlenet-norm=batch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_network_is_not_changed(name: str, dtype: torch.dtype) -> None:
    network, x = learned(name)
    network.train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    parts = {key: id(module) for key, module in network.named_modules()}
    view = folded(network, dtype)
    with torch.inference_mode():
        assert view(x).dtype == torch.float32
    assert not any(module.training for module in view.modules())
    assert all(module.training for module in network.modules())
    assert all(value.requires_grad for value in network.parameters())
    assert parts == {key: id(module) for key, module in network.named_modules()}
    after = network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    view.to(torch.float64)
    assert {value.dtype for value in network.parameters()} == {torch.float32}


def test_norms_behind_convolutions_are_gone_and_others_stay() -> None:
    def norms(network: nn.Module) -> int:
        return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())

    assert norms(folded(networks.build("resnet20-cifar"))) == 0
    assert norms(folded(networks.build("vgg11-norm=batch", 2))) == 0
    assert norms(folded(networks.build("bn-inception"))) == 0
    network = networks.build("preact20-cifar-branch=basic")
    blocks = [module for module in network.modules() if isinstance(module, Residual)]
    assert norms(folded(network)) == len(blocks) + 1  # one opens each block, one ends the last


def test_bf16_rounds() -> None:
    network, x = learned("resnet20-cifar")
    with torch.inference_mode():
        expected = network.eval()(x)
        view = folded(network, torch.bfloat16)
        assert 1e-5 < furthest(view(x), expected) < 0.03
        assert view.features(x).dtype == torch.float32
        if possible():
            assert furthest(pack(view)(x), expected) < 0.03


@settings(max_examples=25)
@given(
    st.sampled_from([1, 2, 4]),
    st.booleans(),
    st.booleans(),
    st.floats(1e-5, 1e-1),
    st.integers(0, 9999),
)
def test_a_norm_and_its_convolution_are_one(
    groups: int, bias: bool, affine: bool, epsilon: float, seed: int
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        conv = nn.Conv2d(4, 8, 3, 2, 1, groups=groups, bias=bias)
        norm = nn.BatchNorm2d(8, epsilon, affine=affine)
        assert norm.running_mean is not None and norm.running_var is not None
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0, 3)
        x = torch.randn(2, 4, 7, 7)
    pair = nn.Sequential(conv, norm).eval()
    with torch.inference_mode():
        one = merged(conv, norm)
        assert torch.allclose(one(x), pair(x), rtol=1e-4, atol=1e-4 * float(pair(x).abs().max()))


def test_a_norm_without_statistics_stays() -> None:
    layers = named(conv=nn.Conv2d(2, 2, 1), norm=nn.BatchNorm2d(2, track_running_stats=False))
    fold(layers)
    assert [name for name, _ in layers.named_children()] == ["conv", "norm"]


@pytest.mark.skipif(not possible(), reason="this torch lacks oneDNN")
def test_every_sum_of_a_residual_network_is_its_convolutions() -> None:
    view = pack(folded(networks.build("resnet20-cifar")))
    kinds = [type(module) for module in view.features.modules()]
    assert kinds.count(PackedResidual) == 9 and kinds.count(Packed) == 19
    assert nn.ReLU not in kinds and Residual not in kinds


@pytest.mark.skipif(not possible(), reason="this torch lacks oneDNN")
def test_what_cannot_be_packed_stays() -> None:
    view = folded(networks.build("resnet8-cifar"))
    view.features.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding="same"), nn.ReLU())
    kinds = [type(module) for module in pack(view).features.stem.modules()]
    assert nn.Conv2d in kinds and nn.ReLU in kinds and Packed not in kinds
