"""Runs side by side, by error and cost, from the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Call = Callable[..., Any]


def test_runs_are_shown_with_their_errors_and_costs(
    residua: Call, trained: Path, tmp_path: Path
) -> None:
    answer = residua("compare", trained, trained, "--out", tmp_path / "costs", "--json")

    assert answer.code == 0, answer.err
    first, second = answer.json["runs"]
    assert first["error"] == second["error"] and first["network"] == "resnet8-cifar"
    assert first["front"] and second["front"]
    assert {"cost.png", "cost.svg", "cost.csv"} <= {p.name for p in (tmp_path / "costs").iterdir()}


def test_the_table_names_every_run(residua: Call, trained: Path) -> None:
    answer = residua("compare", trained)

    assert answer.code == 0, answer.err
    assert trained.name in answer.out
    assert "images/s" in answer.out


def test_what_is_no_tested_run_is_left_out(residua: Call, trained: Path, tmp_path: Path) -> None:
    """As in runs/*, where studies and caches lie too."""
    (tmp_path / "digits-degradation-1").mkdir()
    (tmp_path / "digits-degradation-1" / "study.json").write_text("{}")
    answer = residua("compare", tmp_path / "digits-degradation-1", trained, "--json")
    assert [each["name"] for each in answer.json["runs"]] == [trained.name]
    (tmp_path / "latest").symlink_to(trained)
    again = residua("compare", trained, tmp_path / "latest", "--json")
    assert [each["name"] for each in again.json["runs"]] == [trained.name]
    assert "left out" in answer.err and "digits-degradation-1" in answer.err
    both = residua("compare", tmp_path / "digits-degradation-1", tmp_path)
    assert both.code == 2 and "none of these is a run" in both.err


def test_nothing_and_no_run_are_refused(residua: Call, tmp_path: Path) -> None:
    assert "RUNS are missing" in residua("compare").err
    assert residua("compare", tmp_path / "none").code == 2
