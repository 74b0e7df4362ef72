"""Published names become ours and go back, bit for bit; what does not fit is named."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from residua import networks
from residua.errors import BadData, Refused
from residua.networks.unpickle import read_pickled
from residua.networks.weights import COUNTER, STYLES, from_ours, tensors, to_ours

NAMES = (
    "resnet20-cifar",
    "resnet20-cifar-b",
    "plain20-cifar",
    "resnet29-cifar-bottleneck-c",
    "resnet18",
    "resnet34-a",
    "resnet50",
    "resnet50-v1.5",
)


def published(name: str, style: str, classes: int = 7) -> dict[str, Tensor]:
    network = networks.build(name, classes, seed=9)
    return from_ours(network.state_dict(), network, style)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", NAMES)
def test_there_and_back_is_bit_identical(name: str, style: str) -> None:
    network = networks.build(name, 7)
    state = network.state_dict()

    back = to_ours(from_ours(state, network, style), network)

    assert list(back) == list(state)
    assert all(torch.equal(back[key], state[key]) for key in state)
    network.load_state_dict(back)


def test_names_are_those_of_torchvision() -> None:
    names = list(published("resnet18", "torchvision"))

    assert len(names) == 122
    assert names[:6] == [
        "conv1.weight",
        "bn1.weight",
        "bn1.bias",
        "bn1.running_mean",
        "bn1.running_var",
        "bn1.num_batches_tracked",
    ]
    assert {"layer1.0.conv1.weight", "layer4.1.bn2.bias", "layer2.0.downsample.0.weight"} <= {
        *names
    }
    assert {"layer2.0.downsample.1.running_var", "fc.weight", "fc.bias"} <= {*names}
    assert "layer3.5.conv3.weight" in published("resnet50", "timm")


def test_names_are_those_of_cifar_networks() -> None:
    names = set(published("resnet20-cifar-b", "cifar"))

    assert {"layer2.0.shortcut.0.weight", "layer2.0.shortcut.1.bias", "linear.bias"} <= names
    assert not any("fc" in name or "downsample" in name for name in names)


def test_a_training_checkpoint_of_parallel_copies_converts() -> None:
    network = networks.build("resnet20-cifar", 7)
    inside = {f"module.{key}": value for key, value in published("resnet20-cifar", "cifar").items()}
    inside["module.fc.weight"] = inside.pop("module.linear.weight")

    ours = to_ours({"state_dict": inside, "best_prec1": 91.7, "epoch": 200}, network)

    expected = networks.build("resnet20-cifar", 7, seed=9).state_dict()
    assert all(torch.equal(ours[key], expected[key]) for key in expected)


def test_counters_that_old_files_lack_are_zero() -> None:
    network = networks.build("resnet20-cifar", 7)
    old = {k: v for k, v in published("resnet20-cifar", "cifar").items() if not k.endswith(COUNTER)}

    ours = to_ours(old, network)

    counters = [value for key, value in ours.items() if key.endswith(COUNTER)]
    assert len(counters) == 19
    assert all(value.dtype == torch.int64 and value.item() == 0 for value in counters)
    assert len({value.data_ptr() for value in counters}) == 19
    network.load_state_dict(ours)


@pytest.mark.parametrize(
    ("weights", "network", "where", "fix"),
    [
        (
            "resnet32-cifar",
            "resnet20-cifar",
            "layer1.3.conv1.weight is not part",
            "resnet32-cifar ",
        ),
        ("resnet20-cifar", "resnet32-cifar", "layer1.3.conv1.weight is missing", "resnet20-cifar "),
        ("resnet20-cifar-b", "resnet20-cifar", "layer2.0.downsample.0", "resnet20-cifar-b "),
        ("resnet50", "resnet18", "instead of", "resnet50-v1.5 "),
        ("resnet18", "resnet50", "instead of", "resnet18 "),
        ("resnet34-a", "resnet34", "downsample.0.weight is missing", "resnet34-a "),
        ("resnet18", "resnet20-cifar", "conv1.weight is [64, 3, 7, 7] instead of", "resnet18 "),
        ("resnet56-cifar-bottleneck", "resnet20-cifar", "", "resnet56-cifar-bottleneck "),
        ("resnet62-cifar", "resnet56-cifar", "", "resnet62-cifar "),
    ],
)
def test_what_does_not_fit_is_named_with_what_would(
    weights: str, network: str, where: str, fix: str
) -> None:
    with pytest.raises(BadData) as caught:
        to_ours(published(weights, "torchvision"), networks.build(network, 7))

    assert f"do not fit {network}" in caught.value.what
    assert where in caught.value.where
    assert caught.value.fix == f"they fit {fix}with 7 classes and 3 channels"


def test_other_classes_are_a_mismatch() -> None:
    with pytest.raises(BadData) as caught:
        to_ours(published("resnet20-cifar", "cifar", 100), networks.build("resnet20-cifar"))

    assert caught.value.where.startswith("fc.weight is [100, 64] instead of [10, 64]")
    assert caught.value.fix == "they fit resnet20-cifar with 100 classes and 3 channels"


def test_strange_tensors_fit_nothing() -> None:
    with pytest.raises(BadData, match="find out which network"):
        to_ours({"a": torch.zeros(2)}, networks.build("resnet20-cifar"))


def test_a_difference_list_is_short() -> None:
    with pytest.raises(BadData) as caught:
        to_ours({"fc.bias": torch.zeros(10)}, networks.build("resnet20-cifar"))

    assert caught.value.where.count(";") == 3
    assert caught.value.where.endswith("; 93 more")


def test_a_name_with_two_spellings_is_refused() -> None:
    given = published("resnet20-cifar", "cifar")
    given["fc.bias"] = given["linear.bias"]

    with pytest.raises(BadData, match="twice"):
        to_ours(given, networks.build("resnet20-cifar", 7))


def test_integers_are_not_weights() -> None:
    given = published("resnet20-cifar", "cifar")
    given["conv1.weight"] = given["conv1.weight"].to(torch.int8)

    with pytest.raises(BadData, match=r"conv1\.weight has torch\.int8"):
        to_ours(given, networks.build("resnet20-cifar", 7))


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], {"state_dict": {}}, None])
def test_content_without_tensors_is_refused(content: object) -> None:
    with pytest.raises(BadData, match="no named tensors"):
        tensors(content)


def test_preactivation_has_no_published_names() -> None:
    network = networks.build("preact20-cifar")
    with pytest.raises(Refused, match="like preact20-cifar"):
        from_ours(network.state_dict(), network, "cifar")
    with pytest.raises(Refused, match="like preact20-cifar"):
        to_ours(published("resnet20-cifar", "cifar"), network)


def test_an_unknown_style_is_refused_with_the_nearest() -> None:
    network = networks.build("resnet20-cifar")
    with pytest.raises(Refused, match='did you mean "torchvision"'):
        from_ours(network.state_dict(), network, "torchvison")


def test_another_networks_tensors_are_not_renamed() -> None:
    other = networks.build("resnet20-cifar")
    with pytest.raises(BadData, match="do not fit resnet32-cifar"):
        from_ours(other.state_dict(), networks.build("resnet32-cifar"), "cifar")


def test_published_weights_convert_and_go_back(shared_data: Path) -> None:
    """The file that others trained: option A, names in parallel copies, no counters."""
    given = read_pickled(shared_data / "weights" / "cifar-resnet20-option-a.th")
    network = networks.build("resnet20-cifar")

    network.load_state_dict(to_ours(given, network))
    back = from_ours(network.state_dict(), network, "cifar")

    kept = {f"module.{key}": value for key, value in back.items() if not key.endswith(COUNTER)}
    assert kept.keys() == given.keys()
    assert all(
        torch.equal(kept[key].view(torch.int32), given[key].view(torch.int32)) for key in given
    )
