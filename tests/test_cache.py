"""The cache of decoded pictures: what it gives, and that nothing but a whole one is trusted."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from faults import photo
from PIL import Image

from residua import images
from residua.batches import evaluation, training
from residua.datasets import cache
from residua.datasets.cache import cached
from residua.datasets.dataset import Split
from residua.errors import BadData, OutOfResources, Refused
from residua.images import Preprocessing
from residua.recipes import Recipe

CPU = torch.device("cpu")
SHAPES = [(40, 60), (60, 40), (20, 30), (33, 33), (16, 100)] * 2


@pytest.fixture
def split(tmp_path: Path) -> Split:
    paths = []
    for number, (height, width) in enumerate(SHAPES):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(photo(height, width, number)).save(paths[-1])
    return Split(tuple(paths), torch.arange(len(paths)) % 3)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "runs" / ".cache"


def folder(place: Path) -> Path:
    (found,) = (path for path in place.iterdir() if path.is_dir())
    return found


def path_of(split: Split, index: int) -> Path:
    assert isinstance(split.images, tuple)
    return split.images[index]


def builds(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders built from now on."""
    seen: list[Path] = []
    build = cache.build

    def counted(folder: Path, *rest: object) -> None:
        seen.append(folder)
        build(folder, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(cache, "build", counted)
    return seen


@pytest.mark.parametrize("workers", [1, 3])
def test_pictures_are_scaled_down_to_the_side_and_never_up(
    split: Split, place: Path, workers: int
) -> None:
    kept = cached(split, 32, place, workers)
    assert kept.images == split.images and torch.equal(kept.labels, split.labels)
    for index, (height, width) in enumerate(SHAPES):
        tall, wide = cache.scaled(height, width, 32)
        assert min(tall, wide) == min(32, height, width)
        assert tall / wide == pytest.approx(height / width, rel=0.05)
        expected = images.resize(split.pixels(index), tall, wide)
        assert np.array_equal(kept.pixels(index), expected)
        assert not kept.pixels(index).flags.writeable
    chosen = kept.select([4, 1])
    assert np.array_equal(chosen.pixels(0), kept.pixels(4))
    assert np.array_equal(chosen.select([1]).pixels(0), kept.pixels(1))


def test_the_side_leaves_room_for_views_of_an_area_or_a_scale() -> None:
    assert cache.side(224, "area") == cache.side(224, None) == 256
    assert cache.side(224, "scale") == 480


def test_a_split_in_memory_needs_no_cache(place: Path) -> None:
    split = Split(torch.zeros(3, 4, 4, 3, dtype=torch.uint8), torch.arange(3))
    assert cached(split, 32, place) is split
    assert not place.exists()


@pytest.mark.parametrize("crop", ["area", "scale", "none"])
def test_views_are_nearly_those_of_the_files(tmp_path: Path, place: Path, crop: str) -> None:
    """Pictures without detail look the same however often they are resampled."""
    slope = np.linspace(0, 200, 64 * 96 * 3).reshape(64, 96, 3).astype(np.uint8)
    Image.fromarray(slope).save(tmp_path / "slope.png")
    split = Split((tmp_path / "slope.png",) * 4, torch.arange(4))
    recipe = Recipe(batch=4, crop=crop, flip=False)  # type: ignore[arg-type]
    kept = cached(split, 40, place)
    for workers in (0, 2):
        ours, theirs = (
            next(training(each, Preprocessing(32), recipe, 0, CPU)).images for each in (kept, split)
        )
        assert (ours - theirs).abs().max() * 255 < 12, workers
    (one,) = evaluation(kept, Preprocessing(32), 4, CPU, workers=2)
    (other,) = evaluation(split, Preprocessing(32), 4, CPU)
    assert (one.images - other.images).abs().max() * 255 < 12


def test_workers_and_parts_change_no_bit(split: Split, place: Path) -> None:
    kept, look = cached(split, 24, place), Preprocessing(21)
    recipe = Recipe(batch=4, crop="area", flip=True)
    whole = list(training(kept, look, recipe, 1, CPU))
    halves = [
        list(training(kept, look, Recipe(**vars(recipe) | {"workers": 2}), 1, CPU, part=(at, 2)))
        for at in range(2)
    ]
    for batch, *parts in zip(whole, *halves, strict=True):
        for name, value in batch._asdict().items():
            assert torch.equal(value, torch.cat([getattr(part, name) for part in parts]))


def test_a_whole_cache_is_used_again(
    split: Split, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached(split, 32, place)
    built = builds(monkeypatch)
    cached(split, 32, place, workers=2)
    assert built == []
    assert sorted(path.name for path in folder(place).iterdir()) == [
        "index", "manifest.json", "pictures",
    ]  # fmt: skip
    cached(split, 24, place)
    cached(split.select([0, 1]), 32, place)
    assert len(set(built)) == 2  # another side and other pictures are other caches


def changed_size(split: Split, place: Path) -> None:
    Image.fromarray(photo(50, 50, 77)).save(path_of(split, 3))


def changed_time(split: Split, place: Path) -> None:
    os.utime(path_of(split, 3), ns=(1, 1))


def torn(split: Split, place: Path) -> None:
    os.truncate(folder(place) / "pictures", 1000)


def zeroed(split: Split, place: Path) -> None:
    with (folder(place) / "pictures").open("r+b") as file:
        file.seek(500)
        file.write(bytes(40))


def index_changed(split: Split, place: Path) -> None:
    path = folder(place) / "index"
    path.write_bytes(bytes(8) + path.read_bytes()[8:-8] + b"\x07" * 8)


def index_short(split: Split, place: Path) -> None:
    path = folder(place) / "index"
    path.write_bytes(path.read_bytes()[:-8])


def no_manifest(split: Split, place: Path) -> None:
    (folder(place) / "manifest.json").unlink()


def foolish_manifest(split: Split, place: Path) -> None:
    (folder(place) / "manifest.json").write_text("[1, 2]")


def writable_by_others(split: Split, place: Path) -> None:
    (folder(place) / "pictures").chmod(0o666)


def folder_writable_by_others(split: Split, place: Path) -> None:
    folder(place).chmod(0o777)


def a_link_to_pictures(split: Split, place: Path) -> None:
    path = folder(place) / "pictures"
    path.rename(place.parent / "elsewhere")
    path.symlink_to(place.parent / "elsewhere")


def a_link_to_a_cache(split: Split, place: Path) -> None:
    path = folder(place)
    path.rename(place.parent / "elsewhere")
    path.symlink_to(place.parent / "elsewhere")


def a_file_in_its_place(split: Split, place: Path) -> None:
    path = folder(place)
    path.rename(place.parent / "elsewhere")
    path.write_text("")


@pytest.mark.parametrize(
    "harm",
    [
        changed_size, changed_time, torn, zeroed, index_changed, index_short, no_manifest,
        foolish_manifest, writable_by_others, folder_writable_by_others, a_link_to_pictures,
        a_link_to_a_cache, a_file_in_its_place,
    ],
)  # fmt: skip
def test_what_is_not_whole_and_ours_is_built_again(
    split: Split, place: Path, monkeypatch: pytest.MonkeyPatch, harm: object
) -> None:
    cached(split, 32, place)
    harm(split, place)  # type: ignore[operator]
    built = builds(monkeypatch)
    kept = cached(split, 32, place)
    assert len(built) == 1
    for index in range(len(split)):
        pixels = split.pixels(index)
        expected = images.resize(pixels, *cache.scaled(*pixels.shape[:2], 32))
        assert np.array_equal(kept.pixels(index), expected)
    assert cached(split, 32, place).kept is not None
    assert len(built) == 1


def test_anothers_cache_is_not_trusted(
    split: Split, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached(split, 32, place)
    built = builds(monkeypatch)
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    with pytest.raises(Refused, match="another user's"):
        cached(split, 32, place)
    assert built == []


def test_a_place_that_others_can_write_to_or_a_link_is_refused(split: Split, place: Path) -> None:
    place.mkdir(parents=True)
    place.chmod(0o777)
    with pytest.raises(Refused) as refused:
        cached(split, 32, place)
    assert refused.value.where == str(place) and "chmod" in refused.value.fix
    link = place.parent / "link"
    place.chmod(0o700)
    link.symlink_to(place)
    with pytest.raises(Refused):
        cached(split, 32, link)


def test_what_a_killed_builder_left_is_removed(split: Split, place: Path) -> None:
    cached(split, 32, place)
    left = folder(place).with_suffix(".building")
    folder(place).rename(left)
    (left / "manifest.json").unlink()
    assert cached(split, 32, place).kept is not None
    assert not left.exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_files_that_cannot_be_read_are_all_named_and_nothing_is_left(
    split: Split, place: Path, workers: int
) -> None:
    whole = path_of(split, 2).read_bytes()
    path_of(split, 2).write_bytes(whole[:-60])  # the header is whole
    path_of(split, 5).write_bytes(path_of(split, 5).read_bytes()[:-60])
    with pytest.raises(BadData, match="2 image") as bad:
        cached(split, 32, place, workers)
    assert "2 (" in bad.value.where and "5 (" in bad.value.where
    assert not [path for path in place.iterdir() if path.is_dir()]
    path_of(split, 2).unlink()
    with pytest.raises(BadData, match="1 image"):
        cached(split, 32, place, workers)


def test_a_full_disk_is_seen_before_any_work(
    split: Split, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def never(*_: object) -> None:
        raise AssertionError("a picture was decoded")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(cache, "filled", never)
    with pytest.raises(OutOfResources, match="No space left") as error:
        cached(split, 32, place)
    assert "MB needed" in error.value.where
    assert not [path for path in place.iterdir() if path.is_dir()]


def test_a_worker_that_is_killed_ends_the_work(
    split: Split, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "decoded", lambda *_: os.kill(os.getpid(), 9))
    with pytest.raises(OutOfResources, match="ended"):
        cached(split, 32, place, workers=2)
    assert not [path for path in place.iterdir() if path.is_dir()]


def test_a_source_that_changes_while_it_is_read_is_named(
    split: Split, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resize = images.resize

    def meddled(pixels: images.Pixels, *rest: int) -> images.Pixels:
        os.utime(path_of(split, 0), ns=(5, 5))
        return resize(pixels, *rest)

    monkeypatch.setattr(images, "resize", meddled)
    with pytest.raises(BadData) as bad:
        cached(split, 32, place)
    assert "changed while it was read" in bad.value.where


BUILDER = """
import sys, torch
from pathlib import Path
from residua.datasets import cache
from residua.datasets.dataset import Split
paths = tuple(sorted(Path(sys.argv[1]).glob("*.png")))
build = cache.build
def told(*words):
    build(*words)
    print("built", flush=True)
cache.build = told
kept = cache.cached(Split(paths, torch.zeros(len(paths))), 32, Path(sys.argv[2]), 2)
print(int(kept.pixels(3).sum()))
"""


def test_of_processes_that_begin_at_once_one_builds(
    tmp_path: Path, split: Split, place: Path
) -> None:
    words = [sys.executable, "-c", BUILDER, str(tmp_path), str(place)]
    begun = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = [process.communicate()[0].split() for process in begun]
    assert [process.returncode for process in begun] == [0, 0, 0]
    assert sum("built" in words for words in told) == 1
    assert len({words[-1] for words in told}) == 1


def test_the_manifest_tells_what_the_cache_is(split: Split, place: Path) -> None:
    cached(split, 32, place)
    manifest = json.loads((folder(place) / "manifest.json").read_text())
    assert manifest["side"] == 32
    assert manifest["bytes"] == (folder(place) / "pictures").stat().st_size
    assert (place.stat().st_mode & 0o777, folder(place).stat().st_mode & 0o777) == (0o700, 0o700)
