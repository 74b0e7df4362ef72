"""What runs again gives the same, what is kept is measured, and the plan that fits is found."""

import pytest
import torch
from stepping import built, images, stepped
from torch import nn

from residua import networks
from residua.errors import OutOfResources, Refused
from residua.networks.network import Network
from residua.rewrites.chain import KEEPS
from residua.rewrites.fused import fused
from residua.rewrites.memory import plan, saved_bytes
from residua.rewrites.recomputed import Segmented, recomputed, shared, uncounted

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
