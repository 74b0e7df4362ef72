"""Weights of others, from files, folders and the hub; what is taken on trust is told."""

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import save_file
from torch import Tensor

from residua import checkpoints, networks, published, workflow
from residua.checkpoints import Weights
from residua.declared import CONFIG, PICTURES, config_of, pictures_config
from residua.errors import BadData, OutOfResources, Refused
from residua.images import Preprocessing
from residua.networks.weights import from_ours
from residua.published import FILE, MEAN, STD, Published, ours, read, start_from

TIMM = {
    "architecture": "resnet18",
    "num_classes": 4,
    "pretrained_cfg": {
        "input_size": [3, 64, 64],
        "interpolation": "bicubic",
        "crop_pct": 0.8,
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
    },
}


def state(name: str, style: str, classes: int = 4, seed: int = 5) -> dict[str, Tensor]:
    network = networks.build(name, classes, seed=seed)
    return from_ours(network.state_dict(), network, style)


def folder(place: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    (place / CONFIG).write_text(json.dumps(config))
    save_file(tensors, place / FILE)
    return place


def made(name: str, style: str, network: str | None) -> tuple[Weights, tuple[str, ...]]:
    return ours(Published(state(name, style), "weights of a test"), network)


# What a file leaves open.


@pytest.mark.parametrize("style", ["torchvision", "timm"])
def test_an_open_stride_is_that_of_their_code(style: str) -> None:
    weights, notes = made("resnet50-v1.5", style, "resnet50")
    assert weights.network == "resnet50-v1.5"
    assert "cannot tell which convolution strides" in notes[0]
    assert "--network resnet50-v1" in notes[0]


def test_a_stride_that_is_given_is_believed() -> None:
    weights, notes = made("resnet50-v1.5", "torchvision", "resnet50-v1")
    assert weights.network == "resnet50-v1"
    assert "no network that computes what resnet50-v1 does" in notes[0]
    weights, notes = made("resnet50-v1.5", "torchvision", "resnet50-v1.5")
    assert weights.network == "resnet50-v1.5"
    assert not any("stride" in note or "computes" in note for note in notes)
    weights, notes = made("resnet50-v1.5", "torchvision", "resnet50-survival=0.8")
    assert weights.network == "resnet50-survival=0.8-v1.5"
    assert "strides" in notes[0] and "because you say so" in notes[1]
    assert made("preact50-v1.5", "timm", "preact50")[0].network == "preact50-v1.5"
    assert made("resnext50", "timm", "resnext50")[0].network == "resnext50"


def test_transformers_has_both_strides() -> None:
    with pytest.raises(Refused, match="with either stride"):
        made("resnet50", "transformers", "resnet50")
    assert made("resnet50", "transformers", "resnet50-v1")[0].network == "resnet50-v1"
    assert made("resnet18", "transformers", "resnet18")[0].network == "resnet18"


def test_what_is_not_named_is_recognized_and_asked_for() -> None:
    with pytest.raises(Refused, match="--network is missing") as caught:
        made("resnet18-se", "timm", None)
    assert caught.value.fix.startswith("resnet18-se would fit: add --network resnet18-se")
    with pytest.raises(Refused) as caught:
        ours(Published({"a": torch.ones(1)}, "x"), None)
    assert caught.value.fix.startswith("add --network NAME")


def test_pictures_and_classes_that_nothing_says() -> None:
    weights, notes = made("resnet18", "torchvision", "resnet18")
    assert weights.preprocessing == Preprocessing(224, "crop", 256, MEAN, STD)
    assert weights.classes == ("class 0", "class 1", "class 2", "class 3")
    assert [note.partition(":")[0] for note in notes] == [
        "the classes are not named",
        "nothing says how pictures were prepared",
    ]


def test_googlenet_without_its_auxiliary_heads() -> None:
    given = state("googlenet-bn-3x3", "torchvision")
    whole, _ = ours(Published(given, "x"), "googlenet-bn-3x3")
    assert "auxiliary.stage4a.linear2.weight" in whole.tensors
    assert whole.preprocessing.mean == whole.preprocessing.std == (0.5, 0.5, 0.5)
    bare = {name: value for name, value in given.items() if not name.startswith("aux")}
    weights, notes = ours(Published(bare, "x"), "googlenet-bn-3x3")
    assert weights.network == "googlenet-bn-3x3-auxiliary=no"
    assert "no auxiliary heads" in notes[0]
    assert weights.build()(torch.zeros(1, 3, 64, 64)).shape == (1, 4)


def test_half_precision_is_told() -> None:
    half = {
        name: value.half() if value.is_floating_point() else value
        for name, value in state("resnet8-cifar", "cifar").items()
    }
    weights, notes = ours(Published(half, "x"), "resnet8-cifar")
    assert {value.dtype for value in weights.tensors.values()} == {torch.float32, torch.int64}
    assert notes[0] == "the weights are stored as float16; here they are float32"


def test_numbers_that_are_not_finite_are_refused() -> None:
    for bad in (float("nan"), float("inf"), 1e300):
        given = state("resnet8-cifar", "cifar")
        given["conv1.weight"] = given["conv1.weight"].double() * bad
        with pytest.raises(BadData, match="not finite"):
            ours(Published(given, "x"), "resnet8-cifar")


def test_a_variance_is_not_negative() -> None:
    given = state("resnet8-cifar", "cifar")
    given["bn1.running_var"] = given["bn1.running_var"] - 2
    with pytest.raises(BadData, match="negative variance"):
        ours(Published(given, "x"), "resnet8-cifar")


def test_a_deep_network_needs_as_many_tensors() -> None:
    before = time.monotonic()
    with pytest.raises(BadData, match="44 tensors are too few"):
        made("resnet8-cifar", "cifar", "resnet60000002-cifar")
    assert time.monotonic() - before < 1


# Folders.


def test_a_folder_says_everything(tmp_path: Path) -> None:
    place = folder(tmp_path / "timm", TIMM, state("resnet18", "timm"))
    weights, notes = ours(read(str(place)), None)
    assert weights.network == "resnet18"
    look = Preprocessing(64, "crop", 80, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert weights.preprocessing == look
    assert "bicubic" in notes[0] and "not named" in notes[1] and len(notes) == 2
    assert ours(read(str(place)), "resnet18")[0].network == "resnet18"
    with pytest.raises(Refused, match="they are of resnet18, not of resnet34"):
        ours(read(str(place)), "resnet34")


def test_a_folder_contradicts_a_stride(tmp_path: Path) -> None:
    config = TIMM | {"architecture": "resnet50"}
    found = read(str(folder(tmp_path / "x", config, state("resnet50-v1.5", "timm"))))
    assert ours(found, "resnet50")[0].network == "resnet50-v1.5"
    with pytest.raises(Refused, match="not of resnet50-v1"):
        ours(found, "resnet50-v1")


def test_a_snapshot_of_links(tmp_path: Path) -> None:
    """As the hub's cache keeps them: every file links into `blobs`."""
    blobs = folder(tmp_path / "models--o--n" / "blobs", TIMM, state("resnet18", "timm"))
    snapshot = tmp_path / "models--o--n" / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    for name in (CONFIG, FILE):
        (snapshot / name).symlink_to(blobs / name)
    for place in (snapshot, tmp_path / "models--o--n"):
        assert ours(read(str(place)), None)[0].network == "resnet18"
    (snapshot.parent / "4567").mkdir()
    with pytest.raises(Refused, match="2 snapshots"):
        read(str(tmp_path / "models--o--n"))


def test_transformers_folder_with_its_pictures(tmp_path: Path) -> None:
    network, look = networks.build("resnet18", 2), Preprocessing(64, "crop", 73, MEAN, STD)
    config = config_of(network, ["cat", "dog"])
    place = folder(tmp_path / "x", config, state("resnet18", "transformers", 2))
    (place / PICTURES).write_text(json.dumps(pictures_config(look)))
    weights, notes = ours(read(str(place)), None)
    assert (weights.classes, weights.preprocessing, notes) == (("cat", "dog"), look, ())


def test_what_a_folder_lacks(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text(json.dumps(TIMM))
    with pytest.raises(BadData, match=r"there is no model\.safetensors"):
        read(str(tmp_path))
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK\x03\x04")
    with pytest.raises(Refused, match="pickled") as caught:
        read(str(tmp_path))
    assert f"residua convert {tmp_path / 'pytorch_model.bin'}" in caught.value.fix
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(Refused, match="several files"):
        read(str(tmp_path))


def test_classes_have_to_agree(tmp_path: Path) -> None:
    place = folder(tmp_path / "x", TIMM | {"num_classes": 5}, state("resnet18", "timm"))
    with pytest.raises(BadData, match=r"config\.json tells 5 classes, and the weights tell 4"):
        ours(read(str(place)), None)


def test_a_hostile_config_is_refused_before_the_weights_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder(tmp_path / "x", TIMM | {"num_classes": 10**9}, {"a": torch.ones(1)})
    monkeypatch.setattr(published, "read_file", lambda path: pytest.fail("it was read"))
    with pytest.raises(BadData, match="num_classes"):
        read(str(place))


# Files.


def test_truncated_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(state("resnet8-cifar", "cifar"), path)
    whole = path.read_bytes()
    for length in (0, 7, 8, 1000, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(BadData):
            read(str(path))
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(BadData):
        read(str(path))
    with pytest.raises(BadData, match="cannot read"):
        read(str(tmp_path / "none.safetensors"))
    pickle = tmp_path / "weights.pth"
    torch.save({"a": torch.ones(1)}, pickle)
    with pytest.raises(Refused, match="pickled") as caught:
        read(str(pickle))
    assert caught.value.fix == f"convert it once: residua convert {pickle} --network NAME"


# The hub.


def test_the_hub_is_asked_for_two_tables_and_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder(tmp_path / "x", TIMM, state("resnet18", "timm"))
    asked: list[Any] = []

    def snapshot_download(repo: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((repo, revision, allow_patterns))
        return str(place)

    hub = SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert ours(read("hf://timm/resnet18.a1_in1k@v1.0"), None)[0].network == "resnet18"
    assert start_from("hf://timm/x", None).weights.network == "resnet18"
    wanted = ["config.json", "preprocessor_config.json", "model.safetensors"]
    assert asked == [("timm/resnet18.a1_in1k", "v1.0", wanted), ("timm/x", None, wanted)]


def test_without_the_extra_the_message_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(Refused) as caught:
        read("hf://owner/name")
    assert caught.value.fix == 'pip install "residua[hub]"'


def test_a_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(*_: Any, **__: Any) -> str:
        raise OSError("no route\nto host")

    hub = SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    with pytest.raises(OutOfResources, match="cannot download: no route"):
        read("hf://owner/name")


@pytest.mark.parametrize("address", ["hf://", "hf://a", "hf://a/b/c", "hf://../../x", "hf://a/b@"])
def test_addresses_are_checked_first(address: str) -> None:
    with pytest.raises(Refused, match=r"not an address|an extra"):
        read(address)


# Fine-tuning.


def stored(path: Path, name: str, style: str, classes: int = 4) -> str:
    save_file(state(name, style, classes), path)
    return str(path)


def test_published_weights_start_a_training(tmp_path: Path) -> None:
    init = stored(tmp_path / "w.safetensors", "resnet8-cifar", "cifar")
    job = tiny.job(init=init, network="resnet8-cifar", size=8)
    given = networks.build("resnet8-cifar", 4, seed=5).state_dict()
    fresh = networks.build("resnet8-cifar", 10, seed=0).state_dict()
    for name, value in job.task.network.state_dict().items():
        assert torch.equal(value, (fresh if name.startswith("head") else given)[name]), name
    assert any("not named" in note for note in job.notes)
    with pytest.raises(Refused, match="--network is missing"):
        tiny.job(init=init, network=None)


def test_numbered_classes_are_not_the_digits(tmp_path: Path) -> None:
    """Ten classes that nobody named are not the ten digits, whose names are 0 to 9."""
    init = stored(tmp_path / "w.safetensors", "resnet18", "torchvision", 10)
    job = tiny.job(init=init, network="resnet18", size=32)
    fresh = networks.build("resnet18", 10, seed=0).state_dict()
    found = job.task.network.state_dict()
    assert torch.equal(found["head.linear.weight"], fresh["head.linear.weight"])
    given = networks.build("resnet18", 10, seed=5).state_dict()
    assert torch.equal(found["features.stem.conv.weight"], given["features.stem.conv.weight"])


def test_an_open_stride_is_resolved_for_the_training(tmp_path: Path) -> None:
    init = stored(tmp_path / "w.safetensors", "resnet50-v1.5", "torchvision")
    job = tiny.job(init=init, network="resnet50", size=32)
    assert job.recipe.network == job.task.network.name == "resnet50-v1.5"
    assert job.sources["network"] == f"weights {init}"
    assert any("strides" in note for note in job.notes)


def test_only_the_last_layer_of_a_head_is_new(tmp_path: Path) -> None:
    """VGG's hidden layers are kept; so are those of GoogLeNet's auxiliary heads."""
    from residua.prepare import adopt

    look = Preprocessing(32, "crop", 32, MEAN, STD)
    for name, changed in (
        ("alexnet-2014", {"head.linear3"}),
        (
            "googlenet-bn-3x3",
            {"head.linear", "auxiliary.stage4a.linear2", "auxiliary.stage4d.linear2"},
        ),
    ):
        old = networks.build(name, 3, seed=5)
        start = Weights(old.state_dict(), name, ("a", "b", "c"), look)
        for classes in (("a", "b"), ("a", "b", "x")):
            new = networks.build(name, len(classes), seed=6)
            before = {key: value.clone() for key, value in new.state_dict().items()}
            adopt(new, start, classes)
            for key, value in new.state_dict().items():
                source = before if key.rpartition(".")[0] in changed else start.tensors
                assert torch.equal(value, source[key]), key
        same = networks.build(name, 3, seed=6)
        adopt(same, start, ("a", "b", "c"))
        assert all(torch.equal(v, start.tensors[k]) for k, v in same.state_dict().items())


def test_pickled_weights_do_not_start_a_training(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(state("resnet8-cifar", "cifar"), path)
    with pytest.raises(Refused, match="pickled") as caught:
        tiny.job(init=str(path))
    assert "residua convert" in caught.value.fix


def test_a_run_goes_on_without_the_weights_it_began_with(tmp_path: Path) -> None:
    init = Path(stored(tmp_path / "w.safetensors", "resnet8-cifar", "cifar"))
    job = tiny.job("digits", init=str(init), network="resnet8-cifar", size=8, epochs=1)
    run = tiny.begin(job, tmp_path / "runs")
    expected = {key: value.clone() for key, value in job.task.network.state_dict().items()}
    init.unlink()
    _, again = workflow.reopen(run.path)
    found = again.task.network.state_dict()
    assert all(torch.equal(found[key], value) for key, value in expected.items())
    assert again.task.preprocessing == job.task.preprocessing
    assert run.info()["notes"][-len(job.notes) :] == list(job.notes)
    tiny.fit(again, run)
    assert checkpoints.read_weights(run.weights).network == "resnet8-cifar"


def test_a_run_and_our_own_file_start_a_training_too(tmp_path: Path) -> None:
    network = networks.build("resnet8-cifar", 2)
    look = Preprocessing(8, "squash", 8)
    weights = Weights(network.state_dict(), network.name, ("a", "b"), look)
    checkpoints.write_weights(tmp_path / "weights.safetensors", weights)
    for source in (tmp_path, tmp_path / "weights.safetensors"):
        start = start_from(str(source), "whatever")
        assert (start.weights.classes, start.foreign) == (("a", "b"), False)
