"""Everything about a training is decided before anything is written."""

import os
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from residua import checkpoints, datasets, networks
from residua.checkpoints import Weights
from residua.errors import BadData, Refused, ResiduaError
from residua.images import Preprocessing
from residua.prepare import estimate, inherit, prepare, selection_split
from residua.recipes import Recipe


def test_deciding_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    job = tiny.job(epochs=None, time="1m")
    estimate(job)
    assert os.listdir(tmp_path) == []


def test_every_setting_is_decided_and_says_where_it_came_from() -> None:
    job = prepare(tiny.digits(), "auto", [("flag", {"seed": 3, "precision": "fp32"})])
    assert (job.recipe.seed, job.sources["seed"]) == (3, "flag")
    assert job.sources["label_smoothing"] == "recipe quick"
    assert job.sources["mixup"] == "default"
    assert job.sources["size"].startswith("automatic: ")
    assert (job.recipe.network, job.recipe.size, job.recipe.flip) == ("resnet20-cifar", 8, False)
    assert job.task.classes == tuple("0123456789")


def test_the_validation_images_leave_the_training_images_and_the_test_alone() -> None:
    data = tiny.digits()
    job = tiny.job(data, validation=0.25)
    learned, held = job.task.train, job.task.validation
    assert held is not None and len(held) == pytest.approx(60, abs=5)
    names = [{split.name(i) for i in range(len(split))} for split in (learned, held)]
    assert names[0] | names[1] == {data.splits["train"].name(i) for i in range(240)}
    assert not names[0] & names[1]
    assert list(job.splits) == ["train", "validation", "test"]
    assert job.splits["test"] is data.splits["test"]
    again = tiny.job(data, validation=0.25).task.validation
    assert again is not None and torch.equal(again.labels, held.labels)


def test_a_given_validation_split_is_used_as_it_is(tmp_path: Path) -> None:
    data = datasets.load(tiny.folder(tmp_path, splits=("train", "val", "test")))
    learned, held = selection_split(data, Recipe(validation=0.5))
    assert learned is data.splits["train"] and held is data.splits["validation"]


def test_statistics_are_those_of_the_training_images_alone() -> None:
    job = tiny.job()
    images = job.task.train.images
    assert isinstance(images, torch.Tensor)
    values = images.double() / 255
    look = job.task.preprocessing
    assert look.mean == pytest.approx(values.mean((0, 1, 2)).tolist(), abs=1e-6)
    assert look.std == pytest.approx(values.std((0, 1, 2), correction=0).tolist(), abs=1e-6)

    by_pixel = tiny.job(normalize="pixel").task.preprocessing
    assert by_pixel.mean == pytest.approx(values.mean(0).flatten().tolist(), abs=1e-5)
    assert by_pixel.std == (1, 1, 1)


def test_images_of_one_color_have_a_deviation(tmp_path: Path) -> None:
    data = tiny.digits()
    images = data.splits["train"].images
    assert isinstance(images, torch.Tensor)
    images.fill_(7)
    assert min(tiny.job(data, validation=0).task.preprocessing.std) > 0


def test_photographs_are_cropped_from_a_larger_view(tmp_path: Path) -> None:
    job = tiny.job(tiny.folder(tmp_path, 4), size=96, fit="crop", validation=0)
    assert (job.task.preprocessing.size, job.task.preprocessing.resize) == (96, 110)
    assert tiny.job(size=16).task.preprocessing.resize == 16


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": "resnet21-cifar"}, "resnet"),
        ({"network": "resnet20-cifr"}, "network"),
        ({"size": 5000}, "size"),
        ({"precision": "fp16"}, "fp16"),
        ({"device": "cuda:9"}, "cuda:9"),
        ({"normalize": "pixel", "in_memory": False, "size": 12}, "mean"),
        ({"init": "nowhere"}, "nowhere"),
        ({"batch": 1, "size": 4}, "more than one value"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ResiduaError) as refused:
        tiny.job(**changes)
    assert words in str(refused.value)
    assert refused.value.exit_code in (2, 3)


def test_a_broken_file_is_named_before_training(tmp_path: Path) -> None:
    root = tiny.folder(tmp_path)
    (root / "red" / "3.png").write_bytes(b"<html>")
    with pytest.raises(BadData) as bad:
        tiny.job(root)
    assert "3.png" in str(bad.value)


# Weights to start from ----------------------------------------------------------------------------


def stored(path: Path, classes: tuple[str, ...], look: Preprocessing | None = None) -> str:
    network = networks.build("resnet8-cifar", len(classes), seed=77)
    look = look or Preprocessing(8, "squash", 8, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    checkpoints.write_weights(path, Weights(network.state_dict(), network.name, classes, look))
    return str(path)


def test_weights_for_the_same_classes_are_taken_whole(tmp_path: Path) -> None:
    init = stored(tmp_path / "w", tuple("0123456789"))
    job = tiny.job(init=init, network=None)
    given = checkpoints.read_weights(Path(init)).tensors
    state = job.task.network.state_dict()
    assert all(torch.equal(state[name], given[name]) for name in given)
    look = job.task.preprocessing
    assert (look.size, look.mean, look.std) == (8, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert job.sources["network"] == job.sources["size"] == f"weights {init}"


def test_weights_for_other_classes_get_a_new_head(tmp_path: Path) -> None:
    for classes in (("a", "b", "c"), tuple("9876543210")):
        init = stored(tmp_path / f"w{len(classes)}", classes)
        state = tiny.job(init=init).task.network.state_dict()
        given = checkpoints.read_weights(Path(init)).tensors
        fresh = networks.build("resnet8-cifar", 10, seed=0).state_dict()
        for name, value in state.items():
            source = fresh if name.startswith("head") else given
            assert torch.equal(value, source[name]), name
        assert not torch.equal(fresh["head.linear.weight"][:3], given["head.linear.weight"][:3])


def test_weights_bring_their_network_size_and_fit(tmp_path: Path) -> None:
    look = Preprocessing(12, "pad", 12, (0.5,) * 3, (0.25,) * 3)
    start = checkpoints.read_weights(Path(stored(tmp_path / "w", ("a", "b"), look)))
    recipe, sources = inherit(Recipe(init="w"), start)
    assert (recipe.network, recipe.size, recipe.fit) == ("resnet8-cifar", 12, "pad")
    assert sources == dict.fromkeys(("network", "size", "fit"), "weights w")
    recipe, sources = inherit(Recipe(init="w", size=9, fit="crop"), start)
    assert (recipe.size, recipe.fit, list(sources)) == (9, "crop", ["network"])
    with pytest.raises(Refused, match="resnet8-cifar"):
        inherit(Recipe(init="w", network="resnet20-cifar"), start)


def test_weights_with_a_mean_of_each_pixel_need_their_size(tmp_path: Path) -> None:
    look = Preprocessing(8, mean=(0.5,) * 192)
    init = stored(tmp_path / "w", ("a", "b"), look)
    assert tiny.job(init=init).task.preprocessing.mean == look.mean
    with pytest.raises(ResiduaError, match="mean"):
        tiny.job(init=init, size=12)


def test_an_estimate_counts_what_training_will_do() -> None:
    job = tiny.job(epochs=3)
    found = estimate(job)
    assert found.parameters == sum(w.numel() for w in job.task.network.parameters())
    assert found.steps == 18
    assert 0 < found.seconds < 60 and found.memory > 16 * found.parameters
    assert found.multiply_adds > 100_000
    timed = estimate(tiny.job(epochs=None, time=30))
    assert timed.seconds == pytest.approx(30, rel=0.2)


def test_a_cache_is_beside_the_runs_and_holds_the_pictures(tmp_path: Path) -> None:
    source = tiny.folder(tmp_path / "data", images=8, size=40, splits=("train", "test"))
    settings = tiny.SETTINGS | {"cache": True, "size": 32, "crop": "area", "in_memory": False}
    job = prepare(source, "quick", [("test", settings)], tmp_path / "runs")
    assert job.task.train.kept is not None
    assert [path.name for path in (tmp_path / "runs" / ".cache").iterdir()]
    assert job.task.train.pixels(0).shape[2] == 3
    again = prepare(source, "quick", [("test", settings)], tmp_path / "runs")
    assert (again.task.train.pixels(3) == job.task.train.pixels(3)).all()


@pytest.mark.parametrize("whiten", ["start", "frozen"])
def test_a_whitened_first_layer_sees_uncorrelated_directions(whiten: str) -> None:
    usual, job = tiny.job(), tiny.job(whiten=whiten)
    first, other = (next(each.task.network.parameters()) for each in (usual, job))
    assert not torch.equal(first, other)
    assert other.requires_grad == (whiten == "start")


def test_a_network_made_for_whitened_patches_gets_them_unasked() -> None:
    job = tiny.job(network="sprint11-cifar", size=32)
    assert job.recipe.whiten == "frozen" and "whiten" in job.sources
    assert tiny.job().recipe.whiten == "off"


def test_images_that_start_too_small_for_the_network_are_refused() -> None:
    with pytest.raises(Refused, match="too small"):
        tiny.job(network="sprint11-cifar", size=12, grow=(0.5, 1.0))
