"""What goes, in which order, and that what is left computes the same as before."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from residua import api, checkpoints, networks, pruning
from residua.checkpoints import Weights
from residua.datasets import load
from residua.datasets.dataset import Split
from residua.errors import Refused
from residua.images import Preprocessing
from residua.networks.graph import graph
from residua.probes.lesions import blocks_of, removable, without
from residua.pruning import most, pruned, removals, renamed, speedup
from residua.training import measure


def weights(name: str) -> Weights:
    """Random ones, with statistics of norms that matter."""
    made = networks.build(name, 10, seed=1)
    with torch.no_grad():
        made(torch.randn(8, 3, max(32, made.smallest), max(32, made.smallest)))
    return Weights(made.state_dict(), name, load("digits").classes, Preprocessing(32, "crop", 32))


NAMES = (
    "resnet20-cifar",
    "resnet20-cifar-gate",
    "resnet29-cifar-bottleneck-b",
    "resnet20-cifar-fixup-se",
    "preact20-cifar-basic",
    "preact20-cifar",
    "wide16-cifar-1",
    "resnet18",
    "resnet34-a",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_pruned_network_computes_what_the_lesioned_one_does(name: str) -> None:
    whole = weights(name)
    network = whole.build()
    gone = removable(network)[1::2]

    made = pruned(whole, gone)
    left = made.build()  # by the name alone: tensors must fit

    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(left(x), without(network, gone)(x))
    assert len(blocks_of(left)) == len(blocks_of(network)) - len(gone)
    assert left.depth < network.depth
    assert graph(left, (3, 32, 32)).multiply_adds < graph(network, (3, 32, 32)).multiply_adds


@given(data=st.data())
@settings(deadline=None, max_examples=15)
def test_any_choice_of_blocks_can_go_while_each_stage_keeps_one(data: st.DataObject) -> None:
    whole = weights("resnet20-cifar")
    network = whole.build()
    gone = data.draw(st.sets(st.sampled_from(removable(network)), max_size=7))
    stages = [block.stage for block in blocks_of(network) if block.name not in gone]
    if set(stages) != {"stage1", "stage2", "stage3"}:
        with pytest.raises(Refused, match="cannot go"):
            pruned(whole, gone)
        return
    made = pruned(whole, gone)
    counts = [str(stages.count(stage)) for stage in ("stage1", "stage2", "stage3")]
    assert networks.build(made.network).depth == 2 * len(stages) + 2
    assert networks.parse(made.network)[2]["blocks"] == ".".join(counts)


def test_a_pruned_network_is_saved_and_pruned_again(tmp_path) -> None:
    once = pruned(weights("resnet20-cifar"), ["stage1.1", "stage2.2"])
    checkpoints.write_weights(tmp_path / "once.safetensors", once)
    read = checkpoints.read_weights(tmp_path / "once.safetensors")
    twice = pruned(read, ["stage1.0", "stage3.2"])
    assert once.network == "resnet20-cifar-blocks=2.2.3"
    assert twice.network == "resnet20-cifar-blocks=1.2.2"
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        by_hand = without(read.build(), ["stage1.0", "stage3.2"])(x)
        assert torch.equal(twice.build()(x), by_hand)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("alexnet-2014", "has no blocks"),
        ("plain20-cifar", "none has the identity"),
        ("resnet20-cifar-C", "none has the identity"),
        ("highway10-fc", "its family has no other numbers"),
        ("sprint17-cifar", "its family has no other numbers"),
    ],
)
def test_networks_that_cannot_be_pruned_are_refused(name: str, says: str) -> None:
    with torch.device("meta"):
        network = networks.build(name, 10)
    with pytest.raises(Refused, match=says):
        most(network)


@pytest.mark.parametrize(
    ("name", "count"), [("resnet20-cifar", 6), ("resnet18", 4), ("wide16-cifar-1", 3)]
)
def test_one_block_stays_in_each_stage(name: str, count: int) -> None:
    with torch.device("meta"):
        assert most(networks.build(name, 10)) == count


@pytest.fixture(scope="module")
def trained() -> Weights:
    return checkpoints.open_weights("resnet20-digits")


@pytest.fixture(scope="module")
def held_out() -> Split:
    return load("digits").splits["train"].select(range(0, 1400, 40))


def test_blocks_go_greedily_and_the_network_stays(trained: Weights, held_out: Split) -> None:
    network, run_on = trained.build(), replace(api.plain_execution(), threads=1)
    before = {name: value.clone() for name, value in network.state_dict().items()}

    found = list(removals(network, held_out, trained.preprocessing, run_on))

    assert len(found) == most(network) == len({each.block for each in found})
    first = [
        measure(without(network, [name]), held_out, trained.preprocessing, run_on)
        for name in removable(network)
    ]
    assert (found[0].loss, found[0].wrong) == min(first)  # nothing matters less
    gone = [each.block for each in found[:3]]
    again = measure(without(network, gone), held_out, trained.preprocessing, run_on)
    assert (found[2].loss, found[2].wrong) == again
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    pruned(trained, [each.block for each in found])  # all of them can go


def test_a_name_with_other_counts_reads_back() -> None:
    family, depth, options = networks.parse(renamed("resnet50-d-se", [3, 2, 4, 1]))
    assert (depth, options["blocks"], options["stem"]) == (50, "3.2.4.1", "deep")
    assert options["attention"] == "se" and family.size == 224


def test_the_interval_of_a_speedup_is_that_of_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = [float(each) for each in range(1, 22)]
    monkeypatch.setattr(pruning, "turns", lambda asked, rounds: [slow, [1.0] * 21])
    whole = replace(weights("resnet8-cifar"), classes=tuple("abcdefghij"))
    found = speedup(whole, whole, api.plain_execution(), 21)
    assert (found.ratio, found.low, found.high) == (11, 6, 16)  # Conover 1999, table A3
    assert found.images_per_second == (1 / 11, 1.0)
