"""The verdict on width and depth: from rows, whatever trained them."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from residua import networks, studies
from residua.errors import Refused
from residua.factors import Factors
from residua.networks.graph import graph
from residua.studies.width_depth import ALIKE, conclude, grid, networks_of, pairs
from residua.sweeps import Row

FACTORS = Factors(depths=(10, 22), widths=(1.0, 2.0), seeds=5, epochs=30.0)
COSTS = {(10, 1.0): 100, (10, 2.0): 400, (22, 1.0): 390, (22, 2.0): 1600}


def rows(deep: float, wide: float) -> list[Row]:
    """Networks of a grid; `deep` and `wide` are the errors of the two that cost the same."""
    errors = {(22, 1.0): deep, (10, 2.0): wide}
    return [
        {
            "depth": depth, "width": width, "seed": seed, "status": "done", "parameters": cost,
            "multiply_adds": cost, "train_error": 0.0,
            "test_error": errors.get((depth, width), 0.1) + 0.001 * seed,
        }
        for (depth, width), cost in COSTS.items()
        for seed in range(5)
    ]  # fmt: skip


def test_pairs_cost_the_same() -> None:
    assert [tuple(pair) for pair in pairs(rows(0.1, 0.1))] == [((22, 1.0), (10, 2.0))]


@pytest.mark.parametrize(
    ("deep", "wide", "holds"), [(0.1, 0.2, True), (0.2, 0.1, False), (0.1, 0.1, None)]
)
def test_errors_at_equal_cost_decide(deep: float, wide: float, holds: bool | None) -> None:
    found = conclude(FACTORS, rows(deep, wide))
    assert found.holds is holds
    assert "22-1 against 10-2" in found.words
    if holds is not None:
        assert found.p_value == pytest.approx(1 / 32)


def test_few_seeds_are_not_enough_evidence() -> None:
    few = [row for row in rows(0.1, 0.2) if row["seed"] < 4]
    found = conclude(FACTORS, few)
    assert found.holds is None and "5 seeds are the fewest" in found.words


def test_a_grid_without_equal_costs_tells_nothing() -> None:
    one = [row for row in rows(0.1, 0.2) if row["width"] == 1.0]
    found = conclude(FACTORS, one)
    assert found.holds is None and "no two networks" in found.words
    assert conclude(FACTORS, []).holds is None


@given(st.lists(st.floats(0, 1), min_size=10, max_size=10))
@settings(max_examples=40, deadline=None)
def test_exchanging_errors_turns_the_verdict(errors: list[float]) -> None:
    table = rows(0, 0)
    for row in table:
        if (row["depth"], row["width"]) == (22, 1.0):
            row["test_error"] = errors[row["seed"]]
        elif (row["depth"], row["width"]) == (10, 2.0):
            row["test_error"] = errors[5 + row["seed"]]
    swapped = [dict(row) for row in table]
    for row in swapped:
        row["multiply_adds"] = COSTS[row["depth"], row["width"]]
        if row["multiply_adds"] in (390, 400):
            row["depth"], row["width"] = (10, 2.0) if row["depth"] == 22 else (22, 1.0)
    one, other = conclude(FACTORS, table).holds, conclude(FACTORS, swapped).holds
    assert other == (None if one is None else not one)


def test_the_usual_grid_has_networks_of_equal_cost() -> None:
    """Pairs differ in cost by less than the factor that counts as the same."""
    cost = {
        (depth, width): graph(
            networks.weightless(f"wide{depth}-cifar-width={width}"), (3, 8, 8)
        ).multiply_adds
        for depth, width in itertools.product((10, 16, 22, 46), (1, 2, 4))
    }
    for width in (1, 2):
        for deep, shallow in ((22, 10), (46, 16)):
            assert 1 / ALIKE < cost[deep, width] / cost[shallow, 2 * width] < ALIKE


def test_a_width_that_does_not_exist_is_refused() -> None:
    with pytest.raises(Refused, match="no such width"):
        grid(Factors(depths=(10,), widths=(1.5,)))


def test_networks_of_a_grid_are_means_over_seeds() -> None:
    found = {row["name"]: row for row in networks_of(rows(0.1, 0.2))}
    assert set(found) == {"10-1", "10-2", "22-1", "22-2"}
    assert found["22-1"]["error"] == pytest.approx(0.102)
    low, high = found["22-1"]["interval"]
    assert low < 0.102 < high


def test_cells_and_figures() -> None:
    study = studies.find("width-depth")
    cells = study.cells(FACTORS)
    assert len(cells) == len({cell.key for cell in cells}) == 20
    assert max(cells, key=lambda cell: cell.cost).values["depth"] == 22
    for picture in study.figures.values():
        picture.draw(FACTORS, rows(0.1, 0.2), "dark")
        picture.draw(FACTORS, [], "light")
