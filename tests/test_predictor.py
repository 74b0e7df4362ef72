"""Pictures to labels and features: the same door and numbers as in training and evaluation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from faults import photo
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from residua import api, datasets, images, networks, testing
from residua.checkpoints import Weights
from residua.errors import OutOfResources, Refused
from residua.execution import execution
from residua.images import Pixels, Preprocessing
from residua.predictor import Floats, Predictor, alike
from residua.protocols import Protocol
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
    asking = testing.Asking(batch=100)
    tested, _ = testing.evaluate([finished.weights()], data, "test", predictor.execution, asking)
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


# Protocols.

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
LOOK = Preprocessing(16, "crop", 20, MEAN, STD)
SHAPES = [(30, 41), (57, 33), (20, 20), (16, 16), (9, 12)]
PHOTOS = [photo(*shape, seed) for seed, shape in enumerate(SHAPES)]


def untrained(look: Preprocessing, name: str = "resnet8-cifar", seed: int = 0) -> Weights:
    """A network whose scores differ much from picture to picture."""
    network = networks.build(name, 4, seed=seed)
    with torch.no_grad():
        network.head.linear.weight.mul_(5)
    return Weights(network.state_dict(), name, ("a", "b", "c", "d"), look, sha256=f"{name} {seed}")


def asked(weights: Weights, protocol: Protocol) -> Predictor:
    return Predictor(
        weights, execution(Recipe(threads=1, device="cpu", precision="fp32")), protocol
    )


def network_input(view: Pixels) -> Tensor:
    """One view as the network takes it (1, 3, h, w), by hand."""
    values = (view / 255 - np.array(MEAN)) / np.array(STD)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)[None], np.float32))


def mean_of(logits: list[Tensor], average: str) -> Floats:
    """The scores (classes) of views with logits (1, classes) each."""
    together = torch.cat(logits)
    if average == "softmax":
        return together.softmax(1).mean(0).numpy()
    return together.mean(0).softmax(0).numpy()


def ten_crops(weights: Weights, pixels: Pixels, average: str) -> Floats:
    """View after view (FACTS: 4 corners and center, mirrored, of the resized picture)."""
    network, size, look = weights.build(), weights.preprocessing.size, weights.preprocessing
    height, width = pixels.shape[:2]
    scale = look.resize / min(height, width)
    shape = (look.resize, look.resize)
    if look.fit == "crop":
        shape = (round(width * scale), round(height * scale))
    if look.fit == "pad":
        whole = images.padded(pixels, look.resize)
    else:
        whole = np.asarray(Image.fromarray(pixels).resize(shape, Image.Resampling.BILINEAR))
    if look.resize == size:
        whole = np.pad(whole, ((2, 2), (2, 2), (0, 0)))
    bottom, right = whole.shape[0] - size, whole.shape[1] - size
    logits = []
    for y, x in [(0, 0), (0, right), (bottom, 0), (bottom, right)] + [
        (round(bottom / 2), round(right / 2))
    ]:
        crop = whole[y : y + size, x : x + size]
        for view in (crop, crop[:, ::-1]):
            with torch.no_grad():
                logits.append(network(network_input(view)))
    return mean_of(logits, average)


@pytest.mark.parametrize("average", ["softmax", "logits"])
@pytest.mark.parametrize("fit", images.FITS)
@pytest.mark.parametrize("resize", [20, 16])
def test_ten_crops_equal_a_naive_loop(average: str, fit: str, resize: int) -> None:
    weights = untrained(replace(LOOK, fit=fit, resize=resize))
    found = asked(weights, Protocol("ten-crop", average)).scores(PHOTOS)
    expected = [ten_crops(weights, pixels, average) for pixels in PHOTOS]
    assert np.allclose(found, expected, rtol=0, atol=1e-5)
    assert found.dtype == np.float32 and found.sum(1) == pytest.approx(1, abs=1e-6)
    other = "logits" if average == "softmax" else "softmax"
    different = [asked(weights, Protocol()).scores(PHOTOS)]
    different += [asked(weights, Protocol("ten-crop", other)).scores(PHOTOS)]
    assert all(np.abs(found - scores).max() > 1e-3 for scores in different)  # so it can fail


def dense(weights: Weights, pixels: Pixels, protocol: Protocol) -> Floats:
    """Scale after scale: the head by hand at every place, the places' logits averaged."""
    network, linear = weights.build(), weights.build().head.linear
    side = weights.preprocessing.size // network.stride
    height, width = pixels.shape[:2]
    logits = []
    for scale in protocol.scales:
        shape = (
            round(width * scale / min(height, width)),
            round(height * scale / min(height, width)),
        )
        view = np.asarray(Image.fromarray(pixels).resize(shape, Image.Resampling.BILINEAR))
        for shown in (view, view[:, ::-1])[: 1 + protocol.mirror]:
            with torch.no_grad():
                maps = network.features(network_input(shown))  # (1, c, h, w)
                places = [
                    linear(maps[:, :, y : y + side, x : x + side].mean((2, 3)))
                    for y in range(maps.shape[2] - side + 1)
                    for x in range(maps.shape[3] - side + 1)
                ]
            logits.append(torch.cat(places).mean(0, keepdim=True))
    return mean_of(logits, protocol.average)


@pytest.mark.parametrize("average", ["softmax", "logits"])
@pytest.mark.parametrize("mirror", [True, False])
def test_multi_scale_equals_a_naive_loop(average: str, mirror: bool) -> None:
    weights = untrained(LOOK)
    protocol = Protocol("multi-scale", average, (16, 19, 28), mirror)
    found = asked(weights, protocol).scores(PHOTOS)
    expected = [dense(weights, pixels, protocol) for pixels in PHOTOS]
    assert np.allclose(found, expected, rtol=0, atol=1e-5)
    single = asked(weights, Protocol()).scores(PHOTOS)
    turned = asked(weights, replace(protocol, mirror=not mirror)).scores(PHOTOS)
    assert np.abs(found - single).max() > 1e-3 and np.abs(found - turned).max() > 1e-4


@pytest.mark.parametrize("mean", [MEAN, tuple(np.linspace(0, 1, 768).tolist())])
@pytest.mark.parametrize("name", ["resnet8-cifar", "nin-cifar", "plain8-cifar"])
def test_the_training_size_alone_is_the_single_view_of_squares(
    name: str, mean: tuple[float, ...]
) -> None:
    look = Preprocessing(16, mean=mean, std=STD)
    network = networks.build(name, 4)
    weights = Weights(network.state_dict(), name, ("a", "b", "c", "d"), look)
    squares = [photo(16, 16, 1), photo(16, 16, 2), photo(40, 40, 3)]
    single = asked(weights, Protocol()).scores(squares)
    around = np.array(mean).reshape((16, 16, 3) if len(mean) > 3 else 3)
    views = [(look.view(pixels) / 255 - around) / np.array(STD) for pixels in squares]
    with torch.no_grad():
        inputs = torch.from_numpy(np.stack(views).astype(np.float32)).permute(0, 3, 1, 2)
        expected = weights.build()(inputs).softmax(1).numpy()
    assert np.allclose(single, expected, rtol=0, atol=1e-5)
    alone = asked(weights, Protocol("multi-scale", scales=(16,), mirror=False)).scores(squares)
    assert np.allclose(alone, single, rtol=0, atol=1e-5)


def test_views_of_another_size_lose_the_mean_of_the_channels() -> None:
    """A mean of each pixel has no meaning at other sizes."""
    mean = np.linspace(0, 1, 768).reshape(16, 16, 3)
    look = Preprocessing(16, mean=tuple(mean.ravel().tolist()), std=STD)
    channels = replace(look, mean=tuple(mean.mean((0, 1)).tolist()))
    protocol = Protocol("multi-scale", scales=(20,), mirror=False)
    one, other = (asked(untrained(each), protocol).scores(PHOTOS) for each in (look, channels))
    assert np.allclose(one, other, rtol=0, atol=1e-5)


SEVERAL_PROTOCOLS = [
    Protocol(), Protocol("ten-crop"), Protocol("ten-crop", "logits"),
    Protocol("multi-scale", scales=(16, 20)),
]  # fmt: skip


@pytest.mark.parametrize("protocol", SEVERAL_PROTOCOLS, ids=lambda protocol: protocol.slug)
def test_what_is_asked_together_changes_no_score(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the other pictures nor how many views are in a step."""
    weights = untrained(LOOK)
    together = asked(weights, protocol).scores(PHOTOS)
    alone = np.concatenate([asked(weights, protocol).scores([each]) for each in PHOTOS])
    assert np.allclose(alone, together, rtol=0, atol=1e-6)
    for limit, value in (("VIEWS", 3), ("PIXELS", 900)):
        monkeypatch.setattr(f"residua.predictor.{limit}", value)
        assert np.allclose(asked(weights, protocol).scores(PHOTOS), together, rtol=0, atol=1e-6)


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(1, 3), max_size=5), max_size=6), st.integers(1, 4))
def test_views_of_one_shape_are_asked_together_each_once(
    widths: list[list[int]], most: int
) -> None:
    """In steps that the limits allow, each with the position of its picture."""
    pictures = [
        [np.full((2, width, 3), 10 * position + place, np.uint8) for place, width in enumerate(row)]
        for position, row in enumerate(widths)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("residua.predictor.VIEWS", most)
        found = [
            (int(position), view[0, 0, 0] % 10, view.shape[1])
            for positions, batch in alike(pictures)
            for position, view in zip(positions, batch, strict=True)
            if len(batch) <= most
        ]
    expected = [
        (position, place, width)
        for position, row in enumerate(widths)
        for place, width in enumerate(row)
    ]
    assert sorted(found) == expected


@pytest.mark.parametrize("name", ["single", "ten-crop"])
def test_networks_of_whole_images_take_crops_and_refuse_to_be_dense(name: str) -> None:
    network = networks.build("highway10-fc", 3)
    weights = Weights(network.state_dict(), "highway10-fc", ("a", "b", "c"), Preprocessing(28))
    assert asked(weights, Protocol(name)).scores(PHOTOS).shape == (5, 3)
    for protocol in (Protocol("multi-scale"), Protocol("multi-scale", scales=(28,))):
        with pytest.raises(Refused, match="highway10-fc cannot be applied densely") as refused:
            asked(weights, protocol)
        assert "ten-crop" in refused.value.fix


def test_scales_below_the_training_size_are_refused() -> None:
    with pytest.raises(Refused, match="at 12 pixels resnet8-cifar has no place") as refused:
        asked(untrained(LOOK), Protocol("multi-scale", scales=(20, 12)))
    assert refused.value.where == "scales 20, 12" and "from 16" in refused.value.fix


def test_scales_that_do_not_fit_into_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = Protocol("multi-scale", scales=(16, 64))
    # Maps of 16 x 64 x 256, or the picture's 3 x 64 x 256; about three of 4 bytes each.
    need = 3 * 4 * 16 * 64 * 256
    monkeypatch.setattr("residua.resources.free_memory", lambda: need)
    assert asked(untrained(LOOK), protocol).scores(PHOTOS).shape == (5, 4)
    monkeypatch.setattr("residua.resources.free_memory", lambda: need - 1)
    with pytest.raises(OutOfResources, match="a scale of 64 pixels needs about 4 MB") as refused:
        asked(untrained(LOOK), protocol)
    assert "4 MB are free" in refused.value.where and "--scales" in refused.value.fix


def test_a_strip_passes_at_the_largest_of_usual_scales() -> None:
    line = photo(1, 3000, 0)
    protocol = Protocol("multi-scale")
    views = asked(untrained(LOOK), protocol).views(line)
    assert max(view.shape[1] for view in views) == 4 * 20
    assert asked(untrained(LOOK), protocol).scores([line]).shape == (1, 4)
