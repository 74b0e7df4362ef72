"""Networks tested on data: classes by name, every image once, ensembles, copies between splits."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from faults import photo
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from residua import datasets, networks
from residua.checkpoints import Weights, read_weights, write_weights
from residua.datasets.dataset import Dataset, Split
from residua.errors import BadData, Refused
from residua.evaluate import Evaluation
from residua.execution import execution
from residua.images import Preprocessing
from residua.intervals import wilson
from residua.predictor import Predictor
from residua.protocols import Protocol
from residua.recipes import Recipe
from residua.testing import (
    PLAINLY,
    VIEW_BYTES,
    Asking,
    at_a_time,
    evaluate,
    leaks,
    matched,
    usual_split,
)

COLORS = ("blue", "green", "red")
RUN_ON = execution(Recipe(threads=1, device="cpu", precision="fp32"))
ONE = Preprocessing(16, "crop", 20, (0.4, 0.4, 0.4), (0.2, 0.2, 0.2))
OTHER = Preprocessing(12, "squash")


def untrained(
    look: Preprocessing = ONE,
    name: str = "resnet8-cifar",
    classes: tuple[str, ...] = COLORS,
    seed: int = 0,
) -> Weights:
    """A network whose scores differ from picture to picture."""
    network = networks.build(name, len(classes), seed=seed)
    with torch.no_grad():
        network.head.linear.weight.mul_(5)
    return Weights(network.state_dict(), name, classes, look, sha256=f"{name} {seed}")


def colors_and_two_networks(folder: Path, images: int) -> None:
    """Pictures in "colors", one of them broken; networks in a.safetensors and b."""
    tiny.folder(folder / "colors", images=-(-images // 3), size=24)
    for path in sorted(folder.glob("colors/red/*"))[: -images % 3]:
        path.unlink()
    (folder / "colors" / "blue" / "1.png").write_bytes(b"<html>")
    write_weights(folder / "a.safetensors", untrained())
    turned = untrained(OTHER, "plain8-cifar", COLORS[::-1], seed=1)
    write_weights(folder / "b.safetensors", turned)


@pytest.fixture(scope="module")
def colors(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("data") / "colors"
    return datasets.load(tiny.folder(root, images=6, size=24, splits=("train", "test")))


def asked(
    members: list[Weights], data: Dataset, asking: Asking = PLAINLY, split: str = "test"
) -> Evaluation:
    return evaluate(members, data, split, RUN_ON, asking)[0]


def alike(one: Evaluation, other: Evaluation) -> bool:
    same = (one.predictions == other.predictions).all() and (one.labels == other.labels).all()
    near = np.allclose(one.scores, other.scores, rtol=0, atol=1e-6)
    return bool(same) and near and one.names == other.names


# Nothing but the protocol, the network and the images decides.


PROTOCOLS = [Protocol(), Protocol("ten-crop"), Protocol("multi-scale", scales=(16, 20))]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_batches_and_workers_change_nothing(colors: Dataset, protocol: Protocol) -> None:
    plain = asked([untrained()], colors, Asking(protocol))
    assert len(np.unique(plain.scores[:, 0])) == plain.total == 18
    assert plain.protocol == protocol and plain.split == "test"
    for batch, workers in ((1, 0), (5, 2), (7, 0), (100, 2)):
        asking = Asking(protocol, batch=batch, workers=workers)
        again = asked([untrained()], colors, asking)
        assert alike(plain, again), (batch, workers)
        assert again.wrong == plain.wrong and again.error == plain.error


def test_scores_are_those_of_the_predictor(colors: Dataset) -> None:
    asker, split = Predictor(untrained(), RUN_ON, Protocol("ten-crop")), colors.splits["test"]
    expected = asker.scores([split.pixels(index) for index in range(len(split))])
    found = asked([untrained()], colors, Asking(Protocol("ten-crop")))
    assert np.allclose(found.scores, expected, rtol=0, atol=1e-6)
    assert found.names == split.names and found.labels.tolist() == split.labels.tolist()
    assert found.data == colors.fingerprint and found.weights == ("resnet8-cifar 0",)


def test_all_splits_at_once(colors: Dataset) -> None:
    whole = asked([untrained()], colors, split="all")
    parts = [asked([untrained()], colors, split=role) for role in ("train", "test")]
    assert whole.total == 36 and whole.wrong == sum(part.wrong for part in parts)
    assert whole.names == parts[0].names + parts[1].names


def test_images_at_a_time_are_fewer_the_more_is_shown_of_each() -> None:
    look = Preprocessing(224, "crop", 256)
    counts = []
    for protocol in (Protocol(), Protocol("ten-crop"), Protocol("multi-scale")):
        member = Predictor(untrained(look, "resnet18-gn"), RUN_ON, protocol)
        counts.append(at_a_time([member]))
        of_one = sum(view.nbytes for view in member.views(np.zeros((224, 448, 3), np.uint8)))
        assert counts[-1] == 1 or counts[-1] * of_one <= VIEW_BYTES
        assert at_a_time([member, member]) <= counts[-1]
    assert counts == sorted(counts, reverse=True) and counts[0] > 200 and counts[2] >= 1
    assert at_a_time([Predictor(untrained(), RUN_ON)]) == 500


# Images that cannot be read.


@pytest.fixture
def broken(tmp_path: Path) -> Dataset:
    """Of 18 test images 0 and 4, both of class 0, and 9 cannot be read."""
    source = tiny.folder(tmp_path / "colors", images=6, size=24, splits=("train", "test"))
    for name in ("blue/0.png", "blue/4.png", "green/3.png"):
        (source / "test" / name).write_bytes(b"<html>")
    return datasets.load(source)


BROKEN = ("test/blue/0.png", "test/blue/4.png", "test/green/3.png")


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_images_count_as_wrong_whatever_their_class(
    broken: Dataset, workers: int
) -> None:
    found = asked([untrained()], broken, Asking(workers=workers, batch=5))
    bad = np.flatnonzero(~found.readable)
    assert tuple(found.names[index] for index in bad) == BROKEN
    assert (found.total, found.skipped) == (18, ())
    assert not found.right[bad].any() and found.labels[bad].tolist() == [0, 0, 1]
    left = found.without(bad)
    assert found.wrong == left.wrong + 3 and left.total == 15
    rows = found.rows()
    assert [rows[index]["prediction"] for index in bad] == ["", "", ""]
    numbers = found.to_dict()
    assert numbers["unreadable"] == 3
    assert [row["total"] for row in numbers["per_class"]] == [6, 6, 6]
    assert sum(row["wrong"] for row in numbers["per_class"]) == found.wrong
    assert np.sum(numbers["confusion"]) == 15
    assert numbers["top5_error"] == 3 / 18


def test_unreadable_images_are_left_out_only_where_asked_and_named(broken: Dataset) -> None:
    counted = asked([untrained()], broken)
    skipping = asked([untrained()], broken, Asking(skip_unreadable=True))
    assert skipping.skipped == tuple(skipping.summary()["skipped"]) == BROKEN
    assert (skipping.total, skipping.wrong) == (15, counted.wrong - 3)
    assert skipping.readable.all() and skipping.summary()["unreadable"] == 0
    assert not set(skipping.names) & set(BROKEN)
    together, alone = evaluate(
        [untrained(), untrained(seed=1)], broken, "test", RUN_ON, Asking(skip_unreadable=True)
    )
    assert all(each.skipped == BROKEN and each.total == 15 for each in (together, *alone))


def test_skipping_changes_nothing_where_all_can_be_read(colors: Dataset) -> None:
    found = asked([untrained()], colors, Asking(skip_unreadable=True))
    assert found.total == 18 and found.skipped == ()


@pytest.mark.parametrize("skip", [True, False])
def test_a_split_of_which_nothing_can_be_read_is_refused(broken: Dataset, skip: bool) -> None:
    images = broken.splits["test"].images
    assert isinstance(images, tuple)
    for path in images:
        path.write_bytes(b"")
    with pytest.raises(BadData, match="none of the images can be read"):
        asked([untrained()], broken, Asking(skip_unreadable=skip))


# Classes.


def labelled(classes: tuple[str, ...], labels: list[int], divided: bool = True) -> Dataset:
    pixels = torch.zeros(len(labels), 8, 8, 3, dtype=torch.uint8)
    split = Split(pixels, torch.tensor(labels))
    splits = {"train": split, "test": split}
    return Dataset("d", "the source", classes, splits, "f", divided=divided)


ANIMALS = ("cat", "dog", "eel")


@given(st.permutations(("ant", *ANIMALS)), st.sampled_from([str, str.upper, str.title]))
def test_labels_are_matched_by_name(order: list[str], case: Callable[[str], str]) -> None:
    """Whatever the order and the case; the network may know more."""
    data = labelled(tuple(map(case, ANIMALS)), [0, 1, 2, 2])
    split = matched(data, "test", tuple(order))
    assert [order[k] for k in split.labels] == ["cat", "dog", "eel", "eel"]
    assert data.splits["test"].labels.tolist() == [0, 1, 2, 2]


def test_the_same_case_goes_before_another() -> None:
    split = matched(labelled(("Cat", "cat"), [0, 1]), "test", ("cat", "Cat"))
    assert split.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("classes", "known", "strange"),
    [
        (ANIMALS, ("cat", "dog", "bee"), "eel"),
        (ANIMALS, ("cat", "dog"), "eel"),
        (("CAT", "dog"), ("cat", "Cat", "dog"), "CAT"),  # either may be meant
        (("cat", "Cat", "dog"), ("cat", "dog"), "Cat"),  # two classes cannot be one
        (("CAT", "Cat", "dog"), ("cat", "dog"), "CAT, Cat"),
    ],
)
def test_classes_that_cannot_be_matched_are_refused_with_both_lists(
    classes: tuple[str, ...], known: tuple[str, ...], strange: str
) -> None:
    with pytest.raises(Refused) as refused:
        matched(labelled(classes, [0]), "test", known)
    assert refused.value.what.endswith(f"classes: {strange}")
    assert refused.value.where == f"the source has {', '.join(classes)}"
    assert refused.value.fix == f"it knows {', '.join(known)}"


def test_a_split_that_is_not_there_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        matched(labelled(ANIMALS, [0]), "validation", ANIMALS)
    assert refused.value.fix == "it has train, test"
    assert len(matched(labelled(ANIMALS, [0, 1]), "all", ANIMALS)) == 4


def test_other_data_without_a_test_split_is_evaluated_whole() -> None:
    divided, undivided = (labelled(ANIMALS, [0], divided=each) for each in (True, False))
    assert usual_split(divided, own=False) == usual_split(undivided, own=True) == "test"
    assert usual_split(undivided, own=False) == "all"


def test_the_order_of_the_datas_classes_does_not_matter(colors: Dataset) -> None:
    turned = colors.classes[::-1]
    splits = {
        role: replace(split, labels=2 - split.labels) for role, split in colors.splits.items()
    }
    other = replace(colors, classes=turned, splits=splits)
    one, two = (asked([untrained()], data).to_dict() for data in (colors, other))
    assert one | {"seconds": 0} == two | {"seconds": 0}


# Ensembles.


def members() -> list[Weights]:
    return [untrained(), untrained(OTHER, "plain8-cifar", COLORS, 1), untrained(ONE, seed=2)]


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_an_ensemble_is_the_mean_of_what_each_says_alone(
    colors: Dataset, protocol: Protocol
) -> None:
    """Though their preprocessing differs: each sees its own."""
    together, alone = evaluate(members(), colors, "test", RUN_ON, Asking(protocol))
    by_itself = [asked([each], colors, Asking(protocol)) for each in members()]
    assert all(map(alike, alone, by_itself))
    expected = np.mean([each.scores for each in by_itself], axis=0)
    assert np.allclose(together.scores, expected, rtol=0, atol=1e-6)
    assert together.scores.dtype == np.float32
    assert together.weights == tuple(each.sha256 for each in members())
    assert [each.weights for each in alone] == [(each.sha256,) for each in members()]
    assert np.abs(together.scores - by_itself[0].scores).max() > 1e-2


def test_an_ensemble_of_one_is_the_network(colors: Dataset) -> None:
    together, (alone,) = evaluate([untrained()], colors, "test", RUN_ON)
    assert together is alone
    twice = asked([untrained(), untrained()], colors)
    assert np.allclose(twice.scores, alone.scores, rtol=0, atol=1e-7)


@pytest.mark.parametrize("shares", [(1.0, 0.0, 0.0), (3.0, 1.0, 0.0), (0.2, 0.3, 0.5)])
def test_shares_weigh(colors: Dataset, shares: tuple[float, ...]) -> None:
    together, alone = evaluate(members(), colors, "test", RUN_ON, Asking(shares=shares))
    expected = sum(
        share / sum(shares) * each.scores for share, each in zip(shares, alone, strict=True)
    )
    assert np.allclose(together.scores, expected, rtol=0, atol=1e-6)
    assert np.allclose(together.scores.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize(
    "shares",
    [(1.0,), (1.0,) * 4, (0.0,) * 3, (2.0, -1.0, 1.0), (1.0, 1.0, math.nan), (1.0, math.inf, 1.0)],
)
def test_shares_that_are_no_shares_are_refused(colors: Dataset, shares: tuple[float, ...]) -> None:
    with pytest.raises(Refused, match="share"):
        evaluate(members(), colors, "test", RUN_ON, Asking(shares=shares))


def test_networks_that_order_their_classes_otherwise_answer_together(colors: Dataset) -> None:
    first, second = members()[:2]
    order = [2, 0, 1]
    tensors = dict(second.tensors)
    for name in ("head.linear.weight", "head.linear.bias"):
        tensors[name] = second.tensors[name][order]
    turned = replace(second, tensors=tensors, classes=tuple(COLORS[k] for k in order))
    plain, mixed = asked([first, second], colors), asked([first, turned], colors)
    assert alike(plain, mixed) and mixed.classes == COLORS
    assert np.abs(mixed.scores - asked([first], colors).scores).max() > 1e-2


@pytest.mark.parametrize(
    ("classes", "odd"),
    [
        (("blue", "green", "pink"), "only plain8-cifar knows pink"),
        (("blue", "green"), "only the first network knows red"),
        (("azure", *COLORS), "only plain8-cifar knows azure"),
        (("Blue", "green", "red"), "only plain8-cifar knows Blue"),
    ],
)
def test_networks_of_different_classes_are_refused_with_the_first_difference(
    colors: Dataset, classes: tuple[str, ...], odd: str
) -> None:
    with pytest.raises(Refused) as refused:
        asked([untrained(), untrained(OTHER, "plain8-cifar", classes)], colors)
    assert odd in refused.value.what
    assert refused.value.where == f"{', '.join(COLORS)}; {', '.join(classes)}"


def test_what_a_member_cannot_do_is_refused_before_any_image_is_read(
    colors: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("an image was read")

    monkeypatch.setattr(Split, "pixels", never)
    small = Asking(Protocol("multi-scale", scales=(14,)))  # enough for OTHER, not for ONE
    with pytest.raises(Refused, match="at 14 pixels resnet8-cifar has no place"):
        asked([untrained(OTHER), untrained(ONE)], colors, small)
    tensors = networks.build("highway10-fc", 3).state_dict()
    whole = Weights(tensors, "highway10-fc", COLORS, Preprocessing(28))
    with pytest.raises(Refused, match="highway10-fc cannot be applied densely"):
        asked([untrained(), whole], colors, Asking(Protocol("multi-scale")))
    with pytest.raises(Refused, match="share"):
        asked([untrained()], colors, Asking(shares=(-1.0,)))
    with pytest.raises(Refused, match="does not know"):
        asked([untrained(classes=("blue", "red", "pink"))], colors)


# Copies between what is learned and what is tested.


@pytest.fixture
def leaky(tmp_path: Path) -> tuple[Dataset, set[str], set[str]]:
    """2 exact and 2 near copies of training images among 18 test images; their names."""
    root, seed = tmp_path / "photos", 0
    for role in ("train", "test"):
        for name in COLORS:
            (root / role / name).mkdir(parents=True)
            for index in range(6):
                seed += 1
                Image.fromarray(photo(64, 64, seed)).save(root / role / name / f"{index}.png")
    exact, near = {"test/red/1.png", "test/blue/5.png"}, {"test/red/2.png", "test/green/0.png"}
    for place, name in enumerate(sorted(exact | near)):
        picture = Image.open(root / "train" / "green" / f"{place}.png")
        picture = picture if name in exact else picture.resize((48, 48))
        picture.save(root / name)
    return datasets.load(root), exact, near


def test_copies_of_training_images_are_counted_and_both_numbers_given(
    leaky: tuple[Dataset, set[str], set[str]],
) -> None:
    data, exact, near = leaky
    found = asked([untrained()], data)
    more = leaks(found, data)["leaked"]
    assert (more["exact"], more["near"]) == (2, 2)
    assert set(more["images"]) == exact | near
    clean = found.without(np.array([found.names.index(name) for name in exact | near]))
    assert more["without"] == {
        "wrong": clean.wrong,
        "total": 14,
        "error": clean.wrong / 14,
        "interval": list(wilson(clean.wrong, 14)),
    }
    assert found.total == 18


def test_images_that_were_left_out_are_not_counted_as_copies(
    leaky: tuple[Dataset, set[str], set[str]],
) -> None:
    data, exact, near = leaky
    found = asked([untrained()], data)
    gone = sorted(exact)[0]
    more = leaks(found.without(np.array([found.names.index(gone)])), data)["leaked"]
    assert (more["exact"], more["near"], more["without"]["total"]) == (1, 2, 14)


def test_data_without_copies_or_splits_has_nothing_to_say(
    leaky: tuple[Dataset, set[str], set[str]],
) -> None:
    data, exact, near = leaky
    found, test = asked([untrained()], data), data.splits["test"]
    clean = [index for index in range(18) if test.name(index) not in exact | near]
    assert leaks(found, replace(data, splits={**data.splits, "test": test.select(clean)})) == {}
    assert leaks(found, replace(data, splits={"train": test})) == {}


def test_a_test_split_of_copies_alone_has_no_other_error(colors: Dataset) -> None:
    data = replace(colors, splits={"train": colors.splits["test"], "test": colors.splits["test"]})
    more = leaks(asked([untrained()], data), data)["leaked"]
    assert (more["exact"], more["near"]) == (18, 0)
    assert more["without"] == {"wrong": 0, "total": 0, "error": None, "interval": None}


def test_weights_are_named_by_their_digest(tmp_path: Path, colors: Dataset) -> None:
    colors_and_two_networks(tmp_path, 7)
    assert len(list((tmp_path / "colors").rglob("*.png"))) == 7
    pair = [read_weights(tmp_path / f"{name}.safetensors") for name in "ab"]
    digests = tuple(tiny.sha256(tmp_path / f"{name}.safetensors") for name in "ab")
    assert asked(pair, colors).weights == digests
