"""Near duplicates: a changed copy is found, and no other picture is taken for one."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from faults import encoded, place
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from residua import datasets
from residua.datasets import duplicates
from residua.datasets.dataset import Pixels, Split, digest
from residua.datasets.duplicates import Gallery, Leak, copies, gallery, leaked, leaks
from residua.datasets.looks import Look, looks, sketches


def scene(seed: int, height: int = 72, width: int = 96) -> Pixels:
    """Bright and dark disks over a gradient, in color, with detail of every size as in a photo."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / height
    slope = random.normal(0, 40, (2, 3))
    picture = 128 + y[..., None] * slope[0] + x[..., None] * slope[1]
    for radius in 0.5 * 0.9 ** np.arange(40):
        inside = (y - random.uniform(0, 1)) ** 2 + (x - random.uniform(0, 1.3)) ** 2 < radius**2
        picture[inside] = random.uniform(0, 255) + random.normal(0, 25, 3)
    return picture.clip(0, 255).astype(np.uint8)


def again(pixels: Pixels, quality: int) -> Pixels:
    return np.array(Image.open(BytesIO(encoded(np.ascontiguousarray(pixels), "JPEG", 0, quality))))


def scaled(pixels: Pixels, factor: float) -> Pixels:
    size = round(pixels.shape[1] * factor), round(pixels.shape[0] * factor)
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def seen(*pictures: Pixels) -> Gallery:
    return gallery(
        Look(digest(p), (p.shape[0], p.shape[1]), sketch=sketches(p[None])[0].tobytes())
        for p in map(np.ascontiguousarray, pictures)
    )


def found(gallery: Gallery, others: Gallery | None = None) -> list[tuple[int, int]]:
    return [(pair.first, pair.second) for pair in copies(gallery, others)]


STRANGERS = tuple(scene(seed) for seed in range(60))


def test_strangers_are_no_copies() -> None:
    assert found(seen(*STRANGERS)) == []


@given(
    seed=st.integers(0, 59),
    quality=st.integers(60, 95),
    factor=st.floats(0.5, 2),
    mirror=st.booleans(),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_copy_is_found_however_encoded_resized_and_mirrored(
    seed: int, quality: int, factor: float, mirror: bool
) -> None:
    changed = again(scaled(STRANGERS[seed], factor)[:, :: -1 if mirror else 1], quality)
    (pair,) = copies(seen(changed), seen(*STRANGERS))
    assert (pair.first, pair.second) == (0, seed)
    assert ("mirrored" in pair.changes) == mirror
    assert ("resized" in pair.changes) == (changed.shape != STRANGERS[seed].shape)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda p: again(p, 75), ()),
        (lambda p: (p * 0.7 + 40).astype(np.uint8), ("brightened or darkened",)),
        (lambda p: again(p[2:, 3:], 90), ("cropped",)),
        (lambda p: again(p[1:-1, 2:-2][:, ::-1], 90), ("mirrored", "cropped")),
        (
            lambda p: np.repeat(np.array(Image.fromarray(p).convert("L"))[..., None], 3, 2),
            ("gray",),
        ),
    ],
)
def test_what_was_changed_is_named(
    change: Callable[[Pixels], Pixels], named: tuple[str, ...]
) -> None:
    pairs = copies(seen(*map(change, STRANGERS)), seen(*STRANGERS))
    own = [pair for pair in pairs if pair.first == pair.second]
    assert len(pairs) == len(own) >= 57
    for name in named:
        assert sum(name in " ".join(pair.changes) for pair in own) >= 50
    if not named:
        assert sum(bool(pair.changes) for pair in own) <= 3


def test_another_color_is_another_picture() -> None:
    red, green = (np.full((64, 64, 3), 255, np.uint8) for _ in range(2))
    for number in range(40):
        y, x = np.random.default_rng(number).integers(0, 56, 2)
        red[y : y + 8, x : x + 8] = (230, 40, 40)
        green[y : y + 8, x : x + 8] = (40, 134, 40)
    assert found(seen(red, green)) == []
    assert found(seen(red, again(red, 80))) == [(0, 1)]


# What cannot be told apart.


def test_constant_pictures_and_gradients_are_left_alone() -> None:
    flat = [np.full((40, 40, 3), level, np.uint8) for level in (0, 7, 128, 255)]
    ramps = [
        np.repeat(np.linspace(low, 250, 40)[None, :, None].repeat(40, 0), 3, 2).astype(np.uint8)
        for low in (0, 40, 80)
    ]
    assert found(seen(*flat, *ramps)) == []


def test_pictures_of_few_pixels_are_left_alone() -> None:
    small = [scaled(scene(seed, 30, 30), 0.5) for seed in range(4)]
    assert found(seen(*small, *(again(p, 95) for p in small))) == []


def test_digits_have_no_copies() -> None:
    data = datasets.load("digits")
    assert leaked(data.splits["train"], data.splits["test"]) == []


def test_digits_enlarged_have_few() -> None:
    images = datasets.load("digits").splits["train"].images
    assert isinstance(images, torch.Tensor)
    enlarged = seen(*(scaled(image.numpy(), 3.5) for image in images))
    pairs = found(enlarged)
    assert len({second for _, second in pairs}) < 0.05 * len(enlarged)


# Leaks.


def in_memory(*pictures: Pixels) -> Split:
    return Split(torch.from_numpy(np.stack(pictures)), torch.zeros(len(pictures)).long())


def test_leaks_in_memory() -> None:
    train = in_memory(*STRANGERS[:40])
    test = in_memory(
        STRANGERS[50], STRANGERS[7], again(STRANGERS[8], 70), again(STRANGERS[9], 70)[:, ::-1]
    )
    assert leaked(train, test) == [
        Leak(1, 7, "exact", ()),
        Leak(2, 8, "near", ()),
        Leak(3, 9, "near", ("mirrored",)),
    ]


def test_leaks_in_files_with_an_unreadable_one(tmp_path: Path) -> None:
    train = [place(tmp_path, f"{n}.png", encoded(STRANGERS[n], "PNG")) for n in range(8)]
    test = [
        place(tmp_path, "bad.jpg", b"no image"),
        place(tmp_path, "same.bmp", encoded(STRANGERS[3], "BMP")),
        place(tmp_path, "less.webp", encoded(scaled(STRANGERS[4], 0.6), "WEBP", quality=70)),
    ]
    train.append(place(tmp_path, "bad too.jpg", b"no image"))
    splits = [
        Split(tuple(tmp_path / name for name in names), torch.zeros(len(names)).long())
        for names in (train, test)
    ]
    for workers in (1, 3):
        assert leaked(splits[0], splits[1], workers) == [
            Leak(1, 3, "exact", ()),
            Leak(2, 4, "near", ("resized",)),
        ]


def test_the_likest_copy_is_named() -> None:
    bright = (STRANGERS[5] * 0.8 + 20).astype(np.uint8)
    rough = again(bright[:, :93], 60)
    assert leaks(seen(rough, STRANGERS[5]), seen(again(STRANGERS[5], 95)))[0].train == 1


def test_nothing_to_compare() -> None:
    empty, one = gallery([]), seen(STRANGERS[0])
    assert leaks(empty, empty) == leaks(one, empty) == leaks(empty, one) == []
    assert copies(empty) == copies(one) == []
    assert len(leaks(one, one)) == 1


# How the search is done.


def test_the_same_again_and_with_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = seen(*STRANGERS, *(again(scene, 70) for scene in STRANGERS))
    expected = copies(pictures)
    assert len(expected) == 60
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    assert copies(pictures) == expected


def test_torch_keeps_its_threads() -> None:
    before = torch.get_num_threads()
    copies(seen(*STRANGERS[:3]))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (7, 7), (16, 32), (200, 200)])
def test_blocks_change_nothing(rows: int, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = seen(*STRANGERS, *(again(scene, 70) for scene in STRANGERS[::-1]))
    expected = found(pictures)
    monkeypatch.setattr(duplicates, "ROWS", rows)
    monkeypatch.setattr(duplicates, "COLUMNS", columns)
    assert found(pictures) == expected == [(n, 119 - n) for n in range(60)]
    assert found(pictures, pictures) == sorted(expected + [(b, a) for a, b in expected])


def test_a_picture_copied_a_thousand_times_takes_bounded_work() -> None:
    base = STRANGERS[0].astype(np.int16)
    noise = np.random.default_rng(0).integers(-3, 4, (1000, *base.shape))
    many = seen(*(base + noise).clip(0, 255).astype(np.uint8))
    pairs = found(many)
    assert {second for _, second in pairs} <= set(range(1, 1000))
    assert 900 < len({end for pair in pairs for end in pair}) and len(pairs) <= 8 * 1000


def test_sketches_of_files_and_of_memory_agree(tmp_path: Path) -> None:
    pictures = STRANGERS[:5]
    names = [place(tmp_path, f"{n}.png", encoded(p, "PNG")) for n, p in enumerate(pictures)]
    files = Split(tuple(tmp_path / name for name in names), torch.zeros(5).long())
    assert list(looks(files, 2, sketched=True)) == list(looks(in_memory(*pictures), sketched=True))
    assert all(look.sketch == b"" for look in looks(files))
