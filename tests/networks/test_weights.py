"""Published names become ours and go back, bit for bit; what does not fit is named."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from residua import networks
from residua.errors import BadData, Refused
from residua.networks.elsewhere import SHARED, STYLES
from residua.networks.network import Network
from residua.networks.recognize import COUNTER
from residua.networks.unpickle import read_pickled
from residua.networks.weights import (
    assumption,
    classes_among,
    from_ours,
    of_classes,
    tensors,
    to_ours,
)

PAIRS = [
    (style, ours.replace("{depth}", "20"))
    for style, table in STYLES.items()
    for ours in table.networks
    if style == "torchvision" or "vgg" in ours or ours not in SHARED  # timm's names are the same
]


def published(name: str, style: str, classes: int = 7) -> dict[str, Tensor]:
    network = networks.build(name, classes, seed=9)
    return from_ours(network.state_dict(), network, style)


def bare(name: str) -> Network:
    """A network of 7 classes without memory for its weights."""
    with torch.device("meta"):
        return networks.build(name, 7)


@pytest.mark.parametrize(("style", "name"), PAIRS)
def test_every_name_has_a_place_and_finds_back(style: str, name: str) -> None:
    """Each tensor carries a number of its own, without memory for its size: none is confused."""
    network = bare(name)
    state = {
        key: torch.tensor(index, dtype=like.dtype).expand(like.shape)
        for index, (key, like) in enumerate(network.state_dict().items())
    }

    theirs = from_ours(state, network, style)
    back = to_ours(theirs, network)

    assert len(theirs) == len(state)
    assert list(back) == list(state)
    for key, tensor in state.items():
        assert back[key].shape == tensor.shape
        assert back[key].flatten()[0] == tensor.flatten()[0], key


@pytest.mark.parametrize(
    ("name", "style"),
    [
        ("resnet20-cifar", "cifar"),
        ("resnet20-cifar-b", "cifar"),
        ("resnet18-se", "timm"),
        ("resnet50-d", "timm"),
        ("preact50-v1.5", "timm"),
        ("resnet50", "transformers"),
        ("googlenet-bn-3x3", "torchvision"),
        ("vgg11-bn", "timm"),
        ("alexnet-2014", "torchvision"),
    ],
)
def test_there_and_back_is_bit_identical(name: str, style: str) -> None:
    network = networks.build(name, 7, seed=3)
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
    assert "layer3.5.conv3.weight" in published("resnet50-v1.5", "timm")


@pytest.mark.parametrize(
    ("name", "style", "theirs", "shape"),
    [
        ("vgg16-bn", "torchvision", "features.41.running_var", [512]),
        ("vgg16", "torchvision", "features.28.weight", [512, 512, 3, 3]),
        ("vgg16", "torchvision", "classifier.0.weight", [4096, 25088]),
        ("vgg16", "timm", "pre_logits.fc1.weight", [4096, 512, 7, 7]),
        ("vgg16", "timm", "pre_logits.fc2.weight", [4096, 4096, 1, 1]),
        ("vgg16", "timm", "head.fc.weight", [7, 4096]),
        ("alexnet-2014", "torchvision", "features.10.bias", [256]),
        ("alexnet-2014", "torchvision", "classifier.4.weight", [4096, 4096]),
        ("resnet50-d", "timm", "conv1.6.weight", [64, 32, 3, 3]),
        ("resnet50-d", "timm", "conv1.4.running_mean", [32]),
        ("resnet50-d", "timm", "layer1.0.downsample.1.weight", [256, 64, 1, 1]),
        ("resnet50-d", "timm", "layer2.0.downsample.2.bias", [512]),
        ("resnet50-v1.5-se", "timm", "layer4.2.se.fc1.weight", [128, 2048, 1, 1]),
        ("resnet50-v1.5-se", "timm", "layer4.2.se.fc2.bias", [2048]),
        ("resnext50", "torchvision", "layer1.0.conv2.weight", [128, 4, 3, 3]),
        ("wide-resnet50", "torchvision", "layer1.0.conv2.weight", [128, 128, 3, 3]),
        ("preact50-v1.5", "timm", "stages.0.blocks.0.norm1.weight", [64]),
        ("preact50-v1.5", "timm", "stages.3.blocks.2.norm1.running_var", [2048]),
        ("preact50-v1.5", "timm", "stages.1.blocks.0.downsample.conv.weight", [512, 256, 1, 1]),
        ("preact50-v1.5", "timm", "norm.weight", [2048]),
        ("preact50-v1.5", "timm", "head.fc.weight", [7, 2048, 1, 1]),
        ("googlenet-bn-3x3", "torchvision", "inception4b.branch3.1.conv.weight", [64, 24, 3, 3]),
        ("googlenet-bn-3x3", "torchvision", "inception5b.branch4.1.bn.running_mean", [128]),
        ("googlenet-bn-3x3", "torchvision", "aux2.conv.conv.weight", [128, 528, 1, 1]),
        ("googlenet-bn-3x3", "torchvision", "aux1.fc2.weight", [7, 1024]),
        (
            "resnet50",
            "transformers",
            "resnet.encoder.stages.1.layers.0.layer.2.convolution.weight",
            [512, 128, 1, 1],
        ),
        (
            "resnet18",
            "transformers",
            "resnet.encoder.stages.1.layers.0.shortcut.normalization.bias",
            [128],
        ),
        ("resnet18", "transformers", "resnet.embedder.embedder.normalization.weight", [64]),
        ("resnet18", "transformers", "classifier.1.weight", [7, 512]),
    ],
)
def test_names_and_shapes_are_theirs(name: str, style: str, theirs: str, shape: list[int]) -> None:
    """Read from the projects' own files; `make parity` loads all of them there."""
    network = bare(name)
    found = from_ours(network.state_dict(), network, style)
    assert list(found[theirs].shape) == shape


def test_names_are_those_of_cifar_networks() -> None:
    names = set(published("resnet20-cifar-b", "cifar"))

    assert {"layer2.0.shortcut.0.weight", "layer2.0.shortcut.1.bias", "linear.bias"} <= names
    assert not any("fc" in name or "downsample" in name for name in names)


@pytest.mark.parametrize(
    "prefixes", [("module.",), ("_orig_mod.", "module."), ("model.",), ("state_dict.", "module.")]
)
def test_wraps_come_off(prefixes: tuple[str, ...]) -> None:
    network = networks.build("resnet20-cifar", 7)
    inside = published("resnet20-cifar", "cifar")
    for prefix in reversed(prefixes):
        inside = {prefix + key: value for key, value in inside.items()}

    ours = to_ours({"state_dict": inside, "best_prec1": 91.7, "epoch": 200}, network)

    expected = networks.build("resnet20-cifar", 7, seed=9).state_dict()
    assert all(torch.equal(ours[key], expected[key]) for key in expected)


@pytest.mark.parametrize("holder", ["state_dict", "model_state_dict", "model", "model_ema"])
def test_checkpoints_hold_weights_in_many_ways(holder: str) -> None:
    content = {holder: {"a": torch.ones(1)}, "optimizer": {"b": torch.ones(1)}}
    assert list(tensors(content)) == ["a"]


def test_averaged_models_count_in_a_tensor_of_their_own() -> None:
    found = tensors({"n_averaged": torch.tensor(3), "module.a": torch.ones(1)})
    assert list(found) == ["a"]


def test_what_is_ambiguous_is_refused() -> None:
    weights = {"a": torch.ones(1)}
    with pytest.raises(BadData, match="several sets of weights: state_dict, state_dict_ema"):
        tensors({"state_dict": weights, "state_dict_ema": weights})
    with pytest.raises(BadData, match=r"some names begin with module\. and some do not"):
        tensors({"module.a": torch.ones(1), "a": torch.ones(1)})


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
    ("weights", "style", "network", "where", "fix"),
    [
        ("resnet32-cifar", "cifar", "resnet20-cifar", "layer1.3.conv1.weight is not part", ""),
        ("resnet20-cifar", "cifar", "resnet32-cifar", "layer1.3.conv1.weight is missing", ""),
        ("resnet20-cifar-b", "cifar", "resnet20-cifar", "layer2.0.shortcut.0", ""),
        ("resnet20-cifar", "cifar", "resnet20-cifar-b", "shortcut.0.weight is missing", ""),
        ("resnet50-v1.5", "torchvision", "resnet18", "instead of", ""),
        ("resnet18", "torchvision", "resnet50", "instead of", ""),
        ("resnet34", "torchvision", "resnet34-a", "downsample.0.weight is not part", ""),
        ("resnet18", "timm", "resnet20-cifar", "conv1.weight is [64, 3, 7, 7] instead of", ""),
        ("resnet62-cifar", "cifar", "resnet56-cifar", "", ""),
        ("plain56-cifar", "cifar", "plain20-cifar", "", ""),
        ("vgg19-bn", "torchvision", "vgg16", "", ""),
        ("vgg13", "timm", "vgg11", "", ""),
        ("alexnet-2014", "torchvision", "vgg11", "", ""),
        ("googlenet-bn-3x3", "torchvision", "googlenet", "", ""),
        ("resnet34-se", "timm", "resnet34", "", ""),
        ("resnet50-v1.5-gn", "timm", "resnet50", "", ""),
        ("resnext50", "timm", "resnet50", "", ""),
        ("resnext101-64x4d", "torchvision", "resnext101", "", ""),
        ("wide-resnet50", "torchvision", "resnet50", "", ""),
        ("preact101-v1.5", "timm", "resnet101", "", ""),
        ("resnet50-v1.5", "transformers", "resnet101", "", ""),
    ],
)
def test_what_does_not_fit_is_named_with_what_would(
    weights: str, style: str, network: str, where: str, fix: str
) -> None:
    given = bare(weights)
    with pytest.raises(BadData) as caught:
        to_ours(from_ours(given.state_dict(), given, style), bare(network))

    assert f"do not fit {network}" in caught.value.what
    assert where in caught.value.where
    assert caught.value.fix == f"they fit {weights} with 7 classes and 3 channels"


def test_other_classes_are_a_mismatch() -> None:
    with pytest.raises(BadData) as caught:
        to_ours(published("resnet20-cifar", "cifar", 100), networks.build("resnet20-cifar"))

    assert caught.value.where.startswith("linear.weight is [100, 64] instead of [10, 64]")
    assert caught.value.fix == "they fit resnet20-cifar with 100 classes and 3 channels"


def test_strange_tensors_fit_nothing() -> None:
    with pytest.raises(BadData, match="find out which network"):
        to_ours({"a": torch.zeros(2)}, networks.build("resnet20-cifar"))


def test_a_difference_list_is_short() -> None:
    with pytest.raises(BadData) as caught:
        to_ours({"fc.bias": torch.zeros(10)}, networks.build("resnet20-cifar"))

    assert caught.value.where.count(";") == 3
    assert caught.value.where.endswith("; 93 more")


def test_a_tensor_with_two_names_is_refused() -> None:
    given = published("resnet20-cifar", "cifar")
    given["fc.bias"] = given["linear.bias"]

    with pytest.raises(BadData) as caught:
        to_ours(given, networks.build("resnet20-cifar", 7))
    assert caught.value.where == "fc.bias is not part of it"


def test_integers_are_not_weights() -> None:
    given = published("resnet20-cifar", "cifar")
    given["conv1.weight"] = given["conv1.weight"].to(torch.int8)

    with pytest.raises(BadData, match=r"conv1\.weight has torch\.int8"):
        to_ours(given, networks.build("resnet20-cifar", 7))


# Norms.


def without(state: dict[str, Tensor], *endings: str) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not name.endswith(endings)}


def test_folded_norms_are_told() -> None:
    folded = {
        name: value
        for name, value in published("resnet18", "torchvision").items()
        if "bn" not in name and "downsample.1" not in name
    }
    folded |= {
        name.removesuffix("weight") + "bias": torch.zeros(len(value))
        for name, value in folded.items()
        if value.ndim == 4
    }
    with pytest.raises(BadData, match="folded into the convolutions, which have biases"):
        to_ours(folded, networks.build("resnet18", 7))


def test_norms_without_statistics_are_told() -> None:
    group = published("resnet50-v1.5-gn", "timm")
    with pytest.raises(BadData, match="no running statistics, so they are group or instance"):
        to_ours(group, networks.build("resnet50-v1.5", 7))
    lost = without(published("resnet18", "timm"), "running_mean", "running_var", COUNTER)
    with pytest.raises(BadData, match="or were not saved whole"):
        to_ours(lost, networks.build("resnet18", 7))


def test_batch_norm_is_not_group_norm() -> None:
    with pytest.raises(BadData, match="has no batch norm, and they have its running statistics"):
        to_ours(published("resnet50-v1.5", "timm"), networks.build("resnet50-v1.5-gn", 7))


# What a style has.


@pytest.mark.parametrize(
    ("name", "style", "fix"),
    [
        ("resnet50", "torchvision", "choose transformers"),
        ("resnet50", "timm", "choose transformers"),
        ("resnet50-v1.5-blur", "timm", "nobody else has it"),
        ("resnet34-a", "torchvision", "nobody else has it"),
        ("preact18", "timm", "nobody else has it"),
        ("resnet20-cifar", "timm", "choose cifar"),
        ("resnet20-cifar-scaled", "cifar", "nobody else has it"),
        ("resnet29-cifar-bottleneck", "cifar", "nobody else has it"),
        ("googlenet", "torchvision", "nobody else has it"),
        ("alexnet", "torchvision", "nobody else has it"),
        ("resnet18-se", "torchvision", "choose timm"),
        ("resnet18", "cifar", "choose torchvision or timm or transformers"),
    ],
)
def test_nothing_is_published_that_would_compute_something_else(
    name: str, style: str, fix: str
) -> None:
    network = bare(name)
    with pytest.raises(Refused) as caught:
        from_ours(network.state_dict(), network, style)
    assert fix in caught.value.fix


def test_options_may_be_spelled_out() -> None:
    network = bare("resnet50-stride=3x3-shortcut=B")
    assert "fc.weight" in from_ours(network.state_dict(), network, "torchvision")
    assert assumption(network, "torchvision") == ""


def test_what_tensors_cannot_tell_is_said() -> None:
    given = published("resnet50-v1.5", "torchvision")
    name = "resnet50-v1.5-survival=0.8"  # has no tensors of its own
    to_ours(given, bare(name))
    assert "because you say so" in assumption(bare(name), "torchvision")
    assert "because you say so" in assumption(bare("resnet50"), "timm")


def test_the_tensors_of_the_classes() -> None:
    def of(name: str) -> set[str]:
        return {
            name.removesuffix(".weight").removesuffix(".bias") for name in of_classes(bare(name))
        }

    assert of("resnet18") == {"head.linear"}
    assert of("vgg16") == {"head.linear3"}
    assert of("googlenet") == {
        "head.linear",
        "auxiliary.stage4a.linear2",
        "auxiliary.stage4d.linear2",
    }
    assert classes_among(published("resnet20-cifar", "cifar", 31), bare("resnet20-cifar")) == 31
    assert classes_among({"a": torch.ones(1)}, bare("resnet20-cifar")) == 7


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], {"state_dict": {}}, None])
def test_content_without_tensors_is_refused(content: object) -> None:
    with pytest.raises(BadData, match="no named tensors"):
        tensors(content)


def test_small_preactivation_has_no_published_names() -> None:
    network = networks.build("preact20-cifar")
    with pytest.raises(Refused, match="no network that computes what preact20-cifar does"):
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

    kept = {key: value for key, value in back.items() if not key.endswith(COUNTER)}
    assert kept.keys() == given.keys()
    assert all(
        torch.equal(kept[key].view(torch.int32), given[key].view(torch.int32)) for key in given
    )


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("resnet20-cifar-b", "layer2.0.shortcut.0.weight is missing"),
        ("resnet32-cifar", "layer1.3.conv1.weight is missing"),
    ],
)
def test_published_weights_are_of_one_network(shared_data: Path, name: str, where: str) -> None:
    given = read_pickled(shared_data / "weights" / "cifar-resnet20-option-a.th")
    with pytest.raises(BadData) as caught:
        to_ours(given, networks.build(name))
    assert where in caught.value.where
    assert caught.value.fix == "they fit resnet20-cifar with 10 classes and 3 channels"
