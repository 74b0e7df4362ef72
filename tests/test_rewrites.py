"""Views compute what their networks do, keep less where asked, and change nothing else."""

import copy
from collections.abc import Iterator

import pytest
import torch
from stepping import built, distance, images, stepped
from torch import nn
from torch.nn import functional as F

from residua import networks
from residua.errors import Refused
from residua.networks.network import Network
from residua.rewrites import norm_relu
from residua.rewrites.chain import KEEPS
from residua.rewrites.fused import Block, Line, fused
from residua.rewrites.weight_gradient import suits, weight_gradient

# Name, pixels, and whether it has blocks that run as one operation.
SUBJECTS = [
    ("resnet20-cifar", 16, True),
    ("resnet20-cifar-shortcut=B-branch=bottleneck", 16, True),
    ("plain20-cifar", 16, True),
    ("preact11-cifar", 16, False),
    ("wide16-cifar-width=2", 16, False),
    ("resnet18", 64, True),
    ("resnet50", 64, True),
    ("resnet50-v1.5", 64, True),
    ("resnext50", 64, True),
    ("resnet18-se", 64, False),
    ("resnet18-d", 64, True),
    ("resnet20-cifar-join=gate", 16, True),
    ("resnet20-cifar-norm=group", 16, False),
    ("vgg16-bn", 64, False),
    ("bn-inception", 64, False),
]
NAMES = [name for name, _, _ in SUBJECTS]


@pytest.fixture(params=["native", "torch"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Run a test with the C++ functions and without."""
    if request.param == "torch":
        monkeypatch.setattr(norm_relu, "library", lambda: (None, "turned off"))
    elif norm_relu.library()[0] is None:
        pytest.skip(norm_relu.library()[1])
    return str(request.param)


@pytest.mark.parametrize(("name", "pixels", "blocks"), SUBJECTS, ids=NAMES)
def test_a_view_computes_what_its_network_does(name: str, pixels: int, blocks: bool) -> None:
    """In float64, where no rounding hides a mistake; torch's own operators do the arithmetic."""
    network, x = built(name).double(), images(pixels, batch=2).double()
    plain = stepped(network, network, x)
    for keep in KEEPS:
        view = fused(network, keep)
        assert any(isinstance(module, Block) for module in view.modules()) == blocks
        assert distance(stepped(network, view, x), plain) < 1e-8


@pytest.mark.parametrize("name", ["resnet20-cifar", "plain20-cifar", "resnet18", "preact11-cifar"])
def test_fusing_rounds_as_little_as_the_network_does(library: str, name: str) -> None:
    """Against float64: fused in float32 as the network in float32, in bf16 as autocast.

    A ReLU whose input is near zero turns a rounding error into an error of its gradient, so that
    neither is ever exact.
    """
    network, x = built(name), images(32, batch=8)
    wide = copy.deepcopy(network).double()
    exact = stepped(wide, wide, x.double())
    plain, half = stepped(network, network, x), stepped(network, network, x, amp=True)
    for keep in KEEPS:
        view = fused(network, keep)
        assert distance(stepped(network, view, x), exact) < 3 * distance(plain, exact) + 2e-3
        rounded = stepped(network, view, x, amp=True)
        assert distance(rounded, exact) < 1.3 * distance(half, exact) + 2e-3


@pytest.mark.parametrize("keep", KEEPS)
def test_what_is_rebuilt_is_what_was(library: str, keep: str) -> None:
    """The choice of what to keep changes no bit where the C++ functions rebuild."""
    network, x = built("resnet20-cifar"), images(16)
    everything = stepped(network, fused(network, "all"), x, amp=True)
    found = stepped(network, fused(network, keep), x, amp=True)
    if library == "native":
        assert all(torch.equal(found[name], value) for name, value in everything.items())
    else:
        assert distance(found, everything) < 0.02


def test_a_view_shares_all_that_its_network_is() -> None:
    network = built("resnet18")
    before = list(network.modules())
    view = fused(network, "lean")
    assert isinstance(view, Network)
    assert list(view.state_dict()) == list(network.state_dict())
    theirs = dict(network.named_parameters())
    assert all(weight is theirs[name] for name, weight in view.named_parameters())
    assert list(network.modules()) == before  # nothing in it was replaced
    assert not any(isinstance(module, Line | Block) for module in before)
    network.eval()
    x = images(32)
    with torch.inference_mode():
        assert torch.equal(view(x), network(x))
    with torch.no_grad():
        network.features.stem.conv.weight.mul_(2)  # type: ignore[operator, union-attr]
        assert torch.equal(view(x), network(x))


def test_a_network_without_norms_is_its_own_view() -> None:
    network = networks.build("vgg11", classes=4)
    assert fused(network) is network


def test_training_without_gradients_still_counts_the_batch() -> None:
    network, x = built("resnet20-cifar"), images(16)
    with torch.no_grad():
        fused(network)(x)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(int(norm.num_batches_tracked) == 1 for norm in norms if norm.num_batches_tracked)


def test_a_frozen_part_gets_no_gradient() -> None:
    network, x = built("resnet20-cifar"), images(16)
    network.features.requires_grad_(False)
    last = network.features.stage3[2]  # type: ignore[index]
    last.requires_grad_(True)
    wanted = stepped(network, network, x)
    found = stepped(network, fused(network), x)
    assert distance(found, wanted) < 1e-3


def test_a_strange_keep_is_refused() -> None:
    with pytest.raises(Refused, match="cannot keep"):
        fused(built("resnet20-cifar"), "some")


def test_weight_gradients_as_products_are_those_of_torch() -> None:
    """Where `suits` says so, and to no more than the rounding of bf16."""
    torch.manual_seed(0)
    conv = nn.Conv2d(128, 192, 3, padding=1, bias=False)
    x = torch.randn(4, 128, 7, 5).contiguous(memory_format=torch.channels_last)
    g = torch.randn(4, 192, 7, 5).contiguous(memory_format=torch.channels_last)
    assert suits(conv, x.bfloat16()) and not suits(conv, x)
    assert not suits(nn.Conv2d(64, 64, 3, padding=1), x.bfloat16())
    assert not suits(nn.Conv2d(128, 128, 3, 2, padding=1), x.bfloat16())
    weight = conv.weight.detach().double().requires_grad_()
    F.conv2d(x.double(), weight, padding=1).backward(g.double())
    assert weight.grad is not None
    exact = weight.grad.float()
    torch.testing.assert_close(weight_gradient(g, x), exact, rtol=1e-4, atol=1e-3)
    rounded = weight_gradient(g.bfloat16(), x.bfloat16()).float()
    assert (rounded - exact).norm() < 0.01 * exact.norm()
