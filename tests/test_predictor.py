"""Pictures to labels and features: the same door and numbers as in training and evaluation."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from residua import api, datasets, images, networks, workflow
from residua.checkpoints import Weights
from residua.errors import Refused
from residua.execution import execution
from residua.images import Preprocessing
from residua.predictor import Predictor
from residua.recipes import Recipe

SEVERAL = [
    "resnet18",
    *(
        template.format(depth=min(family.depths))
        for template, family in networks.NETWORKS.items()
        if family.size <= 32
    ),
]


@pytest.fixture(scope="module")
def predictor(finished: api.Run) -> Predictor:
    return Predictor(finished.weights(), execution(Recipe(threads=1)))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Some test digits as files, larger than the network's input and in several formats."""
    folder, test = tmp_path_factory.mktemp("pictures"), datasets.load("digits").splits["test"]
    paths = []
    for index in range(70):
        path = folder / f"{index}.{('png', 'webp', 'bmp')[index % 3]}"
        picture = Image.fromarray(test.pixels(index))
        picture.resize((16, 16), Image.Resampling.NEAREST).save(path, lossless=True)
        paths.append(path)
    return paths


def test_a_picture_gets_the_scores_of_an_evaluation(
    finished: api.Run, predictor: Predictor
) -> None:
    """Whatever else is in its batch."""
    data = datasets.load("digits")
    tested = workflow.evaluate(
        finished.weights(), data, "test", "single", predictor.execution, batch=100
    )
    pixels = [data.splits["test"].pixels(index) for index in range(40)]
    together = predictor.scores(pixels)
    alone = np.concatenate([predictor.scores([picture]) for picture in pixels])
    assert np.allclose(together, tested.scores[:40], atol=1e-5)
    assert np.allclose(alone, together, atol=1e-5)


def test_answers_come_in_order_with_falling_scores(
    predictor: Predictor, pictures: list[Path]
) -> None:
    answers = list(predictor.predict(pictures, top=3))
    assert [answer.name for answer in answers] == [str(path) for path in pictures]
    expected = predictor.scores([images.read(path) for path in pictures])
    for answer, scores in zip(answers, expected, strict=True):
        assert [p.label for p in answer.predictions] == [str(k) for k in np.argsort(-scores)[:3]]
        assert [p.score for p in answer.predictions] == pytest.approx(np.sort(scores)[::-1][:3])
    every = next(predictor.predict(pictures[:1], top=99))
    assert len(every.predictions) == 10
    assert sum(p.score for p in every.predictions) == pytest.approx(1, abs=1e-5)


def test_bytes_are_pictures_too(predictor: Predictor, pictures: list[Path]) -> None:
    by_path, by_bytes = predictor.predict([pictures[0], pictures[0].read_bytes()])
    assert by_bytes.predictions == by_path.predictions
    assert by_bytes.name == "bytes"


def test_a_bad_picture_gets_a_reason_and_does_not_end_the_work(
    predictor: Predictor, pictures: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "page.jpg").write_bytes(b"<html></html>")
    (tmp_path / "cut.png").write_bytes(pictures[0].read_bytes()[:60])
    bad = [tmp_path / "page.jpg", tmp_path / "missing.png", tmp_path, b"", tmp_path / "cut.png"]
    mixed = [bad[0], *pictures[:66], *bad[1:], pictures[66]]
    answers = list(predictor.predict(mixed))
    assert [bool(answer.error) for answer in answers] == [True, *[False] * 66, *[True] * 4, False]
    assert all(bool(answer.predictions) != bool(answer.error) for answer in answers)
    plain = predictor.predict(pictures[:67])
    good = [answer.predictions for answer in answers if not answer.error]
    for one, other in zip(good, plain, strict=True):
        assert [p.label for p in one] == [p.label for p in other.predictions]


def test_pictures_are_taken_as_they_are_needed(predictor: Predictor, pictures: list[Path]) -> None:
    """A stream without end is answered piece by piece."""
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield pictures[0]

    answers = predictor.predict(endless())  # type: ignore[arg-type]
    next(answers)
    assert taken <= 64
    assert list(predictor.predict([])) == []


def test_asking_changes_nothing(predictor: Predictor, pictures: list[Path]) -> None:
    before = {name: value.clone() for name, value in predictor.network.state_dict().items()}
    list(predictor.predict(pictures[:3]))
    after = predictor.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not predictor.network.training


@pytest.mark.parametrize("name", SEVERAL)
def test_features_are_the_averaged_maps_of_a_level(name: str) -> None:
    """Whatever the network; and asking for them changes no score."""
    network = networks.build(name, 3).eval()
    look = Preprocessing(max(2 * network.stride, network.smallest), "squash", 0)
    weights = Weights(network.state_dict(), name, ("a", "b", "c"), look)
    predictor = Predictor(weights, execution(Recipe(threads=1)))
    pixels = np.random.default_rng(0).integers(0, 256, (2, look.size, look.size, 3), np.uint8)
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        last = network.features(x).mean((2, 3)).numpy()
    found = predictor.features(list(pixels))
    assert found.dtype == np.float32
    assert np.allclose(found, last, rtol=1e-3, atol=1e-4 * np.abs(last).max())
    for level in network.features.levels():
        with torch.no_grad():
            expected = network.features(x, [level])[0].mean((2, 3)).numpy()
        found = predictor.features(list(pixels), level)
        assert np.allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max()), level
    scores, _ = predictor.both(list(pixels), predictor.stage())
    assert np.array_equal(scores, predictor.scores(list(pixels)))


def test_answers_bring_features_where_asked(predictor: Predictor, pictures: list[Path]) -> None:
    plain = list(predictor.predict(pictures, top=2))
    described = list(predictor.predict(pictures, 2, predictor.stage()))
    assert [answer.predictions for answer in described] == [a.predictions for a in plain]
    assert all(answer.features is None for answer in plain)
    expected = predictor.features([images.read(path) for path in pictures])
    assert np.allclose([answer.features for answer in described], expected, atol=1e-5)


def test_a_level_that_is_not_there(predictor: Predictor) -> None:
    with pytest.raises(Refused, match="no level 9"):
        predictor.stage(9)
