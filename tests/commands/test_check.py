"""check: every problem with its items, and whether training is safe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults import encoded, mixed, photo, place, plant

Call = Callable[..., Any]


@pytest.fixture
def planted(tmp_path: Path) -> dict[str, set[str]]:
    mixed(tmp_path / "pets")
    return plant(tmp_path / "pets")


def test_every_fault_is_told(planted: dict[str, set[str]], residua: Call) -> None:
    answer = residua("check", "pets")
    assert answer.code == 3
    for names in planted.values():
        for name in names:
            assert f"  {name} " in answer.out
    assert "training would be unsafe" in answer.out
    assert answer.out.count("  fix: ") == answer.out.count("error: ") + answer.out.count("warning:")


def test_json(planted: dict[str, set[str]], residua: Call) -> None:
    answer = residua("check", "pets", "--json")
    assert answer.code == 3
    found = answer.json
    assert not found["safe"]
    assert {p["kind"]: set(p["items"]) for p in found["problems"]} == planted
    assert answer.err == "" or "error" not in answer.err


def test_long_lists_are_cut_unless_all_are_asked_for(tmp_path: Path, residua: Call) -> None:
    mixed(tmp_path / "pets")
    for index in range(17):
        (tmp_path / "pets/train/cat" / f"empty-{index:02}.png").write_bytes(b"")
    answer = residua("check", "pets")
    assert answer.out.count("empty-") == 5
    assert "and 12 more" in answer.out
    assert residua("check", "pets", "--all").out.count("empty-") == 17


def test_changed_copies_are_told_and_long_notes_cut(tmp_path: Path, residua: Call) -> None:
    root = tmp_path / "pets"
    mixed(root)
    picture = photo(80, 80, 999)
    names = [f"{role}/cat/copy-{quality}.jpg" for role in ("train", "test") for quality in (70, 90)]
    for name, quality in zip(names, (70, 90, 75, 85), strict=True):
        place(root, name, encoded(picture, "JPEG", quality=quality))
    answer = residua("check", "pets")
    assert answer.code == 0
    assert "held-out images of which another split has a changed copy: 2" in answer.out
    assert "images that are a changed copy of an earlier one of their split: 2" in answer.out
    rows = {p["kind"]: p for p in residua("check", "pets", "--json").json["problems"]}
    leak = rows["near-leak"]
    assert leak["items"] == names[2:]
    pairs = "like train/cat/copy-70.jpg (re-encoded); like train/cat/copy-90.jpg (re-encoded)"
    assert leak["notes"] == [pairs, pairs]
    for index in range(6):
        copy = encoded(picture, "JPEG", quality=60 + index)
        place(root, f"train/cat/many-{index}.jpg", copy)
    assert " ..." in residua("check", "pets").out
    assert " ..." not in residua("check", "pets", "--all").out


def test_sound_data(residua: Call) -> None:
    answer = residua("check", "digits")
    assert answer.code == 0
    assert "nothing is wrong" in answer.out
    assert "--size 8 --fit crop: all images are 8 x 8" in answer.out
    assert answer.out.rstrip().endswith("next: residua train digits")
    found = residua("check", "digits", "--json").json
    assert found["safe"]
    assert found["content"] in answer.out
    assert (found["size"], found["fit"]) == (8, "crop")


def test_data_that_cannot_be_loaded(tmp_path: Path, residua: Call) -> None:
    (tmp_path / "empty").mkdir()
    assert residua("check", "empty").code == 3
    assert residua("check", "digits", "--workers", 0).code == 2
