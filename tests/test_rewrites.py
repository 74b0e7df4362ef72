"""Views compute what their networks do, keep less where asked, and change nothing else."""

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from residua import networks
from residua.errors import OutOfResources, Refused
from residua.networks.network import Head, Network
from residua.rewrites import norm_relu
from residua.rewrites.chain import KEEPS
from residua.rewrites.fused import Block, Line, fused
from residua.rewrites.memory import plan, saved_bytes
from residua.rewrites.recomputed import Segmented, recomputed, shared, uncounted

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


def built(name: str) -> Network:
    """A network in training, in channels_last memory, without dropout, its scales not all one."""
    network = networks.build(name, classes=4).train()
    if name.startswith("vgg"):  # its own head is 120 million weights
        network.head = Head(512, 4)
    draw = torch.Generator().manual_seed(5)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.weight.copy_(torch.rand(module.num_features, generator=draw) + 0.5)
                module.bias.copy_(torch.randn(module.num_features, generator=draw) / 4)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def images(pixels: int, batch: int = 4) -> Tensor:
    drawn = torch.randn(batch, 3, pixels, pixels, generator=torch.Generator().manual_seed(1))
    return drawn.contiguous(memory_format=torch.channels_last)


def stepped(
    network: Network, view: Network, x: Tensor, amp: bool = False, repeats: int = 1
) -> dict[str, Tensor]:
    """Logits, gradients of parameters and images, and statistics after a step, then restored."""
    state = {name: value.clone() for name, value in network.state_dict().items()}
    network.zero_grad(set_to_none=True)
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=amp):
        for _ in range(repeats):
            outputs = view.outputs(x)
    weights = torch.linspace(-1, 1, outputs[0].numel()).view_as(outputs[0])
    total = sum(((each.to(x.dtype) * weights).sum() for each in outputs), torch.zeros(()))
    total.backward()
    found = {"logits": outputs[0].detach(), "images": x.grad}
    found |= {name: weight.grad for name, weight in network.named_parameters()}
    found |= {f"{name}.": value.clone() for name, value in network.named_buffers()}
    network.load_state_dict(state)
    return {name: value.clone() for name, value in found.items() if value is not None}


def distance(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """The relative error of all tensors together, each weighed by its own size."""
    assert found.keys() == wanted.keys()
    errors = []
    for name, value in wanted.items():
        far = (found[name].double() - value.double()).norm()
        errors.append(float(far / value.double().norm().clamp_min(1e-3)))
    return sum(errors) / len(errors)


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


# Recomputation.


@pytest.mark.parametrize("segments", [1, 4, 100])
@pytest.mark.parametrize("keep", [None, "input"])
def test_recomputing_changes_no_result(segments: int, keep: str | None) -> None:
    network, x = built("resnet20-cifar"), images(16)
    inner = network if keep is None else fused(network, keep)
    view = recomputed(inner, segments)
    assert isinstance(view, Network) and list(view.state_dict()) == list(network.state_dict())
    plain, found = stepped(network, inner, x), stepped(network, view, x)
    assert all(torch.equal(found[name], value) for name, value in plain.items())


def test_statistics_count_a_batch_once_where_it_runs_twice() -> None:
    network, x = built("resnet20-cifar"), images(16)
    view = recomputed(network, 4)
    view(x).sum().backward()
    once = {name: value.clone() for name, value in network.named_buffers()}
    assert int(once["features.stage1.0.branch.norm1.num_batches_tracked"]) == 1
    other = built("resnet20-cifar")
    other(x)
    assert all(torch.equal(value, once[name]) for name, value in other.named_buffers())


def test_dropout_draws_the_same_when_it_runs_again() -> None:
    network, x = networks.build("wide16-cifar-width=1-dropout=0.5").train(), images(16)
    results = []
    for view in (network, recomputed(network, 6)):
        network.zero_grad()
        torch.manual_seed(3)
        view(x).square().sum().backward()
        results.append([weight.grad for weight in network.parameters()])
    assert all(torch.allclose(a, b) for a, b in zip(*results, strict=True))


def test_auxiliary_heads_are_kept() -> None:
    network = networks.build("googlenet-norm=batch", classes=4).train()
    assert len(recomputed(fused(network), 5).outputs(images(64, batch=2))) == 3


def test_segments_are_shared_out_in_proportion() -> None:
    assert shared(4, [10, 20, 10]) == [1, 2, 1]
    assert shared(1, [3, 3]) == [1, 1]
    assert shared(99, [3, 4]) == [3, 4]
    view = recomputed(built("resnet20-cifar"), 100)
    counts = [len(part.segments) for part in view.modules() if isinstance(part, Segmented)]
    assert counts == [3, 3, 3, 3]  # the stem's three layers, then the blocks
    with pytest.raises(Refused):
        recomputed(built("resnet20-cifar"), 0)


def test_uncounted_batches_leave_no_trace() -> None:
    network, x = built("resnet20-cifar"), images(16)
    before = {name: value.clone() for name, value in network.named_buffers()}
    with uncounted(network):
        network(x)
    assert all(torch.equal(value, before[name]) for name, value in network.named_buffers())


# Memory.


def test_less_is_kept_where_less_is_asked_for() -> None:
    network = built("resnet110-cifar")
    kept = [
        saved_bytes(view, (3, 32, 32), torch.bfloat16) / 109
        for view in (network, *(fused(network, keep) for keep in KEEPS))
    ]
    assert kept[0] >= kept[1] > 1.8 * kept[2] > 1.8 * 1.8 * kept[3]
    assert kept[2] <= 20_000  # bytes per layer and image; the convolutions' inputs are 18.7 kB


def test_what_is_kept_is_counted_exactly() -> None:
    """Of relu(norm(conv(x))) the convolution's result and its input are kept, and the image."""
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    tiny = built("resnet20-cifar")
    tiny.features = nn.Sequential(layers)  # type: ignore[assignment]
    tiny.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    tiny = tiny.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    values = 3 * 64 + 8 * 64 + 8 * 64 + 8  # image, x, y, averages
    assert saved_bytes(tiny, (3, 8, 8)) == 4 * values


def test_measuring_leaves_the_network_as_it_was() -> None:
    network = built("resnet20-cifar").eval()
    network.features.stem.train()  # type: ignore[operator, union-attr]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    random = torch.get_rng_state()
    saved_bytes(fused(network), (3, 16, 16))
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(weight.grad is None for weight in network.parameters())


def test_the_plan_is_the_fastest_that_fits() -> None:
    network, shape = built("resnet56-cifar"), (3, 32, 32)
    dtype = torch.bfloat16
    roomy = plan(network, shape, 64, 10**12, dtype)
    assert (roomy.keep, roomy.segments) == ("all", 0)
    found, limit = [roomy], roomy.bytes
    while True:
        try:
            found.append(plan(network, shape, 64, limit - 1, dtype))
        except OutOfResources as error:
            assert "needs at least" in error.what and "a batch of " in error.fix
            break
        assert found[-1].bytes < limit
        limit = found[-1].bytes
    kinds = [(each.keep, bool(each.segments)) for each in found]
    assert kinds[:3] == [("all", False), ("lean", False), ("input", False)]
    assert kinds[-1] == ("input", True)
    least = found[-1].bytes
    with pytest.raises(OutOfResources) as refused:
        plan(network, shape, 128, least, dtype)
    largest = int(refused.value.fix.split()[3])
    assert 60 <= largest < 128
    assert plan(network, shape, largest, least, dtype).bytes <= least
