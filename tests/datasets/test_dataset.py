"""Splits, digests, held-out parts and statistics."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from residua import images
from residua.datasets.dataset import (
    Dataset,
    Fault,
    Split,
    content,
    digest,
    fingerprint,
    hold_out,
    pixel_mean,
    refuse,
    slug,
    statistics,
)
from residua.errors import BadData, Refused
from residua.words import harmless, listed


def random_split(count: int, classes: int, seed: int = 0) -> Split:
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 4, 5, 3), generator=draw).to(torch.uint8)
    return Split(pixels, torch.arange(count) % classes)


def file_split(names: list[str], labels: list[int]) -> Split:
    return Split(tuple(Path(name) for name in names), torch.tensor(labels), tuple(names))


@given(have=st.integers(1, 40), most=st.integers(1, 50))
def test_images_are_taken_from_all_over(have: int, most: int) -> None:
    whole = random_split(have, 2)
    part = whole.evenly(most)
    places = [int(part.name(index)) for index in range(len(part))]
    assert len(part) == min(have, most)
    assert places == sorted(set(places))
    gaps = [after - before for before, after in zip([0, *places], [*places, have], strict=True)]
    assert max(gaps) <= -(-have // len(part))


def test_select_keeps_names_and_order() -> None:
    split = random_split(6, 2)
    part = split.select([4, 1]).select(torch.tensor([1]))
    assert part.name(0) == "1"
    assert np.array_equal(part.pixels(0), split.pixels(1))


def test_pixels_of_a_file_are_decoded(tmp_path: Path) -> None:
    pixels = random_split(1, 1).pixels(0)
    path = tmp_path / "a.png"
    path.write_bytes(images.encode_png(pixels))
    split = Split((path,), torch.tensor([0]), ("a.png",))
    assert np.array_equal(split.pixels(0), pixels)
    assert not split.in_memory


def test_describe_is_plain() -> None:
    data = Dataset("d", "d", ("a", "b"), {"train": random_split(3, 2)}, "f")
    assert data.describe() == {
        "name": "d",
        "source": "d",
        "classes": 2,
        "images": {"train": 3},
        "size": [4, 5],
        "fingerprint": "f",
        "seed": 0,
    }


def test_digest_sees_the_shape() -> None:
    flat = np.arange(24, dtype=np.uint8)
    assert digest(flat.reshape(2, 4, 3)) != digest(flat.reshape(4, 2, 3))
    assert digest(flat.reshape(2, 4, 3)) == digest(flat.reshape(2, 4, 3).copy())


@given(st.permutations(range(8)))
def test_content_does_not_depend_on_order(order: list[int]) -> None:
    split = random_split(8, 2)
    expected = content({"train": split}, ("a", "b"))
    assert content({"train": split.select(order)}, ("a", "b")) == expected


def test_content_depends_on_split_class_count_and_pixels() -> None:
    split = random_split(4, 2)
    changed = split.images.clone()
    changed[0, 0, 0, 0] += 1
    digests = {
        content({"train": split}, ("a", "b")),
        content({"test": split}, ("a", "b")),
        content({"train": split}, ("a", "c")),
        content({"train": split.select([0, 1, 2, 3, 3])}, ("a", "b")),
        content({"train": Split(changed, split.labels)}, ("a", "b")),
    }
    assert len(digests) == 5


def test_fingerprint_of_files_sees_names_and_bytes(tmp_path: Path) -> None:
    def taken(name: str, data: bytes) -> str:
        (tmp_path / name).write_bytes(data)
        split = Split((tmp_path / name,), torch.tensor([0]), (name,))
        return fingerprint({"train": split}, ("a",))

    assert len({taken("x.png", b"1"), taken("x.png", b"2"), taken("y.png", b"2")}) == 3
    assert taken("x.png", b"1") == taken("x.png", b"1")


def test_fingerprint_of_many_bytes_reads_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("residua.datasets.dataset.WHOLE_BYTES", 10)
    monkeypatch.setattr("residua.datasets.dataset.FINGERPRINT_FILES", 3)
    names = [f"{index}.png" for index in range(8)]

    def taken(full: bool) -> str:
        split = Split(tuple(tmp_path / name for name in names), torch.zeros(8).long(), tuple(names))
        return fingerprint({"train": split}, ("a",), full)

    for name in names:
        (tmp_path / name).write_bytes(b"ab")
    before = taken(False), taken(True)
    changes = []
    for name in names:
        (tmp_path / name).write_bytes(b"cd")
        assert taken(True) != before[1]
        changes.append(taken(False) != before[0])
        (tmp_path / name).write_bytes(b"ab")
    assert sum(changes) == 3


def test_fingerprint_survives_a_missing_file(tmp_path: Path) -> None:
    split = Split((tmp_path / "gone.png",), torch.tensor([0]), ("gone.png",))
    assert len(fingerprint({"train": split}, ("a",))) == 64


def test_hold_out_is_stratified_and_complete() -> None:
    names = [f"{label}/{index}.png" for label in range(3) for index in range(10 * (label + 1))]
    split = file_split(names, [int(name[0]) for name in names])
    rest, held = hold_out(split, 0.2, seed=0)
    assert torch.bincount(held.labels).tolist() == [2, 4, 6]
    assert sorted((*rest.names, *held.names)) == sorted(names)
    assert hold_out(split, 0.2, seed=0)[1].names == held.names
    assert hold_out(split, 0.2, seed=1)[1].names != held.names


@given(
    st.lists(st.integers(0, 300), min_size=2, max_size=60, unique=True),
    st.integers(301, 999),
    st.floats(0.05, 0.95),
    st.randoms(use_true_random=False),
)
def test_adding_a_file_moves_at_most_one_of_its_class(names, added, fraction, random) -> None:  # type: ignore[no-untyped-def]
    def held(numbers: list[int]) -> set[str]:
        files = [f"a/{number}" for number in numbers] + ["b/1", "b/2", "b/3"]
        labels = [0] * len(numbers) + [1] * 3
        order = random.sample(range(len(files)), len(files))
        split = file_split([files[i] for i in order], [labels[i] for i in order])
        return set(hold_out(split, fraction, 7)[1].names or ())

    before, after = held(names), held([*names, added])
    moved = (before ^ after) - {f"a/{added}"}
    assert len(moved) <= 1
    assert not any(name.startswith("b/") for name in moved)


def test_equal_images_in_memory_stay_together() -> None:
    split = random_split(40, 1)
    doubled = Split(torch.cat([split.images] * 2), torch.cat([split.labels] * 2))
    for seed in range(5):
        rest, held = hold_out(doubled, 0.1, seed)
        seen = {digest(rest.pixels(index)) for index in range(len(rest))}
        assert not any(digest(held.pixels(index)) in seen for index in range(len(held)))
        assert len(held) == 8


def test_images_in_memory_are_known_by_their_pixels() -> None:
    split = random_split(50, 2)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(3))
    shuffled = Split(split.images[order], split.labels[order])
    parts = [hold_out(each, 0.3, 0)[1] for each in (split, shuffled)]
    assert content({"test": parts[0]}, ("a", "b")) == content({"test": parts[1]}, ("a", "b"))


def test_identical_images_can_still_be_split() -> None:
    blank = Split(torch.zeros(4, 2, 2, 3, dtype=torch.uint8), torch.zeros(4).long())
    rest, held = hold_out(blank, 0.25, 0)
    assert (len(rest), len(held)) == (3, 1)


def test_every_class_keeps_an_image() -> None:
    split = file_split(["a/1", "a/2", "b/1", "b/2"], [0, 0, 1, 1])
    for fraction in (0.01, 0.99):
        rest, held = hold_out(split, fraction, 0)
        assert rest.labels.tolist() == held.labels.tolist() == [0, 1]


def test_a_class_of_one_image_cannot_be_split() -> None:
    with pytest.raises(BadData, match=r"have one image.*\nwhere: b/1"):
        hold_out(file_split(["a/1", "a/2", "b/1"], [0, 0, 1]), 0.2, 0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0, float("nan")])
def test_hold_out_refuses_impossible_fractions(fraction: float) -> None:
    with pytest.raises(Refused):
        hold_out(random_split(4, 2), fraction, 0)


def test_statistics_equal_those_of_all_pixels() -> None:
    split = random_split(2500, 2)
    values = split.images.double() / 255
    mean, deviation = statistics(split)
    assert mean == pytest.approx(values.mean(dim=(0, 1, 2)).tolist(), abs=1e-12)
    assert deviation == pytest.approx(values.std(dim=(0, 1, 2), correction=0).tolist(), abs=1e-12)


def test_statistics_are_those_of_the_view() -> None:
    mean, _ = statistics(random_split(5, 2), lambda pixels: np.full_like(pixels, 51))
    assert mean == pytest.approx((0.2, 0.2, 0.2))


def test_statistics_need_images() -> None:
    with pytest.raises(BadData, match="without images"):
        statistics(random_split(4, 2).select([]))


def test_pixel_mean() -> None:
    split = random_split(1500, 2)
    expected = (split.images.double() / 255).mean(dim=0)
    assert np.allclose(pixel_mean(split), expected.numpy(), atol=1e-12)
    with pytest.raises(Refused, match="mean image"):
        pixel_mean(file_split(["a"], [0]))


def test_names_from_outside_are_shown_escaped() -> None:
    assert harmless("café\x1b[31m\n\u202e\udce9") == r"café\x1b[31m\n\u202e\udce9"
    assert listed(["a", "b", "c"], limit=2) == "a, b, and 1 more"


def test_slug() -> None:
    assert [slug("My Pets (v2)"), slug("日本")] == ["my-pets-v2", "data"]


def test_all_faults_come_in_one_error() -> None:
    with pytest.raises(BadData) as caught:
        refuse([Fault("one", "fix it"), Fault("two", "fix it"), Fault("three", "other")], "here")
    expected = (
        "error: 3 problems\n  1. one\n  2. two\n  3. three\nwhere: here\nfix:   fix it; other"
    )
    assert str(caught.value) == expected
