"""Inspection: every planted fault is named, and nothing else is."""

import json
import os
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from faults import bomb, encoded, mixed, photo, place, plant
from PIL import Image

from residua import datasets
from residua.datasets.dataset import Dataset, Split, content
from residua.datasets.inspect import KINDS, Inspection, Problem, inspect, recommend

ERRORS = {"unreadable", "empty", "not-an-image", "too-large", "corrupt"}


def found(inspection: Inspection) -> dict[str, set[str]]:
    return {problem.kind: set(problem.items) for problem in inspection.problems}


def the(inspection: Inspection, kind: str) -> Problem:
    (problem,) = (problem for problem in inspection.problems if problem.kind == kind)
    return problem


def in_tensors(**splits: tuple[torch.Tensor, list[int]]) -> Dataset:
    made = {role: Split(images, torch.tensor(labels)) for role, (images, labels) in splits.items()}
    return Dataset("toy", "toy", ("a", "b"), made, "")


def noise(count: int, seed: int = 0, side: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (count, side, side, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


HALVES = [0] * 10 + [1] * 10


def test_a_sound_folder_of_mixed_files_has_no_problem(tmp_path: Path) -> None:
    mixed(tmp_path)
    inspection = inspect(datasets.load(tmp_path), 2)
    assert inspection.problems == () and inspection.safe
    assert inspection.images == {"train": 42, "test": 15}
    assert inspection.sizes is not None and inspection.sizes.distinct > 40


@pytest.mark.parametrize("workers", [1, 4])
def test_twelve_planted_faults_are_named_and_nothing_else(tmp_path: Path, workers: int) -> None:
    mixed(tmp_path)
    planted = plant(tmp_path)
    inspection = inspect(datasets.load(tmp_path), workers)
    assert found(inspection) == planted
    assert {p.kind for p in inspection.problems if p.severity == "error"} == ERRORS & set(planted)
    assert not inspection.safe and inspection.content == ""
    assert all(len(p.items) == len(p.notes) and p.fix for p in inspection.problems)
    assert "HTML" in the(inspection, "not-an-image").notes[0]
    assert "TIFF" in the(inspection, "not-an-image").notes[1]
    assert "20000 x 20000" in the(inspection, "too-large").notes[0]
    assert "cut off" in the(inspection, "corrupt").notes[0]
    assert "checksum" in the(inspection, "corrupt").notes[1]
    assert "train/cat/original" in the(inspection, "leak").notes[0]


def test_without_the_errors_it_is_safe(tmp_path: Path) -> None:
    mixed(tmp_path)
    planted = plant(tmp_path)
    for kind in ERRORS & planted.keys():
        for name in planted.pop(kind):
            (tmp_path / name).unlink()
    data = datasets.load(tmp_path)
    inspection = inspect(data, 2)
    assert found(inspection) == planted
    assert inspection.safe
    assert inspection.content == content(data.splits, data.classes)


def test_errors_come_first_in_the_order_of_the_table(tmp_path: Path) -> None:
    mixed(tmp_path)
    plant(tmp_path)
    keys = [(p.kind, p.severity) for p in inspect(datasets.load(tmp_path), 2).problems]
    assert keys == [key for key in KINDS if key in keys]
    severities = [severity for _, severity in KINDS]
    assert severities == sorted(severities)


def test_files_that_vanish_or_turn_into_something_else(tmp_path: Path) -> None:
    mixed(tmp_path)
    data = datasets.load(tmp_path)
    gone, pipe = (data.splits["train"].name(index) for index in (3, 20))
    (tmp_path / gone).unlink()
    (tmp_path / pipe).unlink()
    os.mkfifo(tmp_path / pipe)
    assert found(inspect(data, 2)) == {"unreadable": {gone, pipe}}


NAMES = (
    " leading and trailing .png",
    "-rf.png",
    "%00%2e%2e.png",
    "a\nb\r\tc.png",
    "\x1b[31mred\x07.png",
    "\u202egnp.exe.png",
    "nfc-\u00e9.png",
    "nfd-e\u0301.png",
    "<script>alert(1)</script>.png".replace("/", "\u2215"),
    "=cmd('calc')!A0.png",
    "'; drop table\"`$(id)`.png",
    "\U0001f4a9\u200b\ufeff.png",
    "x" * 251 + ".png",
)


def test_hostile_names_are_ordinary_names(tmp_path: Path) -> None:
    for index, name in enumerate(NAMES):
        place(
            tmp_path,
            f"train/{name[:-4]}/{name}",
            b"" if index % 2 else encoded(photo(9, 9, index), "PNG"),
        )
        for more in range(2):
            place(
                tmp_path,
                f"train/{name[:-4]}/{more}.png",
                encoded(photo(9, 9, 100 + index * 2 + more), "PNG"),
            )
            place(
                tmp_path,
                f"test/{name[:-4]}/{more}.png",
                encoded(photo(9, 9, 200 + index * 2 + more), "PNG"),
            )
    inspection = inspect(datasets.load(tmp_path), 2)
    assert set(the(inspection, "empty").items) == {f"train/{n[:-4]}/{n}" for n in NAMES[1::2]}
    assert set(the(inspection, "tiny-class").items) == {name[:-4] for name in NAMES}
    text = json.dumps(inspection.to_dict())
    assert text.isascii() and "\n" not in text and "\x1b" not in text
    assert json.loads(text)["problems"][0]["items"] == list(inspection.problems[0].items)


def test_a_border_of_one_color_is_no_constant_image(tmp_path: Path) -> None:
    mixed(tmp_path)
    framed = photo(20, 30, 500)
    framed[0] = framed[-1] = framed[:, 0] = framed[:, -1] = 7
    place(tmp_path, "train/cat/framed.png", encoded(framed, "PNG"))
    assert inspect(datasets.load(tmp_path)).problems == ()


# Equal pixels.


def test_leaks_are_counted_once_for_each_held_out_image() -> None:
    train, test = noise(20), noise(20, 1)
    test[4], test[5], test[6] = train[0], train[0], train[19]
    inspection = inspect(in_tensors(train=(train, HALVES), test=(test, HALVES)))
    assert the(inspection, "leak").items == ("test/4", "test/5", "test/6")
    assert the(inspection, "leak").notes[0] == "same as train/0"
    assert the(inspection, "duplicate").items == ("test/5",)
    assert set(the(inspection, "conflict").items) == {"train/19", "test/6"}
    assert inspection.safe


def test_validation_leaks_too() -> None:
    train, validation, test = noise(20), noise(20, 1), noise(20, 2)
    validation[0], test[0] = train[0], validation[1]
    splits = {"test": (test, HALVES), "validation": (validation, HALVES), "train": (train, HALVES)}
    leaks = the(inspect(in_tensors(**splits)), "leak")
    assert dict(zip(leaks.items, leaks.notes, strict=True)) == {
        "validation/0": "same as train/0",
        "test/0": "same as validation/1",
    }


def test_changed_copies_are_listed_with_what_was_changed(tmp_path: Path) -> None:
    mixed(tmp_path)
    one, two = (photo(90, 70, seed) for seed in (900, 901))
    smaller = Image.fromarray(one).resize((50, 64), Image.Resampling.BICUBIC)
    place(tmp_path, "train/cat/one.png", encoded(one, "PNG"))
    place(tmp_path, "train/dog/one.jpg", encoded(one, "JPEG", quality=70))
    place(tmp_path, "train/owl/two.png", encoded(two, "PNG"))
    place(tmp_path, "train/owl/two again.bmp", encoded(two, "BMP"))
    place(tmp_path, "test/cat/one.webp", encoded(smaller, "WEBP", quality=80))
    place(tmp_path, "test/owl/two.jpg", encoded(np.ascontiguousarray(two[:, ::-1]), "JPEG"))
    inspection = inspect(datasets.load(tmp_path), 2)
    assert found(inspection) == {
        "duplicate": {"train/owl/two.png"},
        "near-duplicate": {"train/dog/one.jpg"},
        "near-leak": {"test/cat/one.webp", "test/owl/two.jpg"},
    }
    assert the(inspection, "near-duplicate").notes == (
        "like train/cat/one.png (re-encoded, cat there)",
    )
    leaks = the(inspection, "near-leak")
    assert dict(zip(leaks.items, leaks.notes, strict=True)) == {
        "test/cat/one.webp": "like train/cat/one.png (resized); "
        "like train/dog/one.jpg (resized, dog there)",
        "test/owl/two.jpg": "like train/owl/two again.bmp (mirrored)",
    }
    assert inspection.safe


def test_same_bytes_of_another_shape_are_another_image(tmp_path: Path) -> None:
    mixed(tmp_path)
    wide = photo(4, 16, 77)
    for name, pixels in (("wide", wide), ("square", wide.reshape(8, 8, 3)), ("twin", wide)):
        place(tmp_path, f"train/cat/{name}.png", encoded(pixels, "PNG"))
    assert found(inspect(datasets.load(tmp_path))) == {"duplicate": {"train/cat/wide.png"}}


def test_ten_thousand_equal_images_take_no_quadratic_time() -> None:
    images = torch.zeros(10_000, 4, 4, 3, dtype=torch.uint8)
    started = time.perf_counter()
    inspection = inspect(in_tensors(train=(images, [0, 1] * 5_000)))
    assert time.perf_counter() - started < 3
    assert len(the(inspection, "duplicate").items) == 9_998
    assert len(the(inspection, "conflict").items) == 10_000
    assert len(the(inspection, "constant").items) == 10_000


def test_cifar_takes_seconds() -> None:
    train, test = noise(50_000, 0, 32), noise(10_000, 1, 32)
    started = time.perf_counter()
    inspection = inspect(
        in_tensors(train=(train, [0, 1] * 25_000), test=(test, [0, 1] * 5_000)), workers=2
    )
    assert time.perf_counter() - started < 30
    assert inspection.problems == () and inspection.size == 32


def test_content_is_that_of_the_data_set() -> None:
    data = datasets.load("digits")
    inspection = inspect(data)
    assert inspection.content == data.fingerprint
    assert inspection.safe and inspection.size == 8


# Classes.


def classes(**counts: dict[str, int]) -> Dataset:
    """A data set with so many images of each class in each split."""
    names = tuple(sorted({name for split in counts.values() for name in split}))
    splits = {}
    for seed, (role, split) in enumerate(counts.items()):
        labels = [names.index(name) for name, count in split.items() for _ in range(count)]
        splits[role] = Split(noise(len(labels), seed), torch.tensor(labels))
    return Dataset("toy", "toy", names, splits, "")


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        ({"a": 10, "b": 10}, {"a": 1, "b": 1}, {}),
        ({"a": 1, "b": 10}, {"a": 1, "b": 1}, {"tiny-class/error": {"a"}}),
        ({"a": 0, "b": 10}, {"a": 0, "b": 1}, {"tiny-class/error": {"a"}}),
        ({"a": 9, "b": 10}, {"a": 1, "b": 1}, {"tiny-class/warning": {"a"}}),
        ({"a": 10, "b": 100}, {"a": 1, "b": 1}, {}),
        ({"a": 10, "b": 101}, {"a": 1, "b": 1}, {"imbalance/warning": {"a"}}),
        ({"a": 10, "b": 10}, {"a": 1, "b": 0}, {"class-mismatch/warning": {"b"}}),
        ({"a": 10, "b": 0}, {"a": 1, "b": 1}, {"class-mismatch/error": {"b"}}),
        ({"cat": 10, "Cat": 10}, {"cat": 1, "Cat": 1}, {"class-mismatch/warning": {"cat", "Cat"}}),
    ],
)
def test_classes(
    train: dict[str, int], test: dict[str, int], expected: dict[str, set[str]]
) -> None:
    inspection = inspect(classes(train=train, test=test))
    assert {f"{p.kind}/{p.severity}": set(p.items) for p in inspection.problems} == expected
    assert inspection.safe == all("error" not in key for key in expected)


def test_only_readable_images_of_a_class_count(tmp_path: Path) -> None:
    mixed(tmp_path, train=10, test=2)
    for path in (tmp_path / "train/owl").iterdir():
        path.write_bytes(b"")
    problems = found(inspect(datasets.load(tmp_path), 2))
    assert problems["class-mismatch"] == {"owl"} and len(problems["empty"]) == 10


# What is recommended.


@pytest.mark.parametrize(
    ("shapes", "size", "fit"),
    [
        ({(32, 32): 60_000}, 32, "crop"),
        ({(8, 8): 10}, 8, "crop"),
        ({(64, 64): 10}, 64, "crop"),
        ({(96, 96): 10}, 96, "crop"),
        ({(28, 28): 5, (29, 28): 5}, 32, "crop"),
        ({(375, 500): 90, (500, 375): 10, (300, 900): 5}, 224, "crop"),
        ({(100, 120): 3, (130, 140): 3, (90, 90): 1}, 96, "crop"),
        ({(100, 400): 60, (100, 100): 40}, 96, "pad"),
        ({(100, 400): 45, (100, 130): 55}, 96, "crop"),
        ({(20, 28): 100}, 32, "pad"),
        ({}, 224, "crop"),
    ],
)
def test_recommended_size_and_fit(shapes: dict[tuple[int, int], int], size: int, fit: str) -> None:
    chosen = recommend(Counter(shapes))
    assert chosen[:2] == (size, fit) and chosen[2]


def test_nothing_readable(tmp_path: Path) -> None:
    for index in range(20):
        place(tmp_path, f"{index % 2}/{index}.png", bomb())
    inspection = inspect(datasets.load(tmp_path))
    assert inspection.sizes is None and not inspection.safe
    assert len(the(inspection, "too-large").items) == 20
    assert json.loads(json.dumps(inspection.to_dict()))["sizes"] is None


def test_progress_is_told_for_every_image() -> None:
    told: list[tuple[int, int]] = []
    inspect(in_tensors(train=(noise(20), HALVES)), progress=lambda *now: told.append(now))
    assert told == [(index + 1, 20) for index in range(20)]
