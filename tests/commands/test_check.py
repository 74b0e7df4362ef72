"""check: every problem with its items, and whether training is safe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults import mixed, plant

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
