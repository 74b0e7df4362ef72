"""Every network by name: what names mean, and what every network promises."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from residua import networks
from residua.errors import Refused
from residua.networks import NETWORKS
from residua.networks.network import Network

DEAR = ("110", "101", "152")  # these run without data only
GIANTS = ("1202", "1001")  # nor do these, more than a few times
CHEAP = tuple(
    name for name in networks.names() if not any(depth in name for depth in DEAR + GIANTS)
)


def images(network: Network, batch: int = 2) -> torch.Tensor:
    """Return images of the smallest size that two by two positions remain of."""
    generator = torch.Generator().manual_seed(1)
    size = 2 * network.stride
    return torch.randn(batch, network.channels, size, size, generator=generator)


def on_meta(name: str, classes: int | None = None, channels: int = 3) -> Network:
    with torch.device("meta"):
        return networks.build(name, classes, channels)


@pytest.mark.parametrize("name", CHEAP)
def test_gradients_reach_every_parameter(name: str) -> None:
    network = networks.build(name, 5)
    logits = network(images(network))
    nn.functional.cross_entropy(logits, torch.tensor([0, 4])).backward()

    assert logits.shape == (2, 5)
    for parameter, weight in network.named_parameters():
        assert weight.grad is not None, parameter
        assert bool(weight.grad.isfinite().all()), parameter
        assert bool(weight.grad.any()), parameter


@pytest.mark.parametrize("name", CHEAP)
def test_training_moves_statistics_and_evaluation_moves_nothing(name: str) -> None:
    network = networks.build(name, 5)
    x = images(network, 3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with torch.no_grad():
        network(x)
        after = {key: value.clone() for key, value in network.state_dict().items()}
        network.eval()
        whole, alone = network(x), network(x[:1])

    moved = {key for key in before if not torch.equal(before[key], after[key])}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert moved == {key for key in before if key.endswith(statistics)}
    assert all(torch.equal(after[key], value) for key, value in network.state_dict().items())
    torch.testing.assert_close(whole[:1], alone, rtol=1e-3, atol=1e-3 * whole.abs().max().item())


@pytest.mark.parametrize("name", CHEAP)
def test_saved_weights_make_the_same_function(name: str) -> None:
    saved, loaded = networks.build(name, 5).eval(), on_meta(name, 5).eval()
    x = images(saved)
    loaded.to_empty(device="cpu").load_state_dict(saved.state_dict())
    with torch.no_grad():
        assert torch.equal(saved(x), loaded(x))
        assert torch.equal(saved(x), saved.head(saved.features(x)))


@pytest.mark.parametrize("name", [n for n in networks.names() if not any(d in n for d in GIANTS)])
def test_every_network_is_head_of_features(name: str) -> None:
    network = on_meta(name).eval()
    size = 2 * network.stride

    features = network.features(torch.empty(2, 3, size, size, device="meta"))

    assert network.name == name
    assert features.shape[2:] == (2, 2)
    assert network.head(features).shape == (2, network.classes)
    assert next(iter(network.features.named_children()))[0] == "stem"


@pytest.mark.parametrize("name", networks.names())
def test_depth_counts_weighted_layers(name: str) -> None:
    network = on_meta(name)
    weighted = [
        path
        for path, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "shortcut" not in path
    ]
    assert len(weighted) == network.depth


@given(depth=st.integers(0, 130), kind=st.sampled_from(["plain", "resnet"]))
@settings(deadline=None, max_examples=40)
def test_small_image_depths_are_6n_plus_2(depth: int, kind: str) -> None:
    name = f"{kind}{depth}-cifar"
    if depth >= 8 and depth % 6 == 2:
        network = on_meta(name)
        layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        assert len(layers) == network.depth == depth
        return
    with pytest.raises(Refused) as refused:
        networks.build(name)
    assert "6n+2" in refused.value.what
    nearest = [int(word) for word in refused.value.fix.replace(",", " ").split() if word.isdigit()]
    assert all(near >= 8 and near % 6 == 2 for near in nearest)
    assert min(nearest) == max(8, (depth - 2) // 6 * 6 + 2)


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("resnet50", "resnet50-v1"),
        ("resnet50-v1.5", "resnet50-stride=3x3"),
        ("resnet34-a", "resnet34-shortcut=A"),
        ("resnet20-cifar", "resnet20-cifar-a"),
        ("preact164-cifar", "preact164-cifar-bottleneck-b"),
    ],
)
def test_short_names_mean_the_long_ones(name: str, same: str) -> None:
    one, other = on_meta(name), on_meta(same)

    assert str(one) == str(other)
    assert (one.name, other.name) == (name, same)


@pytest.mark.parametrize("name", ["resnet18", "resnet20-cifar-b", "plain20-cifar", "preact18-c"])
@pytest.mark.parametrize(("classes", "channels"), [(1, 1), (3, 4), (100, 3)])
def test_classes_and_channels_are_free(name: str, classes: int, channels: int) -> None:
    network = on_meta(name, classes, channels)
    x = torch.empty(2, channels, 33, 65, device="meta")

    assert network(x).shape == (2, classes)
    assert (network.classes, network.channels) == (classes, channels)


def test_the_papers_class_counts_are_the_default() -> None:
    assert on_meta("resnet18").classes == 1000
    assert on_meta("resnet20-cifar").classes == 10


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnt50", 'did you mean "resnet50"?'),
        ("ResNet-50", 'did you mean "resnet50"?'),
        ("resnet20-cifra", 'no option named "cifra"'),
        ("resnet21-cifar", "the nearest are 20 and 26"),
        ("resnet2-cifar", "the nearest are 8 and 14"),
        ("preact163-cifar", "the nearest are 155 and 164"),
        ("resnet35", "nearest is 34"),
        ("resnet50-v3", "known: .*stride=3x3"),
        ("resnet50-d", "known: shortcut=B, shortcut=A, shortcut=C"),
        ("resnet20-cifar-stride=3x3", "known: shortcut=A.*branch=bottleneck"),
        ("", "no network named"),
        ("resnet", "no network named"),
    ],
)
def test_impossible_names_are_refused_with_what_would_do(name: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        networks.build(name)


@pytest.mark.parametrize("numbers", [(0, 3), (10, 0), (-1, 3)])
def test_a_network_needs_a_class_and_a_channel(numbers: tuple[int, int]) -> None:
    with pytest.raises(Refused, match=f"classes={numbers[0]}, channels={numbers[1]}"):
        networks.build("resnet20-cifar", *numbers)


def test_names_are_unique_and_of_registered_families() -> None:
    names = networks.names()

    assert len(names) == len(set(names)) == sum(len(family.depths) for family in NETWORKS.values())
    assert {"resnet50", "plain34", "resnet1202-cifar", "preact1001-cifar"} <= set(names)
