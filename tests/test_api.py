"""The verbs as Python functions, from the package's own name."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

import residua as rs
from residua import images
from residua.errors import BadData, Refused
from residua.events import Advance
from residua.predictor import Prediction
from residua.protocols import Protocol
from residua.workflow import begin, follow

SHORT = {**tiny.SETTINGS, "epochs": 1, "batch": 8, "size": 12}


def test_importing_loads_no_torch() -> None:
    code = "import sys, residua as rs; print('torch' in sys.modules, sorted(dir(rs)) == rs.__all__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_train_is_the_function_and_not_the_module_of_that_name() -> None:
    """Whichever public name is used first; importing a submodule binds its name to the package."""
    for first in ("load", "train"):
        code = f"import residua as rs; rs.{first}; print(*(callable(rs.train) for _ in range(3)))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.split() == ["True"] * 3, done.stderr


def test_public_names_are_all_there() -> None:
    for name in rs.__all__:
        assert getattr(rs, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        rs.nothing  # noqa: B018


def test_a_network_is_an_ordinary_module() -> None:
    network = rs.network("resnet56-cifar", classes=10)
    assert isinstance(network, torch.nn.Module)
    assert sum(weight.numel() for weight in network.parameters()) == 853_018
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@pytest.fixture(scope="module")
def colors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder without splits."""
    return tiny.folder(tmp_path_factory.mktemp("data") / "colors", 15)


@pytest.fixture(scope="module")
def run(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> rs.Run:
    """Trained on splits that another seed than the default drew."""
    return rs.train(
        colors, runs=tmp_path_factory.mktemp("runs"), **SHORT | {"seed": 5, "epochs": 12}
    )


def recorded(run: rs.Run) -> dict[str, Any]:
    return run.directory.read_json("evaluations/single.json")


def test_training_leaves_a_run(run: rs.Run) -> None:
    assert run.path.name == "colors-resnet8-cifar-1"
    assert run.info["status"] == "done"
    assert run.info["command"][0] == "residua.train"
    assert {row["split"] for row in run.metrics} == {"train", "validation"}
    assert recorded(run)["error"] <= 0.2
    again = rs.Run.open(run.path.parent / "latest")
    assert again.info == run.info


def test_a_run_is_evaluated_on_its_own_test_images(run: rs.Run, colors: Path) -> None:
    """The split is drawn with the run's seed: another would hold training images."""
    for data in (None, colors):
        tested = run.evaluate(data)
        assert tested.data == run.info["data"]["fingerprint"]
        assert (tested.total, tested.wrong) == (recorded(run)["total"], recorded(run)["wrong"])
        assert tested.interval[0] <= tested.error <= tested.interval[1]
        assert tested.confusion.sum() == tested.total
    assert len(run.info["test_reads"]) == 1  # asking in Python writes nothing


def test_a_run_is_asked_in_other_ways(run: rs.Run) -> None:
    single = run.evaluate()
    crops = run.evaluate(protocol="ten-crop", average="logits")
    dense = run.evaluate(protocol="multi-scale", scales=[12, 18], mirror=False)
    assert crops.protocol == Protocol("ten-crop", "logits")
    assert dense.protocol == Protocol("multi-scale", scales=(12, 18), mirror=False)
    for tested in (crops, dense):
        assert tested.names == single.names and tested.weights == single.weights
        assert not np.allclose(tested.scores, single.scores, atol=1e-3)
    with pytest.raises(Refused, match='did you mean "ten-crop"'):
        run.evaluate(protocol="tencrop")
    with pytest.raises(Refused, match="no place to look"):
        run.evaluate(protocol="multi-scale", scales=[8])


def test_a_data_set_keeps_the_split_that_it_was_loaded_with(colors: Path, tmp_path: Path) -> None:
    """Whatever the seed of the training: the run is evaluated and resumed on the same images."""
    data = rs.load(colors, seed=1)
    job = tiny.job(data, **SHORT | {"seed": 2, "checkpoint_every": 1})
    directory = begin(job, tmp_path, ["test"])
    events = follow(job, directory)
    for event in events:
        if isinstance(event, Advance) and event.step == 3:
            break
    events.close()  # type: ignore[attr-defined]
    run = rs.resume(directory.path)
    assert run.info["status"] == "done"
    assert run.info["data"]["fingerprint"] == data.fingerprint
    tested = run.evaluate()
    test = data.splits["test"]
    assert tested.names == tuple(test.name(index) for index in range(len(test)))
    assert tested.wrong == recorded(run)["wrong"]


def test_predictions_name_the_colors(run: rs.Run, colors: Path) -> None:
    path = colors / "red" / "3.png"
    first, *others = run.predict(path)
    assert isinstance(first, Prediction)
    assert first.label == "red" and first.score == max(p.score for p in [first, *others])
    assert run.predict(str(path)) == run.predict(path.read_bytes()) == [first, *others]
    assert run.predict(path, top=1) == [first]
    answers = list(rs.predict(run.weights(), [path, colors / "blue" / "1.png", colors]))
    assert [bool(answer.error) for answer in answers] == [False, False, True]
    scores = run.network()(input_of(run, path)).softmax(1)[0]
    assert first.score == pytest.approx(scores.max().item(), abs=1e-5)


def input_of(run: rs.Run, path: Path) -> torch.Tensor:
    """What the network takes, by hand."""
    look = run.weights().preprocessing
    pixels = look.view(images.read(path)) / 255
    values = ((pixels - np.array(look.mean)) / np.array(look.std)).astype(np.float32)
    return torch.from_numpy(values).permute(2, 0, 1)[None]


def test_a_picture_that_cannot_be_read_is_an_error(run: rs.Run, tmp_path: Path) -> None:
    for picture in (tmp_path / "missing.png", b"nothing"):
        with pytest.raises(BadData) as bad:
            run.predict(picture)
        assert bad.value.where


def test_weights_are_opened_by_run_or_by_file(run: rs.Run) -> None:
    by_run = rs.open_weights(run.path)
    by_file = rs.open_weights(run.path / "weights.safetensors")
    assert by_run.sha256 == by_file.sha256 == recorded(run)["weights"]
    assert by_run.classes == ("blue", "green", "red")


def test_misspelled_settings_names_and_data_are_refused(tmp_path: Path) -> None:
    for wrong in ({"epohcs": 3}, {"recipe": "quik"}, {"network": "resnet21-cifar"}):
        with pytest.raises(Refused):
            rs.train("digits", runs=tmp_path, **wrong)  # type: ignore[arg-type]
    with pytest.raises(Refused):
        rs.load(str(tmp_path / "missing"))
    with pytest.raises(BadData):
        rs.resume(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_fine_tuning_starts_from_a_run(run: rs.Run, tmp_path: Path) -> None:
    """With other classes: a new head on the features that were learned."""
    tuned = rs.train(
        tiny.digits(), runs=tmp_path, init=str(run.path), epochs=1, validation=0.2, batch=64,
        threads=1, workers=0, precision="fp32", device="cpu", learning_rate=0.0,
    )  # fmt: skip
    assert tuned.info["status"] == "done"
    weights = tuned.weights()
    assert (weights.network, len(weights.classes)) == ("resnet8-cifar", 10)
    assert weights.preprocessing.size == 12
    before, after = run.weights().tensors, weights.tensors
    name = "features.stem.conv.weight"
    assert torch.equal(before[name], after[name])
    assert tuned.directory.read_json("recipe.json")["recipe"] in ("auto", "finetune")


class Stranger(torch.nn.Module):
    """Not a network of ours: two convolutions and a sum that torch.fx can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.second = torch.nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return x + self.second(x)


def test_any_module_is_drawn_beside_a_network_by_name() -> None:
    drawn = rs.draw(Stranger(), rs.network("resnet8-cifar", channels=1), size=16, channels=1)

    picture = drawn.svg("dark")
    assert picture.startswith("<svg")
    assert "Stranger" in picture and "resnet8-cifar" in picture
    assert "<script" in drawn.page()
    assert rs.draw("plain8-cifar", "resnet8-cifar", compare=True).differences


def test_features_are_averaged_maps(run: rs.Run, colors: Path) -> None:
    picture = colors / "blue" / "1.png"
    vectors = run.features([picture, picture.read_bytes()])

    assert vectors.shape == (2, run.network().head.linear.in_features)
    assert np.array_equal(vectors[0], vectors[1])
    with pytest.raises(BadData, match="nothing.png"):
        run.features([colors / "nothing.png"])
