"""What others changed computes what they say, goes together, and starts as it should."""

import math
from itertools import combinations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from residua import networks
from residua.networks.norms import Scale, Shift, steady
from residua.networks.residual import Gated, Residual, branches
from residua.networks.shortcuts import Carry, Gate, Scaled
from residua.networks.variants import SqueezeExcitation, StochasticDepth, blur

CHANGES = ("se", "blur", "norm=group", "norm=skipinit", "norm=fixup", "survival=0.5", "d")
PAIRS = [
    (one, other)
    for one, other in combinations(CHANGES, 2)
    if not (one.startswith("norm") and other.startswith("norm"))  # a network has one
]


def test_a_blur_is_the_binomial_filter() -> None:
    x = torch.randn(2, 3, 8, 10)
    taps = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = torch.outer(taps, taps).expand(3, 1, 3, 3)

    expected = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), kernel, stride=2, groups=3)

    torch.testing.assert_close(blur()(x), expected)


@pytest.mark.parametrize("name", ["resnet18", "resnet50-v1.5", "resnet50-v1", "preact18"])
def test_blurred_networks_subsample_in_their_first_layer_and_in_blurs_only(name: str) -> None:
    features = networks.build(f"{name}-blur", 3).features
    strided = [
        path
        for path, module in features.named_modules()
        if isinstance(module, nn.Conv2d | nn.MaxPool2d) and module.stride not in (1, (1, 1))
    ]

    assert strided == ["stem.conv"]
    assert features(torch.zeros(1, 3, 64, 64)).shape[2:] == (2, 2)


def test_a_moved_picture_moves_the_blurred_features_less() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 3, 64, 64, generator=generator)

    def change(name: str) -> float:
        network = networks.build(name, 5).eval()
        with torch.no_grad():
            maps = [network.features(torch.roll(x, shift, 3)).mean((2, 3)) for shift in (0, 1)]
        return ((maps[0] - maps[1]).norm() / maps[0].norm()).item()

    assert change("resnet18-blur") < 0.8 * change("resnet18")


def test_squeeze_and_excitation_weighs_channels() -> None:
    block = SqueezeExcitation(16, 8)
    x = torch.randn(2, 16, 5, 5)

    weights = block(x) / x

    assert torch.allclose(weights, weights[:, :, :1, :1].expand_as(weights), atol=1e-4)
    assert bool(((weights > 0) & (weights < 1)).all())


def test_every_branch_ends_in_squeeze_and_excitation() -> None:
    found = branches(networks.build("resnet50-se", 3))

    assert len(found) == 16
    assert all(isinstance(branch[-1], SqueezeExcitation) for branch in found.values())
    assert found["features.stage4.2.branch"].attention.reduce.out_channels == 2048 // 16


def test_survival_falls_to_that_of_the_last_branch() -> None:
    network = networks.build("resnet20-cifar-survival=0.4")
    rates = [m.survival for m in network.modules() if isinstance(m, StochasticDepth)]

    assert len(rates) == 9
    assert rates[-1] == pytest.approx(0.4)
    assert all(a - b == pytest.approx(0.6 / 9) for a, b in zip(rates, rates[1:], strict=False))


def test_stochastic_depth_keeps_the_mean_and_rests_in_evaluation() -> None:
    torch.manual_seed(0)
    drop, x = StochasticDepth(0.25), torch.ones(8000, 1, 1, 1)

    kept = drop.train()(x)

    assert set(kept.unique().tolist()) == {0.0, 4.0}
    assert kept.mean().item() == pytest.approx(1, abs=0.1)
    assert torch.equal(drop.eval()(x), x)


@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_changes_go_together(pair: tuple[str, str]) -> None:
    network = networks.build("resnet18-" + "-".join(pair), 4)

    logits = network(torch.randn(2, 3, 64, 64))

    assert logits.shape == (2, 4)
    assert bool(logits.isfinite().all())


@pytest.mark.parametrize("norm", ["group", "layer", "none", "fixup", "skipinit"])
@pytest.mark.parametrize("name", ["resnet18", "resnet20-cifar", "preact20-cifar-basic"])
def test_without_batch_norm_images_do_not_see_each_other(name: str, norm: str) -> None:
    network = networks.build(f"{name}-norm={norm}", 4).train()
    x = torch.randn(3, 3, 64, 64)

    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    torch.testing.assert_close(network(x)[:1], network(x[:1]), rtol=1e-4, atol=1e-5)


def test_groups_are_32_or_pairs_of_channels() -> None:
    large, small = networks.build("resnet50-gn", 3), networks.build("resnet20-cifar-gn")

    assert {m.num_groups for m in large.modules() if isinstance(m, nn.GroupNorm)} == {32}
    assert small.features.stage1[0].branch.norm1.num_groups == 8


@pytest.mark.parametrize("name", ["resnet20-cifar-skipinit", "resnet20-cifar-fixup"])
def test_blocks_without_norms_start_as_their_shortcuts(name: str) -> None:
    network = networks.build(name).eval()
    x = network.features.stem(torch.randn(2, 3, 16, 16))

    for block in (module for module in network.modules() if isinstance(module, Residual)):
        expected = block.after(block.shortcut(x))
        assert torch.equal(block(x), expected)
        x = expected


def test_fixup_scales_by_depth_and_starts_the_classifier_at_zero() -> None:
    fixup = networks.build("resnet110-cifar-fixup", seed=4)
    usual = networks.build("resnet110-cifar-none", seed=4)
    conv = "features.stage3.5.branch.conv{}.weight"

    ratio = fixup.get_parameter(conv.format(1)) / usual.get_parameter(conv.format(1))

    torch.testing.assert_close(ratio, torch.full_like(ratio, 54**-0.5))
    assert not fixup.get_parameter(conv.format(2)).any()
    assert not fixup.head.linear.weight.any()
    scalars = [m for m in fixup.features.stage1[0].branch if isinstance(m, Shift | Scale)]
    assert [type(scalar) for scalar in scalars] == [Shift, Shift, Shift, Scale, Shift]


def test_the_logits_of_a_deep_network_stay_small_only_with_its_initialization() -> None:
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        sizes = {
            norm: networks.build(f"resnet110-cifar-{norm}")(x).abs().max().item()
            for norm in ("none", "skipinit", "batch")
        }

    assert sizes["skipinit"] < 100
    assert sizes["batch"] < 100
    assert sizes["none"] > 1e6


# The shortcuts of He et al. 2016b, table 1.


def block_of(options: str) -> nn.Module:
    return networks.build(f"resnet8-cifar-{options}").eval().features.stage1[0]


def test_the_altered_shortcuts_compute_their_rows() -> None:
    x = torch.randn(2, 16, 6, 6)
    scaled, halved, dropped = (block_of(o) for o in ("scaled", "join=mean", "shortcut=dropout"))

    torch.testing.assert_close(scaled(x), (scaled.branch(x) + x / 2).relu())
    *layers, half = halved.branch
    assert isinstance(half, Scaled)
    torch.testing.assert_close(halved(x), ((nn.Sequential(*layers)(x) + x) / 2).relu())
    assert isinstance(dropped.shortcut, nn.Dropout)
    assert dropped.shortcut.p == 0.5


def test_gates_compute_their_rows() -> None:
    x = torch.randn(2, 16, 6, 6)
    exclusive, alone = block_of("join=gate-bias=-1"), block_of("shortcut=gated-bias=0")
    assert isinstance(exclusive, Gated)
    assert isinstance(alone.shortcut, Carry)

    gate = exclusive.gate(x)
    expected = (gate * exclusive.branch(x) + (1 - gate) * x).relu()

    torch.testing.assert_close(exclusive(x), expected)
    torch.testing.assert_close(
        alone(x), (alone.branch(x) + (1 - alone.shortcut.gate(x)) * x).relu()
    )
    assert alone.shortcut.gate(torch.zeros(1, 16, 1, 1)).mean().item() == pytest.approx(0.5)


@pytest.mark.parametrize(("options", "bias"), [("gate", -6.0), ("gate-bias=-2", -2.0)])
def test_gates_start_where_the_name_says(options: str, bias: float) -> None:
    gates = [m for m in networks.build(f"resnet20-cifar-{options}").modules() if type(m) is Gate]

    assert len(gates) == 7  # of 9 blocks, two change the shape
    for gate in gates:
        assert torch.equal(gate.layer.bias, torch.full((len(gate.layer.bias),), bias))


def test_where_shapes_change_altered_shortcuts_are_a() -> None:
    for shortcut in ("scaled", "gated", "dropout"):
        network = networks.build(f"resnet8-cifar-shortcut={shortcut}")
        assert type(network.features.stage2[0].shortcut).__name__ == "ZeroPad"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnext50", 25_028_904),  # 25.0 M, Xie et al. 2017, table 1
        ("resnext101-32x8d", 88_791_336),
        ("wide-resnet50", 68_883_240),  # 68.9 M, Zagoruyko & Komodakis 2016, table 8
        ("wide28-cifar", 36_479_194),  # 36.5 M, table 4
        ("wide40-cifar-4", 8_949_210),  # 8.9 M
        ("wide16-cifar-8", 10_961_370),  # 11.0 M
        ("resnet50-se", 28_088_024),
        ("resnet50-d", 25_576_264),
    ],
)
def test_counts_of_variants(name: str, parameters: int) -> None:
    with torch.device("meta"):
        network = networks.build(name)

    assert sum(weight.numel() for weight in network.parameters()) == parameters


def test_dropout_stands_before_the_last_convolution() -> None:
    branch = networks.build("wide16-cifar-1-dropout=0.3").features.stage2[1].branch

    assert [name for name, _ in branch.named_children()][-2:] == ["dropout", "conv2"]
    assert branch.dropout.p == 0.3


def test_he_allows_for_the_rectifier_of_hidden_linear_layers() -> None:
    head = networks.build("alexnet", 100).head

    assert head.linear1.weight.std().item() == pytest.approx(math.sqrt(2 / 9216), rel=0.01)
    assert head.linear3.weight.std().item() == pytest.approx(math.sqrt(1 / 4096), rel=0.01)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet20-cifar", True),
        ("resnet20-cifar-gn", True),
        ("resnet20-cifar-fixup", True),
        ("resnet20-cifar-none", False),
        ("vgg11", False),
        ("vgg11-bn", True),
        ("nin-cifar", False),
        ("highway11-cifar", False),
    ],
)
def test_norms_or_scales_keep_a_network_steady(name: str, expected: bool) -> None:
    with torch.device("meta"):
        assert steady(networks.build(name)) is expected
