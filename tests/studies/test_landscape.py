"""The study of landscapes: its cells, its verdict from rows, and one run of it from end to end."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from figures import texts
from hypothesis import given
from hypothesis import strategies as st

from residua.errors import Refused
from residua.factors import Factors
from residua.inquiry import subject_of
from residua.probes.landscapes import span
from residua.question import Budget
from residua.studies.landscape import STUDY, conclude, finest, plane_of, scale
from residua.sweeps import Row, sweep

RESIDUAL, PLAIN = "resnet8-cifar", "plain8-cifar"
FACTORS = Factors(networks=(RESIDUAL, PLAIN), seeds=5, points=5, sample=32, epochs=30.0)


def rows(steep: dict[str, float], factors: Factors = FACTORS) -> list[Row]:
    """What would be measured around bowls that are so steep."""
    found = []
    at = np.linspace(-1, 1, factors.points or 0)
    for cell in STUDY.cells(factors):
        name, seed, part, line = cell.values.values()
        bend = steep[name] * (1 + 0.01 * seed)
        row: dict[str, Any] = {**cell.values, "status": "done"}
        if part == "sharpness":
            row |= {"sharpness": bend, "eigenvalue": bend, "train_error": 0.0, "test_error": 0.1}
        else:
            band = at[line : line + 5]
            row |= {"x": at.tolist(), "y": band.tolist()}
            row["losses"] = [[bend * (x * x + y * y) for x in at] for y in band]
            row["errors"] = [[0.0] * len(at)] * len(band)
        if part == "path":
            row |= {"way": [[1.0, 0.5], [0.2, 0.1], [0.0, 0.0]], "shares": [0.9, 0.08]}
        found.append(row)
    return found


def test_cells_are_bands_of_planes_and_a_sharpness_each() -> None:
    cells = STUDY.cells(Factors(networks=(RESIDUAL, PLAIN), seeds=2, points=11, epochs=30.0))
    assert len({cell.key for cell in cells}) == len(cells) == 2 * 2 * (1 + 3) + 2 * 3
    assert {cell.values["line"] for cell in cells} == {0, 5, 10}


def test_weights_that_are_given_have_no_way_and_no_seeds() -> None:
    cells = STUDY.cells(Factors(networks=("resnet20-digits",), seeds=3, points=5))
    assert [cell.values["part"] for cell in cells] == ["sharpness", "plane"]


def test_a_steeper_bowl_is_sharper() -> None:
    found = conclude(FACTORS, rows({RESIDUAL: 1.0, PLAIN: 50.0}))
    assert found.holds is True and found.p_value == pytest.approx(1 / 32)
    assert "bends 50 (50 to 50) times as sharply" in found.words
    assert any("evaluation" in line for line in found.limits)


def test_the_labels_swapped_turn_the_verdict() -> None:
    assert conclude(FACTORS, rows({RESIDUAL: 50.0, PLAIN: 1.0})).holds is False


def test_no_difference_and_few_seeds_are_not_enough_evidence() -> None:
    assert conclude(FACTORS, rows({RESIDUAL: 5.0, PLAIN: 5.0})).holds is None
    few = Factors(networks=FACTORS.networks, seeds=4, points=5, epochs=30.0)
    assert conclude(few, rows({RESIDUAL: 1.0, PLAIN: 50.0}, few)).holds is None


def test_a_network_that_failed_takes_no_part() -> None:
    table = [
        row if row["network"] == RESIDUAL
        else {"status": "diverged: the loss", **{k: row[k] for k in ("network", "seed", "part")}}
        for row in rows({RESIDUAL: 1.0, PLAIN: 2.0})
    ]  # fmt: skip
    found = conclude(FACTORS, table)
    assert found.holds is None and any("5 trainings diverged" in line for line in found.limits)
    STUDY.figures["landscape"].draw(FACTORS, table, "light")


def test_one_network_has_nothing_to_be_compared_with() -> None:
    one = Factors(networks=(RESIDUAL,), seeds=1, points=5)
    assert conclude(one, rows({RESIDUAL: 1.0}, one)).holds is None


def test_a_network_that_did_not_learn_is_named() -> None:
    table = rows({RESIDUAL: 1.0, PLAIN: 50.0})
    for row in table:
        if row["network"] == PLAIN and "train_error" in row:
            row["train_error"] = 0.6
    assert any(PLAIN in line and "60.00 %" in line for line in conclude(FACTORS, table).limits)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_figures_are_on_one_scale_and_name_the_networks(theme: str) -> None:
    table = rows({RESIDUAL: 1.0, PLAIN: 5000.0})
    for picture in STUDY.figures.values():
        written = texts(picture.draw(FACTORS, table, theme))
        assert RESIDUAL in written and PLAIN in written
        picture.draw(FACTORS, [], theme)


def test_losses_that_are_not_finite_are_drawn() -> None:
    table = rows({RESIDUAL: 1.0, PLAIN: 5.0})
    for row in table:
        if "losses" in row:
            row["losses"][0][0] = None
    for picture in STUDY.figures.values():
        picture.draw(FACTORS, table, "light")
    plane = plane_of(table, PLAIN, 0, "plane")
    assert plane is not None and plane.losses[0][0] == math.inf


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=9), st.integers(2, 30))
def test_a_span_holds_all_values(values: list[float], count: int) -> None:
    found = span(values, count)
    assert len(found) == count
    assert found[0] < min(values) and max(values) < found[-1]


@given(st.floats(1e-5, 1e-2), st.floats(1, 1e5))
def test_more_time_is_never_a_coarser_grid(each: float, left: float) -> None:
    filled = Factors(networks=(RESIDUAL,), seeds=5)
    one, more = (finest(filled, Factors(), {RESIDUAL: each}, t) for t in (left, 2 * left))
    assert (one.points or 0) <= (more.points or 0) and (one.sample or 0) <= (more.sample or 0)


def test_a_plane_without_a_middle_is_refused() -> None:
    subject = subject_of(tiny.digits(), Factors(), None, "cpu")
    with pytest.raises(Refused, match="middle"):
        scale(subject, Factors(points=10), Budget("5m", 300.0, 1))


def test_the_study_measures_the_same_rows_again(tmp_path: Path) -> None:
    subject = subject_of(tiny.digits(), Factors(), None, "cpu")
    given_ = Factors(
        networks=(RESIDUAL,), seeds=1, points=5, sample=32, epochs=4.0, batch=32,
        learning_rate=0.05, images=240, augment=False,
    )  # fmt: skip
    factors = scale(subject, given_, Budget("5m", 300.0, 1))
    assert factors == given_

    def measured(folder: Path) -> list[Row]:
        def measure(cell: Any, own: Path) -> Any:
            return STUDY.measure(subject, factors, cell, own)

        return [each.row for each in sweep(STUDY.cells(factors), measure, folder)]

    table = measured(tmp_path / "one")
    assert table == measured(tmp_path / "other")
    assert {row["status"] for row in table} == {"done"}
    sharp = next(row for row in table if row["part"] == "sharpness")
    plane, way = (plane_of(table, RESIDUAL, 0, part) for part in ("plane", "path"))
    assert sharp["sharpness"] > 0 and sharp["train_error"] < 0.9
    assert plane is not None and way is not None
    assert plane.losses[2][2] < plane.losses[0][0]
    assert way.way[-1] == [0.0, 0.0] and len(way.way) == 4
    assert not list((tmp_path / "one" / "networks").glob("*/snapshots"))
