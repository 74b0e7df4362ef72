"""Highway networks: their equation, their counts, and what they contain."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from residua import networks
from residua.errors import Refused
from residua.networks.graph import graph
from residua.networks.highway import convolution, highway
from residua.networks.network import Network
from residua.networks.residual import Gated
from residua.networks.shortcuts import Gate

# (depth, parameters, multiply-adds, parameters that the paper prints)
CIFAR_COUNTS = (
    (11, 236_328, 32_139_716, 236_000),
    (19, 2_256_838, 330_826_728, 2_300_000),
    (32, 1_264_502, 230_089_704, 1_250_000),
)


def on_meta(name: str, classes: int | None = None, channels: int = 3) -> Network:
    with torch.device("meta"):
        return networks.build(name, classes, channels)


def parameters(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def gates(network: nn.Module) -> dict[str, Gate]:
    return {name: module for name, module in network.named_modules() if isinstance(module, Gate)}


def with_bias(block: nn.Module, bias: float) -> None:
    """Set the bias of every gate in `block`."""
    for gate in gates(block).values():
        assert gate.layer.bias is not None
        nn.init.constant_(gate.layer.bias, bias)


# The layer.


def block(kind: str, bias: float) -> tuple[Gated, Tensor]:
    """A block of six units or channels with random weights, and something to put through it."""
    if kind == "linear":
        return highway(lambda: nn.Linear(6, 6), bias), torch.randn(4, 6)
    return highway(lambda: convolution(6, 6, 3), bias), torch.randn(2, 6, 5, 7)


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_a_block_computes_its_equation(kind: str) -> None:
    torch.manual_seed(0)
    made, x = block(kind, -1)
    made.gate.reset_parameters()
    s = made.state_dict()

    def layer(prefix: str) -> Tensor:
        weight, bias = s[f"{prefix}.weight"], s[f"{prefix}.bias"]
        return F.linear(x, weight, bias) if kind == "linear" else F.conv2d(x, weight, bias, 1, 1)

    h, t = layer(f"branch.{kind}").relu(), layer("gate.layer").sigmoid()

    torch.testing.assert_close(made(x), t * h + (1 - t) * x)
    assert bool((s["gate.layer.bias"] == -1).all())


@pytest.mark.parametrize("kind", ["linear", "conv"])
@given(seed=st.integers(0, 2**16), scale=st.floats(0.1, 100))
def test_shut_gates_carry_and_open_gates_transform(kind: str, seed: int, scale: float) -> None:
    torch.manual_seed(seed)
    made, x = block(kind, 0)
    x = x * scale

    with_bias(made, -math.inf)
    assert torch.equal(made(x), x)
    with_bias(made, math.inf)
    assert torch.equal(made(x), made.branch(x))


@given(seed=st.integers(0, 2**16), bias=st.floats(-10, 10))
def test_a_result_lies_between_what_is_carried_and_what_is_transformed(
    seed: int, bias: float
) -> None:
    torch.manual_seed(seed)
    made, x = block("linear", bias)
    with_bias(made, bias)
    h, y = made.branch(x), made(x)
    tolerance = 1e-5

    assert bool((y >= torch.minimum(x, h) - tolerance).all())
    assert bool((y <= torch.maximum(x, h) + tolerance).all())


@given(seed=st.integers(0, 2**16), bias=st.floats(-20, 20))
def test_coupled_gates_never_compute_a_residual_block(seed: int, bias: float) -> None:
    """x + H(x) needs T = 1 and 1 - T = 1; where both are positive, the most is the larger one."""
    torch.manual_seed(seed)
    made, x = block("linear", bias)
    with_bias(made, bias)
    x = x.abs() + 0.1
    h = made.branch(x)
    both = h > 0.1

    assert bool((made(x) < x + h)[both].all())


# Fully connected.


@pytest.mark.parametrize("depth", [10, 20, 50, 100])
@pytest.mark.parametrize(("family", "each"), [("highway", 5_100), ("plain", 5_112)])
def test_layers_have_the_papers_parameters(family: str, each: int, depth: int) -> None:
    network = on_meta(f"{family}{depth}-fc", channels=1)
    layers = list(network.features.stage1.children())
    width = 50 if family == "highway" else 71

    assert {parameters(layer) for layer in layers} == {each}
    assert 1 + len(layers) == network.depth == depth
    total = 785 * width + (depth - 1) * each + (width + 1) * 10
    drawn = graph(network, (1, 28, 28))
    assert parameters(network) == drawn.parameters == total
    weights = [w for w in network.parameters() if w.ndim > 1]  # each meets one position
    assert drawn.multiply_adds == sum(weight.numel() for weight in weights)


def test_totals_of_fully_connected_networks() -> None:
    assert parameters(on_meta("highway50-fc", channels=1)) == 289_660
    assert parameters(on_meta("plain50-fc", channels=1)) == 306_943


def test_a_network_of_open_gates_is_its_plain_twin() -> None:
    """Highway networks contain plain ones, and with shut gates the network of one hidden layer."""
    gated = networks.build("highway10-fc", 5).eval()
    plain = networks.build("plain10-fc-width=50", 5).eval()
    images = torch.randn(3, 3, 28, 28)

    with torch.no_grad():
        with_bias(gated, math.inf)
        assert torch.equal(gated(images), plain(images))
        with_bias(gated, -math.inf)
        shallow = plain.features.last(plain.features.stem(images))
        assert torch.equal(gated(images), plain.head(shallow))


@pytest.mark.parametrize("size", [(28, 28), (1, 1), (32, 40), (224, 224)])
def test_images_of_any_size_are_averaged_to_28x28(size: tuple[int, int]) -> None:
    network = on_meta("highway10-fc", 4)

    features = network.features(torch.empty(2, 3, *size, device="meta"))

    assert features.shape == (2, 50, 1, 1)
    assert network(torch.empty(2, 3, *size, device="meta")).shape == (2, 4)


def test_images_of_28x28_are_left_as_they_are() -> None:
    stem: Any = networks.build("plain10-fc").features.stem
    images = torch.randn(2, 3, 28, 28)

    assert torch.equal(stem.pool(images), images)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("highway1-fc", "at least 2 hidden layers"),
        ("plain0-fc", "at least 2 hidden layers"),
        ("highway10-fc-width=50.5", "whole number"),
        ("highway20-cifar", "nearest is 19"),
        ("highway64-cifar", "choose a depth of 11, 19, 32; nearest is 32"),
    ],
)
def test_impossible_networks_are_refused(name: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        networks.build(name)


# Convolutional.


@pytest.mark.parametrize(("depth", "weights", "multiply_adds", "printed"), CIFAR_COUNTS)
def test_reconstructions_have_the_printed_sizes(
    depth: int, weights: int, multiply_adds: int, printed: int
) -> None:
    network = on_meta(f"highway{depth}-cifar")
    drawn = graph(network, (3, 32, 32))

    assert parameters(network) == drawn.parameters == weights
    assert drawn.multiply_adds == multiply_adds
    assert abs(weights - printed) < 0.03 * printed


@pytest.mark.parametrize("depth", [11, 19, 32])
def test_depth_counts_weighted_layers_without_gates(depth: int) -> None:
    network = on_meta(f"highway{depth}-cifar")
    weighted = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "gate" not in name.split(".")
    ]

    assert len(weighted) == network.depth == depth


@pytest.mark.parametrize(
    ("depth", "widths"), [(11, (16, 32, 64)), (19, (32, 80, 128)), (32, (32, 64, 96))]
)
def test_stages_halve_the_image(depth: int, widths: tuple[int, int, int]) -> None:
    features = on_meta(f"highway{depth}-cifar").features
    x = features.stem(torch.empty(1, 3, 32, 32, device="meta"))

    for stage, width in enumerate(widths):
        x = features.get_submodule(f"stage{stage + 1}")(x)
        assert x.shape == (1, width, 32 >> stage, 32 >> stage)


def test_gates_are_where_the_width_stays_and_have_the_kernel_of_their_branch() -> None:
    for depth, count in ((11, 6), (19, 14), (32, 27)):
        network = on_meta(f"highway{depth}-cifar")
        found = gates(network)

        assert len(found) == count
        for name, gate in found.items():
            assert name.endswith(".gate")
            conv: Any = network.get_submodule(name.replace(".gate", ".branch.conv"))
            assert isinstance(gate.layer, nn.Conv2d)
            assert gate.layer.weight.shape == conv.weight.shape
            assert gate.layer.padding == conv.padding


def test_kernels_of_32_layers_alternate() -> None:
    network = on_meta("highway32-cifar")
    sizes = [
        module.kernel_size[0]
        for name, module in network.features.named_modules()
        if isinstance(module, nn.Conv2d) and "gate" not in name.split(".")
    ]

    assert len(sizes) == 31
    assert set(pairwise(sizes[:-1])) == {(3, 1), (1, 3)}
    assert sizes[-1] == 1


@pytest.mark.parametrize("name", ["highway10-fc", "highway11-cifar"])
def test_gates_start_from_their_bias(name: str) -> None:
    for wanted, network in (
        (-2.0, networks.build(name)),
        (-5.5, networks.build(f"{name}-bias=-5.5")),
    ):
        for gate in gates(network).values():
            assert gate.layer.bias is not None
            assert gate.layer.bias.unique().tolist() == [wanted]


@pytest.mark.parametrize(
    "name", ["highway10-fc", "plain10-fc", "highway11-cifar", "highway32-cifar"]
)
def test_gradients_reach_every_parameter(name: str) -> None:
    network = networks.build(name, 5)
    images = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    F.cross_entropy(network(images), torch.tensor([0, 4, 1, 2, 3, 0])).backward()

    for parameter, weight in network.named_parameters():
        assert weight.grad is not None, parameter
        assert bool(weight.grad.isfinite().all()), parameter
        assert bool(weight.grad.any()), parameter


def test_evaluation_is_deterministic_and_training_drops() -> None:
    network = networks.build("highway11-cifar", 5)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert not torch.equal(network(images), network(images))
        network.eval()
        assert torch.equal(network(images), network(images))
