"""Blocks compute their equations, and networks have the papers' stages."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from residua import networks
from residua.errors import Refused
from residua.networks import residual
from residua.networks.residual import JOINS, Inner, Residual
from residua.networks.shortcuts import SHORTCUTS, ZeroPad, every_projection


def settled(module: nn.Module) -> nn.Module:
    """Put a module in evaluation, with statistics and scales that make a difference."""
    torch.manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.uniform_(norm.bias, -1, 1)
            nn.init.uniform_(norm.running_mean, -1, 1)
            nn.init.uniform_(norm.running_var, 0.5, 2)
    return module.eval()


def norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    scale, shift = state[f"{name}.weight"], state[f"{name}.bias"]
    axes = (slice(None), None, None)
    return (x - mean[axes]) / (variance[axes] + 1e-5).sqrt() * scale[axes] + shift[axes]


def conv(x: Tensor, state: dict[str, Tensor], name: str, stride: int = 1) -> Tensor:
    weight = state[f"{name}.weight"]
    return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)


def basic(x: Tensor, s: dict[str, Tensor]) -> Tensor:
    x = norm(conv(x, s, "branch.conv1", 2), s, "branch.norm1").relu()
    return norm(conv(x, s, "branch.conv2"), s, "branch.norm2")


def bottleneck(x: Tensor, s: dict[str, Tensor], first: int, second: int) -> Tensor:
    x = norm(conv(x, s, "branch.conv1", first), s, "branch.norm1").relu()
    x = norm(conv(x, s, "branch.conv2", second), s, "branch.norm2").relu()
    return norm(conv(x, s, "branch.conv3"), s, "branch.norm3")


def projected(x: Tensor, s: dict[str, Tensor]) -> Tensor:
    return norm(conv(x, s, "shortcut.conv", 2), s, "shortcut.norm")


def padded(x: Tensor, s: dict[str, Tensor]) -> Tensor:
    b, c, _, _ = x.shape
    x = x[:, :, ::2, ::2]
    return torch.cat(
        [x.new_zeros(b, c // 2, *x.shape[2:]), x, x.new_zeros(b, c // 2, *x.shape[2:])], 1
    )


def preactivated(x: Tensor, s: dict[str, Tensor]) -> Tensor:
    z = norm(x, s, "before.norm").relu()
    y = norm(conv(z, s, "branch.conv1", 2), s, "branch.norm2").relu()
    return conv(y, s, "branch.conv2") + conv(z, s, "shortcut.conv", 2)


def inner(x: Tensor, s: dict[str, Tensor]) -> Tensor:
    return norm(conv(x, s, "branch.conv1", 2), s, "branch.norm1").relu()


BRANCHES = {
    "basic": residual.basic,
    "bottleneck-1x1": partial(residual.bottleneck, inner=Inner(width=128)),
    "bottleneck-3x3": partial(residual.bottleneck, inner=Inner(width=128, stride="3x3")),
}
Equation = Callable[[Tensor, dict[str, Tensor]], Tensor]
EQUATIONS: dict[tuple[str, str, str], Equation] = {
    ("plain", "basic", "A"): lambda x, s: basic(x, s).relu(),
    ("plain", "bottleneck-1x1", "A"): lambda x, s: bottleneck(x, s, 2, 1).relu(),
    ("residual", "basic", "A"): lambda x, s: (basic(x, s) + padded(x, s)).relu(),
    ("residual", "basic", "B"): lambda x, s: (basic(x, s) + projected(x, s)).relu(),
    ("residual", "bottleneck-1x1", "B"): lambda x, s: (
        bottleneck(x, s, 2, 1) + projected(x, s)
    ).relu(),
    ("residual", "bottleneck-3x3", "C"): lambda x, s: (
        bottleneck(x, s, 1, 2) + projected(x, s)
    ).relu(),
    ("preact", "basic", "B"): preactivated,
    ("norm_after", "basic", "A"): lambda x, s: norm(
        conv(inner(x, s), s, "branch.conv2") + padded(x, s), s, "after.norm"
    ).relu(),
    ("relu_before", "basic", "A"): lambda x, s: basic(x, s).relu() + padded(x, s),
    ("relu_first", "basic", "A"): lambda x, s: basic(x.relu(), s) + padded(x, s),
}


@pytest.mark.parametrize("design", EQUATIONS, ids="-".join)
def test_a_block_computes_its_equation(design: tuple[str, str, str]) -> None:
    join, branch, shortcut = design
    block = JOINS[join](BRANCHES[branch](8, 16, 2), SHORTCUTS[shortcut](8, 16, 2))
    settled(block)
    x = torch.randn(2, 8, 9, 7)

    expected = EQUATIONS[design](x, block.state_dict())

    torch.testing.assert_close(block(x), expected)
    assert expected.shape == (2, 16, 5, 4)


@pytest.mark.parametrize("shortcut", ["A", "B"])
@pytest.mark.parametrize("join", ["residual", "preact"])
def test_between_equal_shapes_the_shortcut_is_the_identity(join: str, shortcut: str) -> None:
    block = JOINS[join](residual.basic(8, 8, 1), SHORTCUTS[shortcut](8, 8, 1))
    assert isinstance(block, Residual)
    settled(block)
    x = torch.randn(2, 8, 5, 5)

    total = x + block.branch(x)

    assert torch.equal(block(x), total.relu() if join == "residual" else total)


def test_where_only_relus_move_one_follows_the_last_unit() -> None:
    features = networks.build("resnet8-cifar-join=relu_first", 4).features
    assert isinstance(features.last, nn.ReLU)
    assert not hasattr(networks.build("resnet8-cifar-join=relu_before", 4).features, "last")


def test_option_c_projects_between_equal_shapes_too() -> None:
    assert isinstance(every_projection(8, 8, 1), nn.Sequential)


def test_zero_pad_puts_the_odd_channel_behind() -> None:
    padded = ZeroPad(3, 2)(torch.ones(1, 2, 3, 3))

    assert padded[0, :, 0, 0].tolist() == [0, 1, 1, 0, 0]
    assert padded.shape == (1, 5, 2, 2)


def test_the_last_preactivation_unit_is_followed_by_norm_and_relu() -> None:
    features = networks.build("preact18", 4).features

    assert [name for name, _ in features.stem.named_children()] == ["conv", "pool"]
    assert [name for name, _ in features.named_children()][-1] == "last"
    assert bool((features(torch.randn(1, 3, 64, 64)) >= 0).all())


@pytest.mark.parametrize("name", ["plain34", "resnet34", "resnet50", "resnet50-v1.5", "preact50"])
def test_stages_have_the_resolutions_of_table_1(name: str) -> None:
    features = networks.build(name, 10).features.to("meta")
    width = 64 if "34" in name else 256
    x = features.stem(torch.empty(1, 3, 224, 224, device="meta"))
    assert x.shape == (1, 64, 56, 56)

    for stage, resolution in enumerate((56, 28, 14, 7)):
        x = features.get_submodule(f"stage{stage + 1}")(x)
        assert x.shape == (1, width * 2**stage, resolution, resolution)


@pytest.mark.parametrize(("name", "width"), [("resnet20-cifar", 16), ("preact164-cifar", 64)])
def test_small_image_networks_have_three_stages(name: str, width: int) -> None:
    features = networks.build(name).features.to("meta")
    x = features.stem(torch.empty(1, 3, 32, 32, device="meta"))

    for stage, resolution in enumerate((32, 16, 8)):
        x = features.get_submodule(f"stage{stage + 1}")(x)
        assert x.shape == (1, width * 2**stage, resolution, resolution)


def test_only_the_stride_tells_v1_from_v1_5() -> None:
    first = networks.build("resnet50", 2).features.stage2[0].branch
    later = networks.build("resnet50-v1.5", 2).features.stage2[0].branch

    assert (first.conv1.stride, first.conv2.stride) == ((2, 2), (1, 1))
    assert (later.conv1.stride, later.conv2.stride) == ((1, 1), (2, 2))


def test_images_are_checked() -> None:
    network = networks.build("resnet18", 3)

    with pytest.raises(Refused, match=r"add a batch axis"):
        network(torch.zeros(3, 64, 64))
    with pytest.raises(Refused, match=r"build it with channels=1"):
        network(torch.zeros(1, 1, 64, 64))
    with pytest.raises(Refused, match=r"received 31x64 pixels\n.*at least 32x32"):
        network(torch.zeros(1, 3, 31, 64))
