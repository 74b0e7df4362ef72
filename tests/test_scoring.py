"""Every image asked about once, decoded once for all networks, whatever the batches and workers."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_batches import noise

from residua import datasets, images
from residua.datasets.dataset import Pixels, Split
from residua.errors import BadData
from residua.scoring import Floats, Member, score


class Brightness:
    """Knows two classes, dark and bright, by the mean of its views; counts what it is shown."""

    def __init__(self, classes: int = 2, views: int = 1) -> None:
        self.classes, self.shown = tuple(map(str, range(classes))), views
        self.chunks: list[int] = []

    def views(self, pixels: Pixels) -> list[Pixels]:
        return [pixels[: 1 + index] for index in range(self.shown)]

    def scores_of(self, pictures: Sequence[Sequence[Pixels]]) -> Floats:
        self.chunks.append(len(pictures))
        assert {len(views) for views in pictures} == {self.shown}
        means = [np.mean([view.mean() for view in views]) for views in pictures]
        bright = np.array(means, np.float32)[:, None] / 255
        return np.hstack(
            [1 - bright, *[bright / (len(self.classes) - 1)] * (len(self.classes) - 1)]
        )


def by_hand(split: Split, member: Brightness) -> Floats:
    return np.concatenate(
        [member.scores_of([member.views(split.pixels(k))]) for k in range(len(split))]
    )


@pytest.fixture
def files(tmp_path: Path) -> Split:
    return datasets.load(tiny.folder(tmp_path / "colors", images=8, size=10)).splits["train"]


@given(count=st.integers(1, 30), chunk=st.integers(1, 40))
def test_every_image_is_asked_about_once_in_order(count: int, chunk: int) -> None:
    split, members = noise(count), (Brightness(), Brightness(5, 3))
    found = score(members, split, chunk)
    assert found.readable.all() and found.readable.shape == (count,)
    for member, scores in zip(members, found.members, strict=True):
        assert sum(member.chunks) == count and max(member.chunks) == min(chunk, count)
        assert scores.dtype == np.float32
        assert np.array_equal(scores, by_hand(split, member))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("chunk", [1, 5, 100])
def test_files_give_the_same_whatever_the_chunks_and_workers(
    files: Split, workers: int, chunk: int
) -> None:
    member = Brightness(3, 2)
    found = score([member], files, chunk, workers)
    assert np.array_equal(found.members[0], by_hand(files, Brightness(3, 2)))


def test_an_image_is_decoded_once_for_all_networks_and_views(
    files: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, real = Counter[Path](), images.read

    def counting(path: Path) -> Pixels:
        read[path] += 1
        return real(path)

    monkeypatch.setattr(images, "read", counting)
    score([Brightness(), Brightness(3, 3), Brightness()], files, 4)
    assert isinstance(files.images, tuple)
    assert read == Counter(files.images)


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_images_have_no_scores_and_move_no_others(files: Split, workers: int) -> None:
    assert isinstance(files.images, tuple)
    whole = score([Brightness(), Brightness(4)], files, 5, workers)
    broken = [0, 4, 5, 6, 7, 8, 9, len(files) - 1]  # 5 to 9 are a chunk of their own
    for index in broken:
        files.images[index].write_bytes(b"<html>")
    found = score([Brightness(), Brightness(4)], files, 5, workers)
    assert np.flatnonzero(~found.readable).tolist() == broken
    for before, after in zip(whole.members, found.members, strict=True):
        assert (after[broken] == 0).all()
        assert np.array_equal(after[found.readable], before[found.readable])


def test_nothing_to_ask_about_is_an_error(files: Split) -> None:
    assert isinstance(files.images, tuple)
    with pytest.raises(BadData, match="no images"):
        score([Brightness()], noise(0), 4)
    for path in files.images:
        path.write_bytes(b"")
    with pytest.raises(BadData, match="none of the images can be read"):
        score([Brightness()], files, 4)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_scores_that_are_not_numbers_are_an_error(value: float) -> None:
    class Broken(Brightness):
        def scores_of(self, pictures: Sequence[Sequence[Pixels]]) -> Floats:
            scores = super().scores_of(pictures)
            scores[-1, 0] = value
            return scores

    members: list[Member] = [Brightness(), Broken()]
    with pytest.raises(BadData, match="not numbers"):
        score(members, noise(5), 2)


def test_asking_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    score([Brightness()], noise(5), 2)
    assert torch.equal(torch.rand(4), expected)
