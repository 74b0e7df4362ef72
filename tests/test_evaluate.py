"""Errors counted over every image once, and every number that follows from them."""

import hashlib
import json
import math
import pickle
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from residua import datasets, networks, testing
from residua.checkpoints import Weights
from residua.errors import BadData
from residua.evaluate import NOTHING, Evaluation, read, read_numbers, sealed, write
from residua.execution import execution
from residua.images import Preprocessing
from residua.intervals import wilson
from residua.networks.unpickle import read_pickled
from residua.networks.weights import to_ours
from residua.protocols import Protocol
from residua.recipes import Recipe


def evaluated(scores: Any, labels: Any, classes: tuple[str, ...] = ("a", "b", "c")) -> Evaluation:
    scores = np.asarray(scores, np.float32)
    names = tuple(f"image {index}" for index in range(len(labels)))
    readable = np.ones(len(labels), np.bool_)
    return Evaluation(
        Protocol(), "test", classes, names, np.asarray(labels, np.int64), scores, readable, "data",
        ("weights",), 1.235,
    )  # fmt: skip


BY_HAND = evaluated(
    [[0.8, 0.1, 0.1], [0.1, 0.6, 0.3], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]],
    [0, 1, 0, 2, 1],
)


def test_a_small_case_by_hand() -> None:
    assert (BY_HAND.total, BY_HAND.wrong, BY_HAND.error) == (5, 2, 0.4)
    assert BY_HAND.interval == wilson(2, 5)
    assert BY_HAND.confusion.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert BY_HAND.ranks.tolist() == [0, 0, 2, 0, 1]
    assert BY_HAND.top5_error == 0
    assert BY_HAND.losses.tolist() == pytest.approx(
        [-math.log(p) for p in (0.8, 0.6, 0.2, 0.7, 0.3)]
    )
    first, second, third = BY_HAND.per_class()
    assert (first["class"], first["total"], first["wrong"], first["error"]) == ("a", 2, 1, 0.5)
    assert (first["precision"], first["recall"], first["f1"]) == (0.5, 0.5, 0.5)
    assert first["interval"] == list(wilson(1, 2))
    assert (third["error"], third["precision"], third["recall"], third["f1"]) == (0, 1, 1, 1)
    assert second["recall"] == 0.5


def test_rows_and_summary_of_the_small_case() -> None:
    table = json.loads(json.dumps(BY_HAND.to_dict()))
    assert {key: table[key] for key in ("protocol", "split", "wrong", "total", "error")} == {
        "protocol": "single",
        "split": "test",
        "wrong": 2,
        "total": 5,
        "error": 0.4,
    }
    assert (table["data"], table["weights"], table["seconds"]) == ("data", "weights", 1.235)
    assert table["loss"] == pytest.approx(float(BY_HAND.losses.mean()))
    confidence = np.array([0.8, 0.6, 0.5, 0.7, 0.6])
    right = np.array([1, 1, 0, 1, 0])
    bins = [[0], [1, 4], [2], [3]]  # of 15; 0.6 = 9/15 lies in the bin that it ends
    expected = sum(abs(confidence[b].sum() - right[b].sum()) for b in bins) / 5
    assert table["calibration_error"] == pytest.approx(expected, abs=1e-6)
    row = BY_HAND.rows()[2]
    assert row == {
        "name": "image 2",
        "label": "a",
        "prediction": "b",
        "score": "0.500000",
        "loss": f"{-math.log(0.2):.6f}",
        "top5": "b:0.5000 c:0.3000 a:0.2000",
    }


def test_a_class_without_images_has_no_error() -> None:
    row = evaluated([[0.9, 0.1, 0]], [0]).per_class()[2]
    assert (row["total"], row["error"], row["interval"]) == (0, None, None)
    json.dumps(evaluated([[0.9, 0.1, 0]], [0]).to_dict(), allow_nan=False)


def test_a_score_of_zero_has_a_finite_loss() -> None:
    assert np.isfinite(evaluated([[1, 0, 0]], [2]).losses).all()


@st.composite
def evaluations(draw: st.DrawFn) -> Evaluation:
    classes, images = draw(st.integers(2, 8)), draw(st.integers(1, 40))
    seed = draw(st.integers(0, 10**6))
    dice = np.random.default_rng(seed)
    scores = dice.dirichlet(np.full(classes, 0.5), images)
    return evaluated(
        scores, dice.integers(0, classes, images), tuple(f"c{k}" for k in range(classes))
    )


@given(evaluations())
def test_all_numbers_agree_with_each_other(tested: Evaluation) -> None:
    confusion, rows = tested.confusion, tested.per_class()
    assert confusion.sum() == tested.total
    assert tested.total - np.trace(confusion) == tested.wrong == sum(row["wrong"] for row in rows)
    assert [row["total"] for row in rows] == confusion.sum(1).tolist()
    for kind, row in enumerate(rows):
        if row["total"]:
            assert row["error"] == pytest.approx(1 - row["recall"])
        shown = confusion[:, kind].sum()
        right = confusion[kind, kind]
        assert row["precision"] == pytest.approx(right / shown if shown else 0)
        low, high = row["interval"] or (0, 1)
        assert low <= (row["error"] or 0) <= high
    assert tested.top5_error <= tested.error
    assert tested.top5_error == np.mean(
        [
            label not in np.argsort(-row)[:5]
            for row, label in zip(tested.scores, tested.labels, strict=True)
        ]
    )
    recount = sum(row["label"] != row["prediction"] for row in tested.rows())
    assert recount == tested.wrong
    assert tested.to_dict()["confusion"] == confusion.tolist()


@given(evaluations(), st.integers(0, 10**6))
def test_the_order_of_images_does_not_matter(tested: Evaluation, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(tested.total)
    other = evaluated(tested.scores[order], tested.labels[order], tested.classes)
    one, two = tested.to_dict(), other.to_dict()
    for key in ("loss", "calibration_error"):
        assert one.pop(key) == pytest.approx(two.pop(key), rel=1e-4, abs=1e-7)
    assert one == two


@settings(max_examples=40)
@given(evaluations(), st.data())
def test_unreadable_images_are_wrong_and_have_no_answer(
    tested: Evaluation, data: st.DataObject
) -> None:
    bad = np.array(data.draw(st.lists(st.booleans(), min_size=tested.total, max_size=tested.total)))
    scores = np.where(bad[:, None], np.float32(0), tested.scores)
    found = replace(tested, scores=scores, readable=~bad)
    assert found.wrong == (bad | ~tested.right).sum() and found.total == tested.total
    assert found.top5_error == pytest.approx(np.mean(bad | (tested.ranks >= 5)))
    assert not found.right[bad].any() and (found.predictions[bad] == NOTHING).all()
    assert found.confusion.sum() == (~bad).sum()
    assert sum(row["wrong"] for row in found.per_class()) == found.wrong
    for row, unreadable in zip(found.rows(), bad, strict=True):
        assert (row["prediction"] == row["score"] == row["loss"] == row["top5"] == "") == unreadable
    if not bad.all():
        numbers, left = found.to_dict(), found.without(np.flatnonzero(bad)).to_dict()
        json.dumps(numbers, allow_nan=False)
        for key in ("loss", "calibration_error", "confusion"):
            assert numbers[key] == left[key]


def test_without_leaves_the_others_as_they_were() -> None:
    left = BY_HAND.without(np.array([2, 0]))
    assert left.names == ("image 1", "image 3", "image 4")
    assert left.predictions.tolist() == [1, 2, 0] and left.labels.tolist() == [1, 2, 1]
    assert BY_HAND.total == 5 and BY_HAND.predictions.tolist() == [0, 1, 1, 2, 0]


def test_answers_are_by_name() -> None:
    found = replace(BY_HAND, readable=np.array([True, True, True, True, False]))
    answers = found.answers("A")
    assert answers.network == "A" and tuple(answers.images) == BY_HAND.names
    assert answers.labels == ["a", "b", "a", "c", "b"]
    assert answers.predictions[:4] == ["a", "b", "b", "c"]
    assert answers.right.tolist() == [True, True, False, True, False]


def test_a_class_named_unreadable_is_not_guessed_by_failing() -> None:
    found = evaluated([[0, 0], [1, 0]], [1, 1], ("cat", "unreadable"))
    found = replace(found, readable=np.array([False, True]))
    assert found.answers("A").right.tolist() == found.right.tolist() == [False, False]


# On disk.


ODD = ("ü.png", "a b/c,d.png", "\udce9.png", "line\nbreak", " ", "'\"\\", "日本", "x" * 300)


@settings(max_examples=15)
@given(evaluations())
def test_what_is_written_is_read_again(tmp_path_factory: Any, tested: Evaluation) -> None:
    folder = tmp_path_factory.mktemp("run") / "evaluations"
    path = write(tested, folder, {"leaked": {"exact": 1}})
    assert path == folder / "single.json"
    assert {each.name for each in folder.iterdir()} == {"single.json", "single.npz"}
    again, numbers = read(path), read_numbers(path)
    for name in ("labels", "scores", "readable", "predictions"):
        assert np.array_equal(getattr(again, name), getattr(tested, name)), name
        assert getattr(again, name).dtype == getattr(tested, name).dtype, name
    for name in ("protocol", "split", "classes", "names", "data", "weights", "skipped"):
        assert getattr(again, name) == getattr(tested, name), name
    recomputed = json.loads(json.dumps(again.to_dict()))
    assert recomputed == {key: numbers[key] for key in recomputed}
    assert numbers["leaked"] == {"exact": 1} and numbers["versions"]["torch"]


@pytest.mark.parametrize(
    "protocol",
    [Protocol("ten-crop", "logits"), Protocol("multi-scale", scales=(32, 40), mirror=False)],
)
def test_each_protocol_has_files_of_its_own(tmp_path: Path, protocol: Protocol) -> None:
    one, other = (
        write(BY_HAND, tmp_path, {}),
        write(replace(BY_HAND, protocol=protocol), tmp_path, {}),
    )
    assert other.name == f"{protocol.slug}.json" and one != other
    assert read(other).protocol == protocol and read(one).protocol == Protocol()


def test_names_of_images_and_classes_of_any_characters_survive(tmp_path: Path) -> None:
    count = len(ODD)
    tested = evaluated(np.eye(count), range(count), tuple(f"{name} class" for name in ODD))
    tested = replace(tested, names=ODD, skipped=ODD, weights=("one", "other"))
    again = read(write(tested, tmp_path, {}))
    assert again.names == again.skipped == ODD and again.classes == tested.classes
    assert again.weights == ("one", "other")


def test_the_same_evaluation_is_the_same_bytes(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in files_of(write(BY_HAND, tmp_path, {}))]
    assert [path.read_bytes() for path in files_of(write(BY_HAND, tmp_path, {}))] == first


def files_of(path: Path) -> tuple[Path, Path]:
    return path, path.with_suffix(".npz")


def complaint(path: Path) -> str:
    with pytest.raises(BadData) as bad:
        read(path)
    assert str(path.with_suffix("")) in bad.value.where and bad.value.fix
    assert "\n" not in bad.value.what
    return bad.value.what


@pytest.mark.parametrize("which", [0, 1])
def test_every_changed_byte_is_found(tmp_path: Path, which: int) -> None:
    path = write(BY_HAND, tmp_path, {})
    target = files_of(path)[which]
    sound = target.read_bytes()
    for place in range(0, len(sound), 23):
        target.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        complaint(path)
    for cut in (0, 1, len(sound) // 2, len(sound) - 1):
        target.write_bytes(sound[:cut])
        complaint(path)
    target.write_bytes(sound + b" ")
    complaint(path)
    target.write_bytes(sound)
    assert read(path).wrong == 2


def test_an_edited_number_is_found(tmp_path: Path) -> None:
    path = write(BY_HAND, tmp_path, {})
    text = path.read_text()
    assert text.count('"wrong": 2,') == 1
    path.write_text(text.replace('"wrong": 2,', '"wrong": 1,'))
    assert "altered" in complaint(path)
    with pytest.raises(BadData, match="altered") as bad:
        read_numbers(path)
    assert str(path) in bad.value.where and bad.value.fix == "evaluate again"


def forged(path: Path, **changes: Any) -> None:
    """Edited numbers under a digest of their own; None takes one away."""
    numbers = read_numbers(path) | changes
    kept = {key: value for key, value in numbers.items() if value is not None}
    path.write_bytes(sealed(kept))


def test_numbers_that_do_not_follow_from_the_images_are_found(tmp_path: Path) -> None:
    path = write(BY_HAND, tmp_path, {})
    forged(path, wrong=1)
    assert "2 of 5 wrong" in complaint(path)


@pytest.mark.parametrize("text", ["", "[]", "3", "null", '"x"', "{}", '{"digest": 1}', "\xff", "["])
def test_files_that_are_no_numbers_are_bad_data(tmp_path: Path, text: str) -> None:
    path = write(BY_HAND, tmp_path, {})
    path.write_bytes(text.encode("latin-1"))
    complaint(path)
    path.write_bytes(b"[" * 100_000)
    complaint(path)


def test_missing_files_are_bad_data(tmp_path: Path) -> None:
    path = write(BY_HAND, tmp_path, {})
    files_of(path)[1].unlink()
    complaint(path)
    path.unlink()
    complaint(path)
    path.mkdir()
    complaint(path)


FORGERIES: dict[str, Any] = {
    "images": [None, 3, {}, {"file": "single.npz"}, {"file": "../x", "sha256": ""}, {"file": 3}],
    "views": [None, 3, {}, {"name": "twin-crop", "scales": []}, {"scales": 3}, {"other": 1}],
    "weights": [None, 3],
    "wrong": [None, "2"],
    "total": [None, 4],
    "seconds": [None, "x", []],
    "skipped": [None, 3],
    "split": [None],
    "data": [None],
}


@pytest.mark.parametrize("field", FORGERIES)
def test_forged_numbers_are_bad_data(tmp_path: Path, field: str) -> None:
    for value in FORGERIES[field]:
        path = write(BY_HAND, tmp_path, {})
        forged(path, **{field: value})
        complaint(path)


def columns(**changes: Any) -> bytes:
    file = BytesIO()
    arrays = {name: getattr(BY_HAND, name) for name in ("labels", "scores", "readable")}
    arrays |= {name: np.array(getattr(BY_HAND, name)) for name in ("names", "classes")}
    kept = {name: value for name, value in (arrays | changes).items() if value is not None}
    np.savez(file, allow_pickle=True, **kept)
    return file.getvalue()


def plain(array: Any) -> bytes:
    file = BytesIO()
    np.save(file, array)
    return file.getvalue()


STRANGE_IMAGES = {
    "empty": b"",
    "no zip": b"nothing",
    "a pickle": pickle.dumps([1]),
    "one array": plain(np.zeros(3)),
    "no labels": columns(labels=None),
    "no names": columns(names=None),
    "objects": columns(labels=np.array([{}] * 5)),
    "fewer labels": columns(labels=BY_HAND.labels[:4]),
    "labels of another kind": columns(labels=BY_HAND.labels.astype(np.float64)),
    "a label too large": columns(labels=np.array([0, 1, 3, 2, 1])),  # wrong as it was before
    "a label below 0": columns(labels=np.array([0, 1, -1, 2, 1])),
    "scores of fewer classes": columns(scores=BY_HAND.scores[:, :2]),
    "flat scores": columns(scores=BY_HAND.scores[:, 0]),
    "scores that are no numbers": columns(scores=BY_HAND.scores * np.float32(math.nan)),
    "more names": columns(names=np.array([*BY_HAND.names, "more"])),
    "one name": columns(names=np.array("name")),
    "readable as numbers": columns(readable=BY_HAND.readable.astype(np.int64)),
    "none": columns(
        names=np.array([], np.str_), labels=BY_HAND.labels[:0], scores=BY_HAND.scores[:0],
        readable=BY_HAND.readable[:0],
    ),
    "a cut zip": columns()[:-30],
}  # fmt: skip


@pytest.mark.parametrize("kind", STRANGE_IMAGES)
def test_forged_images_are_bad_data(tmp_path: Path, kind: str) -> None:
    path, data = write(BY_HAND, tmp_path, {}), STRANGE_IMAGES[kind]
    files_of(path)[1].write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    forged(path, images={"file": "single.npz", "sha256": digest})
    complaint(path)


PUBLISHED = Preprocessing(32, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def test_published_weights_make_exactly_827_errors(shared_data: Path) -> None:
    """A ResNet-20 trained elsewhere, 8.27 % on CIFAR-10's 10,000 test images."""
    network = networks.build("resnet20-cifar", 10).eval()
    given_ = read_pickled(shared_data / "weights" / "cifar-resnet20-option-a.th")
    data = datasets.load(shared_data / "cifar-10-binary.tar.gz")
    weights = Weights(to_ours(given_, network), "resnet20-cifar", data.classes, PUBLISHED)
    run_on = execution(Recipe(threads=1, device="cpu", precision="fp32"))
    tested, _ = testing.evaluate([weights], data, "test", run_on)
    assert (tested.total, tested.wrong) == (10_000, 827)
