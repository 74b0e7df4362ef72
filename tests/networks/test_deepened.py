"""A deeper network computes what the shallow one does, to the bit, wherever that is possible."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from residua import checkpoints, datasets, networks
from residua.errors import Refused
from residua.networks.deepened import Signal, deepened, difference, rectified, unchanged
from residua.networks.network import Network

SMALL = (
    ("plain8-cifar", 20),
    ("plain8-cifar-norm=none", 14),
    ("resnet8-cifar", 20),
    ("resnet8-cifar-c", 14),
    ("resnet8-cifar-d", 14),
    ("resnet8-cifar-shortcut=scaled", 14),
    ("resnet8-cifar-shortcut=gated", 14),
    ("resnet8-cifar-shortcut=dropout", 14),
    ("resnet8-cifar-join=mean", 14),
    ("resnet8-cifar-join=gate", 14),
    ("resnet8-cifar-join=norm_after", 14),
    ("resnet8-cifar-join=relu_before", 14),
    ("resnet8-cifar-join=relu_first", 14),
    ("resnet11-cifar-bottleneck", 20),
    ("resnet8-cifar-se-blur", 14),
    ("resnet8-cifar-survival=0.5", 14),
    ("resnet8-cifar-norm=group", 14),
    ("resnet8-cifar-norm=none", 14),
    ("resnet8-cifar-norm=fixup", 14),
    ("resnet8-cifar-norm=skipinit", 14),
    ("preact11-cifar", 20),
    ("preact8-cifar-branch=basic", 14),
    ("wide10-cifar-1", 16),
    ("sprint11-cifar-width=1", 17),
    ("highway4-fc", 9),
    ("plain4-fc", 9),
)
LARGE = (
    ("plain18", 34),
    ("resnet18", 34),
    ("resnet50", 101),
    ("vgg11-bn", 13),
)
STEADY = ("resnet8-cifar", "resnet8-cifar-norm=none", "preact8-cifar-branch=basic", "plain4-fc")


def lived(name: str, seed: int = 0) -> Network:
    """A network whose norms, biases and running statistics are as if it had learned."""
    network = networks.build(name, 10, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor, low, high in (
                (norm.weight, 0.3, 1.5), (norm.bias, -0.4, 0.4),
                (norm.running_mean, -0.4, 0.4), (norm.running_var, 0.3, 2.0),
            ):  # fmt: skip
                assert tensor is not None
                tensor.data.uniform_(low, high, generator=generator)
        elif isinstance(norm, nn.Conv2d | nn.Linear) and norm.bias is not None:
            norm.bias.data.normal_(0, 0.2, generator=generator)
    return network.eval()


def images(network: Network, side: int, count: int = 4) -> torch.Tensor:
    return torch.randn(
        count, network.channels, side, side, generator=torch.Generator().manual_seed(1)
    )


@pytest.mark.parametrize(("name", "depth"), SMALL)
def test_no_bit_differs(name: str, depth: int) -> None:
    network = lived(name)
    before = copy.deepcopy(network.state_dict())

    deep = deepened(network, depth)

    assert deep.depth == depth and not deep.training
    assert difference(network, deep, images(network, 32)) == 0.0
    expected = networks.build(deep.name, 10).state_dict()
    assert {k: v.shape for k, v in deep.state_dict().items()} == {
        k: v.shape for k, v in expected.items()
    }
    assert len(expected) > len(before)
    for path, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[path]), path
        assert torch.equal(deep.state_dict()[path], tensor), path


@pytest.mark.parametrize(("name", "depth"), LARGE)
def test_no_bit_differs_for_photographs(name: str, depth: int) -> None:
    network = lived(name)
    assert difference(network, deepened(network, depth), images(network, 64, 2)) == 0.0


def test_the_papers_depths_one_after_another_on_real_images() -> None:
    pixels = datasets.load("digits").splits["test"].images
    shown = torch.as_tensor(pixels)[:32].permute(0, 3, 1, 2).float() / 255 - 0.3
    for name in ("plain20-cifar", "resnet20-cifar"):
        network = lived(name)
        for depth in (56, 110):
            deep = deepened(network, depth)
            assert difference(network, deep, shown) == 0.0
            assert difference(network, deep, torch.randn(4, 3, 32, 32)) == 0.0
            network = deep
        assert network.name == name.replace("20", "110")


def test_weights_that_ship_become_deeper() -> None:
    network = checkpoints.open_weights("resnet20-cifar10").build()
    assert difference(network, deepened(network, 56), images(network, 32, 8)) == 0.0


@pytest.mark.parametrize("name", STEADY)
def test_nothing_changes_in_training_either(name: str) -> None:
    network = lived(name).train()
    deep = deepened(network, 14)
    assert deep.training
    shown = images(network, 32, 8)
    assert torch.equal(network(shown), deep(shown))


def test_a_plain_network_nearly_stays_in_training() -> None:
    network = lived("plain8-cifar").train()
    deep = deepened(network, 32)
    shown = images(network, 32, 16)
    with torch.no_grad():
        logits, others = network(shown), deep(shown)
    assert 0 < float((others - logits).abs().max()) < 0.25 * float(logits.std())


def test_every_new_layer_learns() -> None:
    for name in ("plain8-cifar", "resnet8-cifar", "resnet8-cifar-join=gate"):
        deep = deepened(lived(name), 14).train()
        rate = torch.optim.SGD(deep.parameters(), lr=0.05)
        start = {path: value.clone() for path, value in deep.named_parameters()}
        for _ in range(3):  # a branch whose last scale is zero needs one step to be reached
            rate.zero_grad()
            F.cross_entropy(deep(images(deep, 16)), torch.arange(4)).backward()
            rate.step()
        still = [path for path, value in deep.named_parameters() if torch.equal(value, start[path])]
        assert not still


def test_a_pruned_network_grows_back() -> None:
    network = lived("resnet20-cifar-blocks=3.1.2")
    deep = deepened(network, 20)
    assert deep.name == "resnet20-cifar"
    assert difference(network, deep, images(network, 32)) == 0.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(st.floats(1e-3, 100), st.floats(-5, 5), st.integers(0, 1000))
def test_a_norm_that_is_unchanged_gives_back_what_it_gets(
    dtype: torch.dtype, deviation: float, mean: float, seed: int
) -> None:
    norm = nn.BatchNorm2d(1).to(dtype).eval()
    x = torch.randn(2, 1, 5, 5, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    with torch.no_grad():
        signal = Signal(torch.tensor([mean], dtype=dtype), torch.tensor([deviation], dtype=dtype))
        unchanged(norm, signal)
        assert torch.equal(norm(x), x)
    assert norm.weight.item() == pytest.approx(max(deviation, 2**-7), rel=0.04)


def test_the_signal_behind_a_relu_is_that_of_a_rectified_gaussian() -> None:
    norm = nn.BatchNorm2d(3)
    norm.weight.data = torch.tensor([1.0, -0.5, 2.0])
    norm.bias.data = torch.tensor([0.0, -0.3, 1.0])
    x = torch.randn(200_000, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        values = F.relu(norm(x)).flatten(1)
        found = rectified(norm)
    assert found is not None
    torch.testing.assert_close(found.mean, values.mean(0), atol=0.01, rtol=0)
    torch.testing.assert_close(found.deviation, values.std(0), atol=0.01, rtol=0)


@pytest.mark.parametrize(
    ("name", "depth", "words"),
    [
        ("resnet20-cifar", 20, "not more than the 20.*such as 32 or 44"),
        ("resnet20-cifar", 57, "must be 6n\\+2.*56 and 62"),
        ("resnet18", 35, "no 35-layer.*nearest is 34"),
        ("resnet34", 50, "other shapes.*no deeper network of its family"),
        ("resnet18", 50, "other shapes.*such as 34"),
        ("highway11-cifar", 19, "other shapes"),
        ("nin-cifar", 12, "has one depth"),
        ("plain11-cifar-bottleneck", 20, "changes the number of channels"),
        ("plain8-cifar-norm=group", 14, "each image's own statistics"),
        ("preact8-cifar-branch=basic-shortcut=C", 14, "activates before its shortcut"),
        ("resnet8-cifar-join=relu_first-shortcut=scaled", 14, "may be negative"),
    ],
)
def test_what_cannot_be_is_refused_with_the_rule(name: str, depth: int, words: str) -> None:
    network = networks.build(name, 10)
    with pytest.raises(Refused, match=f"(?s){words}"):
        deepened(network, depth)


def test_an_altered_network_is_refused() -> None:
    network = lived("resnet8-cifar")
    network.features.get_submodule("stage2").add_module("extra", nn.BatchNorm2d(32))
    with pytest.raises(Refused, match="other shapes"):
        deepened(network, 14)
