"""The study of gradient flow: what is measured, that it resumes, and its verdict from rows."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import figures
import pytest
import torch

from residua import inquiry, plots
from residua.datasets import load
from residua.errors import Refused
from residua.factors import Factors
from residua.followed import batch_of
from residua.inquiry import Inquiry, budget_of
from residua.probes.flow import gradient_flow
from residua.studies.gradient_flow import STUDY, conclude, network_of
from residua.sweeps import Cell, Row
from residua.trials import built, recipe_of, trained

SMALL = {"families": ("plain", "residual"), "depths": (8,), "seeds": 1, "epochs": 2.0}


@pytest.fixture(scope="module")
def asked() -> Inquiry:
    data = load("digits")
    few = {role: split.select(range(0, len(split), 8)) for role, split in data.splits.items()}
    return inquiry.prepare("gradient-flow", replace(data, splits=few), SMALL, budget_of("1m", 1))


@pytest.fixture(scope="module")
def row(asked: Inquiry, tmp_path_factory: pytest.TempPathFactory) -> Row:
    return measured(asked, "residual", tmp_path_factory.mktemp("cell"))


def measured(asked: Inquiry, family: str, folder: Path, **changes: Any) -> Row:
    factors = replace(asked.factors, **changes)
    cell = Cell({"family": family, "depth": 8, "seed": 0})
    found = STUDY.measure(asked.subject, factors, cell, folder)
    return json.loads(json.dumps({**cell.values, "status": "done", **found}))


def test_a_row_holds_the_flow_before_training_and_after_each_epoch(
    asked: Inquiry, row: Row
) -> None:
    recipe = recipe_of(asked.subject, asked.factors, "resnet8-cifar", 0)
    batch = batch_of(asked.subject)
    flow = gradient_flow(built(asked.subject, recipe), batch.images, batch.labels)
    assert [mark["epoch"] for mark in row["marks"]] == [0, 1, 2]
    assert row["layers"] == flow.names
    assert row["marks"][0]["gradients"] == pytest.approx(flow.gradients, rel=1e-5)
    assert row["marks"][0]["gradients"] != row["marks"][2]["gradients"]
    assert row["direction"] == row["end_direction"] == "healthy"
    assert 0 < row["carried"] < 1 and 0 <= row["train_error"] <= 1


def test_a_training_that_was_killed_goes_on_to_the_same_row(
    asked: Inquiry, row: Row, tmp_path: Path
) -> None:
    recipe = recipe_of(asked.subject, asked.factors, "resnet8-cifar", 0)
    for mark in trained(asked.subject, built(asked.subject, recipe), recipe, tmp_path):
        if mark.epoch == 2:  # the first epoch is saved, and was not measured
            break
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    first = {"split": "flow", "epoch": 1, **row["marks"][1]}
    state = ("direction", "ratio", "slope", "loss", "at_fault")
    step = json.loads(lines[0])["step"]
    kept = [lines[0], json.dumps({"step": step, **first, **dict.fromkeys(state)})]
    (tmp_path / "metrics.jsonl").write_text("\n".join(kept) + "\n")
    assert measured(asked, "residual", tmp_path) == row


def test_measuring_changes_nothing_in_the_training(
    asked: Inquiry, row: Row, tmp_path: Path
) -> None:
    recipe = recipe_of(asked.subject, asked.factors, "resnet8-cifar", 0)
    *_, last = trained(asked.subject, built(asked.subject, recipe), recipe, tmp_path)
    batch = batch_of(asked.subject)
    flow = gradient_flow(last.network, batch.images, batch.labels)
    assert row["marks"][-1]["gradients"] == pytest.approx(flow.gradients, rel=1e-5)


def test_sigmoids_take_the_place_of_all_relus(asked: Inquiry, tmp_path: Path) -> None:
    recipe = recipe_of(asked.subject, asked.factors, "plain8-cifar-norm=none", 0)
    network = network_of(asked.subject, recipe, "sigmoid")
    assert not any(isinstance(module, torch.nn.ReLU) for module in network.modules())
    assert sum(isinstance(module, torch.nn.Sigmoid) for module in network.modules()) == 7
    found = measured(asked, "sigmoid", tmp_path, epochs=None)
    assert found["direction"] == "vanishing" and "sigmoids" in found["remedy"]
    assert len(found["marks"]) == 1 and "end_direction" not in found


def test_a_training_that_diverges_keeps_what_was_measured(asked: Inquiry, tmp_path: Path) -> None:
    found = measured(asked, "no-norm", tmp_path, learning_rate=1e5)
    assert found["status"].startswith("diverged")
    assert found["direction"] == "healthy" and found["marks"][0]["epoch"] == 0


def test_what_is_left_open_is_chosen_for_the_budget(asked: Inquiry) -> None:
    subject, factors = asked.subject, STUDY.takes
    open_ = replace(asked.factors, **dict.fromkeys(factors))
    short = STUDY.scale(subject, open_, budget_of("1s", 1))
    assert short.epochs is None and len(STUDY.cells(short)) == 6 * 4 * 5
    networks = STUDY.scale(subject, replace(open_, networks=("resnet8-cifar",)), budget_of("1s", 1))
    assert [cell.values["family"] for cell in STUDY.cells(networks)] == ["resnet8-cifar"] * 5
    with pytest.raises(Refused, match="kind of network"):
        STUDY.scale(subject, replace(open_, families=("plane",)), budget_of("1s", 1))
    with pytest.raises(Refused, match="21"):
        STUDY.scale(subject, replace(open_, depths=(21,)), budget_of("1s", 1))


# Verdicts from rows.


def rows(slopes: dict[str, float], seeds: int = 5, depth: int = 56) -> list[Row]:
    """Networks whose gradients have a slope of their own, a little another for each seed."""
    return [
        {
            "family": family, "depth": depth, "seed": seed, "status": "done",
            "direction": "exploding" if slope * depth > 2 else "healthy",
            "slope": slope + 1e-4 * seed, "ratio": 10 ** (slope * depth),
            "layers": ["layer"] * depth, "remedy": "shortcuts" if slope * depth > 2 else "",
            "marks": [{"epoch": 0, "gradients": [1.0] * depth, "activations": [1.0] * depth}],
        }
        for family, slope in slopes.items()
        for seed in range(seeds)
    ]  # fmt: skip


FACTORS = Factors()


def test_plain_gradients_out_of_bounds_and_residual_ones_within_are_shown() -> None:
    found = conclude(FACTORS, rows({"plain": 0.07, "residual": 0.01}))
    assert found.holds is True and found.p_value == pytest.approx(1 / 32)
    assert "plain-56 exploding" in found.words and "For plain-56: shortcuts." in found.words
    assert found.numbers["plain 56"]["direction"] == "exploding"
    assert any("before training" in line for line in found.limits)


def test_healthy_plain_networks_refute_it() -> None:
    assert conclude(FACTORS, rows({"plain": 0.01, "residual": 0.01})).holds is False


def test_swapped_labels_do_not_confirm_it() -> None:
    assert conclude(FACTORS, rows({"plain": 0.01, "residual": 0.07})).holds is False


@pytest.mark.parametrize(
    "table",
    [
        rows({"plain": 0.07, "residual": 0.01}, seeds=4),
        rows({"plain": 0.07, "residual": 0.07}),
        rows({"plain": 0.07}),
        rows({"resnet20-cifar": 0.07}),
        [{"family": "plain", "depth": 8, "seed": 0, "status": "out of memory"}],
    ],
)
def test_what_is_not_enough_evidence(table: list[Row]) -> None:
    assert conclude(FACTORS, table).holds is None


def test_figures_name_families_and_depths(row: Row) -> None:
    table = [row, *rows({"plain": 0.07}, 2), {"family": "x", "depth": 8, "seed": 0, "status": "?"}]
    for key in ("gradients", "activations"):
        said = figures.texts(plots.flow(table, key))
        assert "residual" in said and "plain" in said and "\n56\n" in said
    said = figures.texts(plots.flow_in_time(table, "dark"))
    assert "56 layers" in said and "10,000" in said and "epoch" in said
    figures.texts(plots.flow([], "gradients"))
    figures.texts(plots.flow_in_time([]))
