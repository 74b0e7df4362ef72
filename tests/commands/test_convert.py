"""convert: published weights into ours and back."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from residua import checkpoints, networks
from residua.checkpoints import Weights, write_weights
from residua.images import Preprocessing
from residua.networks.network import Network
from residua.networks.weights import from_ours

Call = Callable[..., Any]


@pytest.fixture
def network() -> Network:
    return networks.build("resnet8-cifar", seed=3)


@pytest.fixture
def published(network: Network) -> Path:
    """The network's weights under the names of CIFAR ResNets."""
    save_file(from_ours(network.state_dict(), network, "cifar"), "theirs.safetensors")
    return Path("theirs.safetensors")


def test_safetensors(published: Path, network: Network, residua: Call) -> None:
    words = ("convert", published, "--network", "resnet8-cifar", "--out", "ours.safetensors")
    answer = residua(*words)
    assert answer.code == 0, answer.err
    assert "airplane, automobile" in answer.out
    assert answer.out.rstrip().endswith("next: residua evaluate ours.safetensors DATA")
    weights = checkpoints.read_weights(Path("ours.safetensors"))
    assert weights.classes[3] == "cat"
    assert weights.preprocessing.size == weights.preprocessing.resize == 32
    assert weights.preprocessing.mean == (0.485, 0.456, 0.406)
    assert weights.preprocessing.std == (0.229, 0.224, 0.225)
    for name, tensor in network.state_dict().items():
        assert torch.equal(weights.tensors[name], tensor)
    assert residua(*words).code == 2  # never over another file
    assert residua(*words, "--force", "--json").json["sha256"] == weights.sha256


def test_a_pickle(network: Network, residua: Call) -> None:
    tensors = from_ours(network.state_dict(), network, "cifar")
    state = {
        f"module.{name}": value.half() if value.is_floating_point() else value
        for name, value in tensors.items()
    }
    torch.save({"state_dict": state, "best_prec1": 1.0}, "theirs.th")
    answer = residua("convert", "theirs.th", "--network", "resnet8-cifar", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["weights"] == "theirs.safetensors"
    weights = checkpoints.read_weights(Path("theirs.safetensors"))
    assert weights.tensors["head.linear.weight"].dtype == torch.float32


def test_there_and_back(trained: Path, residua: Call) -> None:
    answer = residua("convert", trained, "--to", "cifar", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["weights"] == f"{trained.name}-cifar.safetensors"
    assert "linear.weight" in load_file(answer.json["weights"])
    back = ("--network", "resnet8-cifar", "--out", "back.safetensors")
    assert residua("convert", answer.json["weights"], *back).code == 0
    before, after = (checkpoints.open_weights(p) for p in (trained, Path("back.safetensors")))
    for name, tensor in before.tensors.items():
        assert torch.equal(after.tensors[name], tensor)
    answer = residua("convert", trained, "--to", "torchvision")
    assert answer.code == 2
    assert "choose cifar" in answer.err


@pytest.fixture
def resnet18() -> Path:
    """Our weights of a network that three others have."""
    network = networks.build("resnet18", 2)
    look = Preprocessing(64, "crop", 73, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    weights = Weights(network.state_dict(), network.name, ("cat", "dog"), look)
    write_weights(Path("ours.safetensors"), weights)
    return Path("ours.safetensors")


@pytest.mark.parametrize(("style", "head"), [("torchvision", "fc.weight"), ("timm", "fc.weight")])
def test_to_a_file(resnet18: Path, residua: Call, style: str, head: str) -> None:
    answer = residua("convert", resnet18, "--to", style, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["weights"] == f"ours-{style}.safetensors"
    assert "does not store the preprocessing" in answer.json["notes"][0]
    assert head in load_file(answer.json["weights"])


def test_to_a_folder_and_back(resnet18: Path, residua: Call) -> None:
    """transformers keeps the classes and the way of pictures beside the weights."""
    answer = residua("convert", resnet18, "--to", "transformers", "--json")
    assert (answer.code, answer.json["notes"]) == (0, []), answer.err
    assert answer.json["weights"] == "ours-transformers"
    assert residua("convert", resnet18, "--to", "transformers").code == 2  # it is there
    assert residua("convert", resnet18, "--to", "transformers", "--force").code == 0
    answer = residua("convert", "ours-transformers", "--out", "back.safetensors", "--json")
    assert (answer.code, answer.json["notes"]) == (0, []), answer.err
    before, after = (checkpoints.read_weights(Path(p)) for p in (resnet18, "back.safetensors"))
    assert (after.network, after.classes) == (before.network, before.classes)
    assert after.preprocessing == before.preprocessing
    for name, tensor in before.tensors.items():
        assert torch.equal(after.tensors[name], tensor)


def test_a_folder_has_to_be_converted_first(resnet18: Path, residua: Call) -> None:
    assert residua("convert", resnet18, "--to", "transformers").code == 0
    answer = residua("evaluate", "ours-transformers", "digits")
    assert answer.code == 2
    assert "residua convert ours-transformers" in answer.err


def test_what_is_taken_on_trust_is_told(residua: Call) -> None:
    network = networks.build("resnet50-v1.5", 2)
    save_file(from_ours(network.state_dict(), network, "torchvision"), "theirs.safetensors")
    words = ("convert", "theirs.safetensors", "--network", "resnet50", "--out", "o.safetensors")
    answer = residua(*words)
    assert answer.code == 0, answer.err
    assert "note: tensors cannot tell which convolution strides" in answer.out
    found = residua(*words, "--force", "--json").json
    assert found["network"] == "resnet50-v1.5"
    assert found["classes"] == ["class 0", "class 1"]
    assert len(found["notes"]) == 3
    answer = residua("convert", "o.safetensors", "--to", "timm", "--json")
    assert answer.json["network"] == "resnet50-v1.5"


def test_the_hub_needs_its_extra(residua: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    answer = residua("convert", "hf://owner/name@main")
    assert answer.code == 2
    assert 'pip install "residua[hub]"' in answer.err


def test_names_of_classes(published: Path, residua: Call) -> None:
    words = ("convert", published, "--network", "resnet8-cifar", "--out", "o.safetensors")
    Path("names.txt").write_text("\n".join(f"name {n}" for n in range(10)) + "\n")
    Path("few.json").write_text('["a", "b"]')
    Path("wrong.json").write_text('{"a": 1}')
    assert residua(*words, "--classes-from", "names.txt", "--json").json["classes"][9] == "name 9"
    found = residua(*words, "--classes-from", "digits", "--json", "--force").json
    assert found["classes"] == list("0123456789")
    answer = residua(*words, "--classes-from", "few.json", "--force")
    assert answer.code == 2
    assert "10 classes, and there are 2 names" in answer.err
    assert residua(*words, "--classes-from", "wrong.json", "--force").code == 3


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        ([], 2, "--network is missing"),
        (["--network", "resnet14-cifar"], 3, "do not fit resnet14-cifar"),
        (["--network", "resnet8-cifr"], 2, "cifr"),
        (["--network", "resnet8-cifar", "--out", "x.pth"], 2, "written as safetensors"),
        (["--network", "resnet8-cifar", "--out", "theirs.safetensors"], 2, "replace its source"),
    ],
)
def test_what_is_refused(
    published: Path, residua: Call, words: list[str], code: int, complaint: str
) -> None:
    out = () if "--out" in words else ("--out", "o.safetensors")
    answer = residua("convert", published, *words, *out)
    assert answer.code == code
    assert complaint in answer.err
    assert not Path("o.safetensors").exists()


def test_foreign_files(trained: Path, network: Network, residua: Call) -> None:
    ours = trained / "weights.safetensors"
    answer = residua("convert", ours, "--network", "resnet8-cifar")
    assert answer.code == 2
    assert "ours already" in answer.err
    assert residua("convert", ours, "--to", "keras").code == 2
    Path("page.pth").write_text("<html>")
    assert residua("convert", "page.pth", "--network", "resnet8-cifar").code == 3
    state = from_ours(network.state_dict(), network, "cifar")
    save_file(state | {"conv1.weight": state["conv1.weight"] * float("nan")}, "nan.safetensors")
    words = ("--network", "resnet8-cifar", "--out", "o.safetensors")
    answer = residua("convert", "nan.safetensors", *words)
    assert answer.code == 3
    assert "not finite" in answer.err


def test_published_cifar_weights_keep_their_error(shared_data: Path, residua: Call) -> None:
    source = shared_data / "weights" / "cifar-resnet20-option-a.th"
    words = ("--network", "resnet20-cifar", "--out", "o.safetensors")
    assert residua("convert", source, *words).code == 0
    data = shared_data / "cifar-10-binary.tar.gz"
    found = residua("evaluate", "o.safetensors", data, "--json").json
    assert (found["wrong"], found["total"]) == (827, 10_000)
