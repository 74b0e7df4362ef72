"""Blocks go, change places and are followed; the network that they are taken from stays."""

from collections.abc import Iterator
from itertools import chain, combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from residua import networks
from residua.errors import Refused
from residua.networks.network import Network
from residua.networks.residual import Residual
from residua.probes.lesions import (
    blocks_of,
    exchangeable,
    followed,
    input_gradients,
    rank_correlation,
    removable,
    reordered,
    swapped,
    without,
)

SUMS = (
    "resnet8-cifar",
    "resnet8-cifar-gate",
    "preact11-cifar",
    "sprint11-cifar",
    "resnet8-cifar-se",
)


def network(name: str) -> Network:
    """A network whose norms have statistics that matter, in evaluation mode."""
    made = networks.build(name, 4, seed=1)
    with torch.no_grad():
        made(pictures(made, 8))
    return made.eval()


def pictures(made: Network, count: int = 3) -> Tensor:
    side = max(8, made.smallest)
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def subsets(names: list[str]) -> Iterator[tuple[str, ...]]:
    return chain.from_iterable(combinations(names, size) for size in range(len(names) + 1))


@pytest.mark.parametrize(
    ("name", "count", "stuck", "free"),
    [
        ("resnet20-cifar", 9, 0, 7),
        ("plain20-cifar", 9, 2, 0),
        ("resnet20-cifar-C", 9, 0, 0),  # a projection around every block
        ("resnet20-cifar-scaled", 9, 0, 0),  # half of x is not x
        ("resnet20-cifar-gate", 9, 0, 7),
        ("resnet18", 8, 0, 5),
        ("preact20-cifar", 6, 0, 3),
        ("wide16-cifar-1", 6, 0, 3),
        ("highway10-fc", 9, 0, 9),
        ("highway11-cifar", 8, 2, 6),
        ("sprint17-cifar", 6, 0, 6),
    ],
)
def test_blocks_are_told_apart(name: str, count: int, stuck: int, free: int) -> None:
    with torch.device("meta"):
        made = networks.build(name)
    found = blocks_of(made)

    assert len(found) == count
    assert sum(not block.droppable for block in found) == stuck
    assert len(removable(made)) == free


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "nin-cifar", "googlenet"])
def test_a_network_without_blocks_is_refused(name: str) -> None:
    with torch.device("meta"):
        made = networks.build(name)
    with pytest.raises(Refused, match="has no blocks"):
        blocks_of(made)


def test_a_dropped_block_passes_its_shortcut_on() -> None:
    made = network("resnet14-cifar")
    inside = made.features.get_submodule("stage2.0")
    assert isinstance(inside, Residual)
    x = torch.randn(2, 16, 8, 8).relu()

    same = without(made, ["stage1.1"]).features.get_submodule("stage1.1")
    wider = without(made, ["stage2.0"]).features.get_submodule("stage2.0")

    assert torch.equal(same(x), x)
    assert torch.equal(wider(x), inside.shortcut(x).relu())


def test_without_its_branches_a_network_is_what_is_left() -> None:
    made = network("resnet8-cifar")
    x = pictures(made)
    by_hand = x
    for stage, module in made.features.named_children():
        if stage == "stem":
            by_hand = module(by_hand)
        else:
            block = module.get_submodule("0")
            assert isinstance(block, Residual)
            by_hand = block.shortcut(by_hand).relu()

    names = [block.name for block in blocks_of(made)]
    assert torch.equal(without(made, names)(x), made.head(by_hand))


def test_a_dropped_gated_block_carries_and_a_plain_one_passes_on() -> None:
    x = torch.randn(2, 16, 8, 8).relu()
    for name in ("resnet14-cifar-gate", "plain14-cifar"):
        dropped = without(network(name), ["stage1.0"]).features.get_submodule("stage1.0")
        assert torch.equal(dropped(x), x)


def test_a_plain_block_that_changes_the_shape_is_refused() -> None:
    with pytest.raises(Refused, match="stage2.0 .* cannot be dropped: it changes the shape"):
        without(network("plain8-cifar"), ["stage2.0"])


@pytest.mark.parametrize("names", [["stage9.0"], ["stem"]])
def test_unknown_blocks_are_refused_with_those_there_are(names: list[str]) -> None:
    with pytest.raises(Refused, match="it has stage1.0, stage2.0, stage3.0"):
        without(network("resnet8-cifar"), names)


@pytest.mark.parametrize("training", [True, False])
def test_no_lesion_alters_the_network(training: bool) -> None:
    made = network("resnet14-cifar").train(training)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    modules = [id(module) for module in made.modules()]
    names = [block.name for block in blocks_of(made)]
    x, labels = pictures(made), torch.tensor([0, 1, 2])

    lesioned = without(made, names[:3])
    order = swapped(made, 2, torch.Generator().manual_seed(0))
    for other in (lesioned, reordered(made, order), followed(made, names[1:3])):
        input_gradients(other, x, labels)
        with torch.no_grad():
            for weight in other.parameters():
                weight.add_(1)

    assert [id(module) for module in made.modules()] == modules
    assert all(module.training == training for module in made.modules())
    assert all(weight.requires_grad and weight.grad is None for weight in made.parameters())
    assert all(torch.equal(before[name], value) for name, value in made.state_dict().items())


def test_blocks_change_places() -> None:
    made = network("resnet20-cifar")
    order = [block.name for block in blocks_of(made)]
    order[1], order[2] = order[2], order[1]

    found = reordered(made, order)

    one, other = (made.features.get_submodule(f"stage1.{place}") for place in (1, 2))
    for place, source in (("stage1.2", one), ("stage1.1", other)):
        moved = found.features.get_submodule(place)
        for mine, theirs in zip(moved.parameters(), source.parameters(), strict=True):
            assert torch.equal(mine, theirs)
    back = reordered(found, order)
    x = pictures(made)
    assert torch.equal(back(x), made(x))
    assert not torch.equal(found(x), made(x))


def test_blocks_of_other_shapes_do_not_change_places() -> None:
    made = network("resnet20-cifar")
    names = [block.name for block in blocks_of(made)]
    swap = [names[3], *names[1:3], names[0], *names[4:]]
    with pytest.raises(Refused, match="their shapes differ"):
        reordered(made, swap)
    with pytest.raises(Refused, match="every block once"):
        reordered(made, names[:-1])
    assert all("2.0" not in one and "3.0" not in one for pair in exchangeable(blocks_of(made))
               for one in pair)  # fmt: skip


@given(swaps=st.integers(0, 30), seed=st.integers(0, 100))
@settings(deadline=None, max_examples=25)
def test_an_order_is_a_permutation_and_its_tau_counts_inversions(swaps: int, seed: int) -> None:
    with torch.device("meta"):
        made = networks.build("resnet20-cifar")
    names = [block.name for block in blocks_of(made)]

    order = swapped(made, swaps, torch.Generator().manual_seed(seed))

    places = [names.index(name) for name in order]
    pairs = list(combinations(places, 2))
    inversions = sum(first > second for first, second in pairs)
    assert sorted(order) == names
    assert rank_correlation(made, order) == pytest.approx(1 - 2 * inversions / len(pairs))
    assert [name.split(".")[0] for name in order] == [name.split(".")[0] for name in names]


@pytest.mark.parametrize("name", SUMS)
def test_gradients_of_all_paths_add_up_to_the_gradient(name: str) -> None:
    made = network(name)
    x, labels = pictures(made), torch.tensor([0, 1, 2])
    names = [block.name for block in blocks_of(made)]
    whole = input_gradients(made, x, labels)

    paths = [followed(made, path) for path in subsets(names)]

    assert len(paths) == 2 ** len(names)
    for path in paths:
        torch.testing.assert_close(path(x), made(x))  # forward nothing is changed
    total = torch.stack([input_gradients(path, x, labels) for path in paths]).sum(0)
    torch.testing.assert_close(total, whole, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))


def test_a_path_of_no_branches_is_that_of_the_shortcuts() -> None:
    made = network("resnet8-cifar")
    x, labels = pictures(made), torch.tensor([0, 1, 2])
    before = input_gradients(followed(made, []), x, labels)
    branches = [module for path, module in made.features.named_modules() if path.endswith("branch")]

    whole = made(x)
    for branch in branches:  # what is not on the path may be anything that answers the same
        assert isinstance(branch, nn.Module)
        branch.register_forward_hook(lambda module, args, result: result.detach())

    assert torch.equal(made(x), whole)
    torch.testing.assert_close(input_gradients(made, x, labels), before)


def test_plain_blocks_have_no_path_around_them() -> None:
    with pytest.raises(Refused, match="a single path"):
        followed(network("plain8-cifar"), [])


def test_gradients_are_those_of_each_image_alone() -> None:
    made = network("resnet8-cifar")
    x, labels = pictures(made), torch.tensor([0, 1, 2])
    together = input_gradients(made, x, labels)
    alone = torch.cat([input_gradients(made, x[i : i + 1], labels[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-5 * float(alone.abs().max()))
