"""The study of responses: networks trained here and before, and its verdict from rows."""

import json
from dataclasses import replace
from pathlib import Path

import figures
import pytest

from residua import checkpoints, inquiry, plots
from residua.batches import evaluation
from residua.datasets import load
from residua.datasets.dataset import Dataset
from residua.errors import Refused
from residua.factors import Factors
from residua.inquiry import Inquiry, budget_of
from residua.probes.responses import responses
from residua.studies.responses import STUDY, conclude, draw
from residua.sweeps import Cell, Row

FACTORS = Factors(networks=("plain20-cifar", "resnet20-cifar"), seeds=5, epochs=30.0)
SHIPPED = "resnet20-digits"


@pytest.fixture(scope="module")
def data() -> Dataset:
    """A few of the digits."""
    data = load("digits")
    few = {role: split.select(range(0, len(split), 8)) for role, split in data.splits.items()}
    return replace(data, splits=few)


@pytest.fixture(scope="module")
def asked(data: Dataset) -> Inquiry:
    given = {"networks": ("plain8-cifar", SHIPPED), "seeds": 1, "epochs": 1.0}
    return inquiry.prepare("responses", data, given, budget_of("1m", 1))


def measured(asked: Inquiry, cell: Cell, folder: Path) -> Row:
    found = STUDY.measure(asked.subject, asked.factors, cell, folder)
    return json.loads(json.dumps({**cell.values, "status": "done", **found}))


def test_networks_are_trained_or_measured_as_they_are(asked: Inquiry, tmp_path: Path) -> None:
    cells = STUDY.cells(asked.factors)
    assert [cell.values["network"] for cell in cells] == ["plain8-cifar", SHIPPED]
    table = []
    for cell in cells:
        (tmp_path / cell.key).mkdir()
        table.append(measured(asked, cell, tmp_path / cell.key))
    here, before = table
    assert here["kind"] == "plain" and here["depth"] == 8 and len(here["responses"]) == 7
    assert 0 <= here["train_error"] <= 1
    assert before["kind"] == "residual" and before["depth"] == 20 and "train_error" not in before
    weights = checkpoints.open_weights(SHIPPED)
    split = asked.subject.data.splits["test"]
    shown = evaluation(split, weights.preprocessing, 64, asked.subject.execution.device)
    by_hand = responses(weights.build(), [batch.images for batch in shown])
    assert before["responses"] == pytest.approx([each.deviation for each in by_hand], rel=1e-5)
    told = conclude(asked.factors, table)
    assert told.holds is None and any("came trained" in line for line in told.limits)
    said = figures.texts(draw(asked.factors, table, "dark"))
    assert "plain8" in said and SHIPPED in said and "largest" in said


def test_names_that_are_nothing_are_refused(data: Dataset) -> None:
    for name in ("resnet21-cifar-cifar", "nowhere.safetensors"):
        with pytest.raises(Refused):
            inquiry.prepare("responses", data, {"networks": (name,)}, budget_of("1m", 1))


def test_a_short_budget_gives_up_the_deepest(asked: Inquiry) -> None:
    open_ = replace(asked.factors, networks=None, seeds=None, epochs=None, images=None)
    short = STUDY.scale(asked.subject, open_, budget_of("1s", 1))
    assert "resnet110-cifar" not in (short.networks or ())
    assert len(STUDY.cells(short)) == 4 * (short.seeds or 0)


# Verdicts from rows.

SMALLER = {
    ("plain", 20): [0.9, 0.92, 0.91, 0.89, 0.9],
    ("plain", 56): [0.95, 0.93, 0.96, 0.97, 0.94],
    ("residual", 20): [0.7, 0.71, 0.69, 0.72, 0.7],
    ("residual", 56): [0.5, 0.52, 0.51, 0.49, 0.5],
}


def rows(table: dict[tuple[str, int], list[float]], error: float = 0.01) -> list[Row]:
    return [
        {
            "network": f"{kind}{depth}-cifar", "kind": kind, "depth": depth, "seed": seed,
            "status": "done", "mean_response": value, "responses": [value] * depth,
            "train_error": error,
        }
        for (kind, depth), values in table.items()
        for seed, value in enumerate(values)
    ]  # fmt: skip


def test_small_responses_are_seen() -> None:
    found = conclude(FACTORS, rows(SMALLER))
    assert found.holds is True and found.p_value == pytest.approx(1 / 32)
    assert "plain-56 above residual-56 by +0.446" in found.words
    assert "residual-20 above residual-56 by +0.200" in found.words
    assert any("164" in line for line in found.limits)


def test_small_differences_are_said_to_be_small() -> None:
    near = {key: [0.9 + value / 50 for value in values] for key, values in SMALLER.items()}
    found = conclude(FACTORS, rows(near))
    assert found.holds is True and any("0 % of the responses" in line for line in found.limits)
    assert not any("of the responses" in line for line in conclude(FACTORS, rows(SMALLER)).limits)


def test_swapped_labels_turn_the_verdict() -> None:
    other = {"plain": "residual", "residual": "plain"}
    swapped = {(other[kind], depth): values for (kind, depth), values in SMALLER.items()}
    assert conclude(FACTORS, rows(swapped)).holds is False


def test_responses_that_grow_with_depth_refute_it() -> None:
    turned = {(k, {20: 56, 56: 20}[d]): v for (k, d), v in SMALLER.items() if k == "residual"}
    table = {**turned, ("plain", 56): SMALLER["plain", 56]}
    assert conclude(FACTORS, rows(table)).holds is False


def test_what_is_not_enough_evidence() -> None:
    few = {key: values[:4] for key, values in SMALLER.items()}
    assert conclude(FACTORS, rows(few)).holds is None
    alone = {key: values for key, values in SMALLER.items() if key[0] == "residual"}
    assert conclude(FACTORS, rows(alone)).holds is None
    failed = rows(SMALLER)
    for row in failed:
        if (row["kind"], row["depth"]) == ("plain", 56):
            for key in ("kind", "depth", "mean_response", "responses"):
                del row[key]
            row["status"] = "diverged: the loss is no longer finite"
    verdict = conclude(FACTORS, failed)
    assert "plain-20 above residual-20" in verdict.words
    assert any("5 networks diverged" in line for line in verdict.limits)


def test_networks_that_learned_nothing_are_named() -> None:
    found = conclude(FACTORS, rows(SMALLER, error=0.9))
    assert any("plain56-cifar" in line and "has not learned" in line for line in found.limits)


def test_the_figure_names_every_network() -> None:
    said = figures.texts(draw(FACTORS, rows(SMALLER), "light"))
    for kind, depth in SMALLER:
        assert f"{kind}{depth}" in said
    figures.texts(plots.responses([]))
