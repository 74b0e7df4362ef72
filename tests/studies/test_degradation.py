"""The verdict on degradation: from rows, whatever trained them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residua.factors import Factors
from residua.families import names
from residua.studies.degradation import STUDY, conclude
from residua.sweeps import Row

FACTORS = Factors(families=("plain", "residual"), depths=(20, 56), seeds=5, epochs=30.0)


def rows(errors: dict[tuple[str, int], list[float]]) -> list[Row]:
    return [
        {"family": family, "depth": depth, "seed": seed, "status": "done", "train_error": error}
        for (family, depth), values in errors.items()
        for seed, error in enumerate(values)
    ]


DEGRADED = {
    ("plain", 20): [0.005, 0.006, 0.004, 0.008, 0.005],
    ("plain", 56): [0.61, 0.7, 0.65, 0.68, 0.71],
    ("residual", 20): [0.001, 0.002, 0.001, 0.002, 0.001],
    ("residual", 56): [0.01, 0.06, 0.02, 0.03, 0.01],
}


def test_degradation_is_seen() -> None:
    found = conclude(FACTORS, rows(DEGRADED))
    assert found.holds is True
    assert found.p_value == pytest.approx(1 / 32)
    assert "Depth hurts plain networks here" in found.words and "+66.4 points" in found.words


def test_the_labels_swapped_turn_the_verdict() -> None:
    swapped = {
        ({"plain": "residual", "residual": "plain"}[family], depth): values
        for (family, depth), values in DEGRADED.items()
    }
    assert conclude(FACTORS, rows(swapped)).holds is False


def test_few_seeds_are_not_enough_evidence() -> None:
    few = {key: values[:4] for key, values in DEGRADED.items()}
    found = conclude(FACTORS, rows(few))
    assert found.holds is None and "5 seeds are the fewest" in found.words


def test_no_difference_is_not_enough_evidence() -> None:
    same = {key: [0.1, 0.12, 0.11, 0.1, 0.13] for key in DEGRADED}
    assert conclude(FACTORS, rows(same)).holds is None


def test_a_network_that_diverged_classifies_nothing() -> None:
    found = rows(DEGRADED)
    for row in found:
        if (row["family"], row["depth"]) == ("plain", 56):
            row["status"] = "diverged: the loss is no longer finite"
            del row["train_error"]
    verdict = conclude(FACTORS, found)
    assert verdict.holds is True
    assert any("5 trainings diverged" in line for line in verdict.limits)


@given(st.lists(st.floats(0, 1), min_size=12, max_size=12))
def test_swapping_the_labels_never_leaves_the_same_answer(errors: list[float]) -> None:
    keys = list(itertools.product(("plain", "residual"), (20, 56)))
    table = {key: errors[3 * at : 3 * at + 3] for at, key in enumerate(keys)}
    swapped = {
        ("residual" if family == "plain" else "plain", depth): values
        for (family, depth), values in table.items()
    }
    holds = conclude(FACTORS, rows(table)).holds
    assert not (holds is True and conclude(FACTORS, rows(swapped)).holds is True)


def test_one_depth_or_family_tells_nothing() -> None:
    one = {key: values for key, values in DEGRADED.items() if key[1] == 20}
    assert conclude(Factors(depths=(20,), families=("plain",)), rows(one)).holds is None


def test_cells_are_matched_by_seed() -> None:
    cells = STUDY.cells(FACTORS)
    assert len(cells) == 20
    assert len({cell.key for cell in cells}) == 20
    assert names(FACTORS) == ["plain20-cifar", "resnet20-cifar", "plain56-cifar", "resnet56-cifar"]
