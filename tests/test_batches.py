"""Batches: every image once, the same views however they are stored, gathered and interrupted."""

import os
import signal
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from residua import augment, datasets
from residua.batches import Batch, evaluation, order, shown, steps_per_epoch, training
from residua.datasets.dataset import Split
from residua.datasets.memory import in_memory
from residua.errors import BadData, OutOfResources
from residua.images import Preprocessing
from residua.recipes import Recipe

CPU = torch.device("cpu")
PLAIN = Recipe(batch=8, crop="none", flip=False)


def noise(images: int, size: int = 6) -> Split:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, size, size, 3), generator=generator)
    return Split(pixels.to(torch.uint8), torch.arange(images) % 3)


def joined(batches: list[Batch]) -> tuple[Tensor, Tensor, Tensor]:
    images, labels, indices = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return images, labels, indices


@given(images=st.integers(1, 50), size=st.integers(1, 60), epoch=st.integers(0, 5))
def test_an_epoch_has_whole_batches_of_different_images(images: int, size: int, epoch: int) -> None:
    split = noise(images, 2)
    recipe = replace(PLAIN, batch=size)
    batches = list(training(split, Preprocessing(2), recipe, epoch, CPU))
    assert len(batches) == steps_per_epoch(split, size) == max(1, images // size)
    assert {len(batch.labels) for batch in batches} == {min(size, images)}
    _, labels, indices = joined(batches)
    assert len(set(indices.tolist())) == len(indices)
    assert torch.equal(labels, split.labels[indices])


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    split, look = noise(64), Preprocessing(6)

    def order(seed: int, epoch: int) -> list[int]:
        batches = training(split, look, replace(PLAIN, seed=seed), epoch, CPU)
        return joined(list(batches))[2].tolist()

    orders = {(seed, epoch): tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}
    assert len(set(orders.values())) == 4
    torch.manual_seed(99)
    assert tuple(order(0, 1)) == orders[0, 1]
    assert all(sorted(found) == list(range(64)) for found in orders.values())


@given(start=st.integers(0, 8), crop=st.sampled_from(["none", "pad", "area", "scale"]))
def test_an_epoch_goes_on_where_it_was_left(start: int, crop: str) -> None:
    split, look = noise(64), Preprocessing(6)
    recipe = replace(PLAIN, crop=crop, flip=True, color="jitter")  # type: ignore[arg-type]
    whole = list(training(split, look, recipe, 3, CPU))
    rest = list(training(split, look, recipe, 3, CPU, start))
    assert len(rest) == len(whole) - start
    for one, other in zip(whole[start:], rest, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("crop", ["none", "pad", "area"])
@pytest.mark.parametrize("color", ["none", "jitter", "pca"])
def test_an_images_view_does_not_depend_on_the_batch_size(crop: str, color: str) -> None:
    split, look = noise(48), Preprocessing(6)

    def views(batch: int) -> dict[int, Tensor]:
        recipe = Recipe(batch=batch, crop=crop, flip=True, color=color)  # type: ignore[arg-type]
        images, _, indices = joined(list(training(split, look, recipe, 0, CPU)))
        return dict(zip(indices.tolist(), images, strict=True))

    large, small = views(48), views(8)
    assert all(torch.allclose(large[index], small[index], atol=1e-6) for index in range(48))
    plain = joined(list(evaluation(split, look, 48, CPU)))[0]
    changed = sum(not torch.allclose(large[index], plain[index]) for index in range(48))
    assert changed > 12  # a flip alone would change half


@pytest.mark.parametrize("each_pixel", [False, True])
def test_views_have_the_bits_of_the_plain_formulas(each_pixel: bool) -> None:
    """Pad, crop and flip by the image's own numbers, then subtract the mean and divide."""
    split, side = noise(16), 6
    mean = torch.rand(side, side, 3) if each_pixel else torch.tensor([0.1, 0.2, 0.3])
    look = Preprocessing(side, mean=tuple(mean.flatten().tolist()), std=(0.5, 1.1, 2.0))
    recipe = Recipe(batch=16, crop="pad", flip=True, seed=4)
    (batch,) = training(split, look, recipe, 2, CPU)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    u = augment.uniforms(4, 2, batch.indices, 10)
    for row, index in enumerate(batch.indices.tolist()):
        page = np.zeros((side + 8, side + 8, 3), np.uint8)
        page[4:-4, 4:-4] = split.pixels(index)
        top, left = (int(value * 9) for value in u[row, :2])
        pixels = page[top : top + side, left : left + side]
        pixels = pixels[:, ::-1] if u[row, 2] < 0.5 else pixels
        floats = torch.from_numpy(pixels.copy()).float() / 255
        expected = ((floats - mean) / torch.tensor(look.std)).permute(2, 0, 1)
        assert torch.equal(batch.images[row], expected)
    ((shown_, *_),) = evaluation(split, look, 16, CPU)
    assert isinstance(split.images, Tensor)
    plain = (split.images.float() / 255 - mean) / torch.tensor(look.std)
    assert torch.equal(shown_, plain.permute(0, 3, 1, 2))


@given(parts=st.sampled_from([1, 2, 4]), start=st.integers(0, 2))
def test_the_parts_of_batches_are_the_batches(parts: int, start: int) -> None:
    split, look = noise(40), Preprocessing(6)
    recipe = replace(PLAIN, crop="pad", flip=True, color="pca")
    whole = list(training(split, look, recipe, 1, CPU, start))
    shares = [
        list(training(split, look, recipe, 1, CPU, start, (which, parts))) for which in range(parts)
    ]
    for batch, *pieces in zip(whole, *shares, strict=True):
        assert {len(piece.labels) for piece in pieces} == {8 // parts}
        for ours, theirs in zip(joined(pieces), batch, strict=True):
            assert torch.allclose(ours, theirs, atol=1e-6)


def test_the_order_is_that_of_the_batches() -> None:
    split = noise(40)
    batches = training(split, Preprocessing(6), PLAIN, 3, CPU)
    for indices, batch in zip(order(split, PLAIN, 3), batches, strict=True):
        assert torch.equal(indices, batch.indices)
        assert torch.equal(split.labels[indices], batch.labels)


@given(images=st.integers(1, 40), batch=st.integers(1, 50))
def test_evaluation_shows_every_image_once_in_order(images: int, batch: int) -> None:
    split = noise(images, 3)
    found, labels, indices = joined(list(evaluation(split, Preprocessing(3), batch, CPU)))
    assert indices.tolist() == list(range(images))
    assert torch.equal(labels, split.labels)
    assert torch.allclose(found.permute(0, 2, 3, 1) * 255, split.images.float())  # type: ignore[union-attr]


def test_the_mean_of_each_pixel_is_subtracted() -> None:
    split = noise(5)
    assert isinstance(split.images, Tensor)
    mean = tuple((split.images[0].flatten() / 255).tolist())
    ((images, _, _),) = evaluation(split, Preprocessing(6, mean=mean), 5, CPU)
    assert torch.allclose(images[0], torch.zeros(3, 6, 6), atol=1e-6)


@pytest.fixture
def files(tmp_path: Path) -> Split:
    return datasets.load(tiny.folder(tmp_path / "colors", images=8, size=10)).splits["train"]


def as_lists(batches: list[Batch]) -> list[list[Tensor]]:
    return [list(batch) for batch in batches]


@pytest.mark.parametrize("crop", ["none", "pad", "area", "scale"])
def test_workers_change_no_bit(files: Split, crop: str) -> None:
    look = Preprocessing(7, "crop", 8)
    recipe = Recipe(batch=5, crop=crop, flip=True)  # type: ignore[arg-type]
    alone, shared = (
        as_lists(list(training(files, look, replace(recipe, workers=workers), 1, CPU)))
        for workers in (0, 2)
    )
    assert len(alone) == len(shared) > 1
    for one, other in zip(alone, shared, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("crop", ["none", "pad", "area", "scale"])
def test_workers_read_only_their_part(files: Split, crop: str) -> None:
    assert isinstance(files.images, tuple)
    look = Preprocessing(7, "crop", 8)
    recipe = Recipe(batch=8, crop=crop, flip=True, workers=2)  # type: ignore[arg-type]
    whole = list(training(files, look, recipe, 1, CPU))
    others = torch.cat([batch.indices[:4] for batch in whole]).tolist()
    for index in others:  # what another process reads
        files.images[index].write_bytes(b"<html>")
    part = list(training(files, look, recipe, 1, CPU, 0, (1, 2)))
    for one, other in zip(whole, part, strict=True):
        assert torch.equal(one.images[4:], other.images)
        assert torch.equal(one.indices[4:], other.indices)


@pytest.mark.parametrize("crop", ["none", "pad"])
def test_images_in_memory_and_on_disk_give_the_same_bits(files: Split, crop: str) -> None:
    look = Preprocessing(7, "crop", 8)
    recipe = Recipe(batch=5, crop=crop, flip=True)  # type: ignore[arg-type]
    held = in_memory(files, look)
    for one, other in zip(
        training(files, look, recipe, 1, CPU), training(held, look, recipe, 1, CPU), strict=True
    ):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    for one, other in zip(
        evaluation(files, look, 4, CPU, workers=2), evaluation(held, look, 4, CPU), strict=True
    ):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_breaks_is_named_with_all_parts_of_the_error(
    files: Split, workers: int
) -> None:
    assert isinstance(files.images, tuple)
    files.images[4].write_bytes(b"<html>")
    with pytest.raises(BadData) as bad:
        list(evaluation(files, Preprocessing(7), 4, CPU, workers))
    assert bad.value.where == str(files.images[4])
    assert bad.value.fix


@pytest.mark.parametrize("workers", [0, 2])
def test_pictures_are_shown_in_order_as_each_asks_and_errors_are_among_them(
    files: Split, workers: int
) -> None:
    assert isinstance(files.images, tuple)
    files.images[4].write_bytes(b"<html>")
    shows = [lambda pixels: [pixels], lambda pixels: [pixels[:3], pixels[:, ::-1]]]
    seen = list(shown(files, shows, 5, workers))
    assert {len(pictures) for pictures, _ in seen[:-1]} == {5}
    assert np.concatenate([positions for _, positions in seen]).tolist() == list(range(len(files)))
    pictures = [picture for chunk, _ in seen for picture in chunk]
    for index, picture in enumerate(pictures):
        if isinstance(picture, BadData):
            assert index == 4 and picture.where == str(files.images[4]) and picture.fix
            continue
        pixels, ((whole,), (top, mirrored)) = files.pixels(index), picture
        assert np.array_equal(whole, pixels) and np.array_equal(top, pixels[:3])
        assert np.array_equal(mirrored, np.flip(pixels, 1))
    assert sum(isinstance(picture, BadData) for picture in pictures) == 1


def test_a_split_without_images_shows_nothing() -> None:
    assert [pictures for pictures, _ in shown(noise(0), [], 5)] in ([], [[]])


def test_a_killed_worker_ends_the_work_with_a_way_on(files: Split) -> None:
    before = children()
    with pytest.raises(OutOfResources) as error:
        for _ in evaluation(many(files), Preprocessing(7), 4, CPU, workers=2):
            for child in children() - before:
                os.kill(child, signal.SIGKILL)
    assert error.value.fix == "resume with --workers 0"


def many(files: Split) -> Split:
    return files.select(list(range(len(files))) * 40)


def children() -> set[int]:
    pid = os.getpid()
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return set(map(int, text.split()))


def test_workers_leave_signals_to_their_parent_and_end_with_the_loop(files: Split) -> None:
    before = children()
    batches = evaluation(many(files), Preprocessing(7), 4, CPU, workers=2)
    seen = [batch.indices for batch in islice(batches, 2)]
    for child in children() - before:
        os.kill(child, signal.SIGTERM)
        os.kill(child, signal.SIGINT)
    seen += [batch.indices for batch in batches]
    assert torch.cat(seen).tolist() == list(range(len(many(files))))
    assert children() <= before


def test_alternating_mirrors_each_image_in_one_of_two_epochs() -> None:
    split = noise(64, 8)
    recipe = Recipe(batch=64, crop="none", flip=True, alternate=True, seed=3)
    seen: dict[int, list[Tensor]] = {}
    for epoch in (4, 5):
        (batch,) = training(split, Preprocessing(8), recipe, epoch, torch.device("cpu"))
        for index, image in zip(batch.indices.tolist(), batch.images, strict=True):
            seen.setdefault(index, []).append(image)
    assert all(torch.equal(one, two.flip(2)) for one, two in seen.values())
    firsts = [torch.equal(seen[index][0], seen[index][1]) for index in seen]
    assert not any(firsts)
