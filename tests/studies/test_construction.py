"""The study of the construction: verdicts from rows, and rows that a kill does not change."""

from pathlib import Path

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from residua import inquiry, plots
from residua.errors import Refused
from residua.factors import Factors
from residua.question import Budget
from residua.studies import construction
from residua.studies.construction import STUDY, conclude
from residua.sweeps import Row

FACTORS = Factors(families=("plain", "residual"), depths=(20, 56), seeds=5, epochs=10.0)
KEPT = {
    "shallow": [0.010, 0.012, 0.011, 0.010, 0.013],
    "built": [0.012, 0.011, 0.012, 0.013, 0.012],
    "scratch": [0.61, 0.7, 0.65, 0.68, 0.71],
}
LOST = {**KEPT, "built": [0.05, 0.06, 0.04, 0.07, 0.05]}


def rows(plain: dict[str, list[float]], residual: dict[str, list[float]]) -> list[Row]:
    return [
        {"family": family, "start": start, "seed": seed, "status": "done", "train_error": error,
         **({"difference": 0.0} if start == "built" else {})}
        for family, table in (("plain", plain), ("residual", residual))
        for start, values in table.items()
        for seed, error in enumerate(values)
    ]  # fmt: skip


def test_a_solution_that_is_kept() -> None:
    found = conclude(FACTORS, rows(KEPT, KEPT))
    assert found.holds is True and found.p_value == pytest.approx(1 / 32)
    assert "SGD keeps" in found.words and "not quite" not in found.words
    assert "to the last bit" in found.words
    assert "from scratch it ends +65.8 points" in found.words
    assert found.numbers["plain"]["p of scratch > built"] == pytest.approx(1 / 32)


def test_a_solution_that_is_nearly_kept() -> None:
    near = {**KEPT, "built": [error + 0.005 for error in KEPT["shallow"]]}
    found = conclude(FACTORS, rows(near, KEPT))
    assert (
        found.holds is True
        and "by construction, if not quite, and does not find it from scratch." in found.words
    )


def test_a_solution_that_is_left() -> None:
    found = conclude(FACTORS, rows(LOST, KEPT))
    assert found.holds is False and "SGD leaves" in found.words
    # The question is about the first family; the other one is told.
    assert "residual" in found.words
    assert conclude(FACTORS, rows(KEPT, LOST)).holds is True


def test_few_seeds_are_not_enough_evidence() -> None:
    few = {start: values[:4] for start, values in LOST.items()}
    found = conclude(FACTORS, rows(few, few))
    assert found.holds is None and "5 seeds are the fewest" in found.words
    assert conclude(FACTORS, []).holds is None
    assert conclude(Factors(families=("plain",), depths=(20,)), rows(KEPT, KEPT)).holds is None


def test_a_construction_that_is_not_exact_is_not_called_so() -> None:
    table = rows(KEPT, KEPT)
    next(row for row in table if row["start"] == "built")["difference"] = 1e-7
    assert "to the last bit" not in conclude(FACTORS, table).words


def test_a_training_that_diverged_has_lost_everything() -> None:
    table = rows(KEPT, KEPT)
    for row in table:
        if (row["family"], row["start"]) == ("plain", "built"):
            row["status"] = "diverged: the loss is no longer finite"
            del row["train_error"]
    found = conclude(FACTORS, table)
    assert found.holds is False
    assert any("5 trainings diverged" in line for line in found.limits)


@given(st.lists(st.floats(0, 1), min_size=10, max_size=10))
def test_kept_means_within_a_point(errors: list[float]) -> None:
    table = {**KEPT, "shallow": errors[:5], "built": errors[5:]}
    found = conclude(FACTORS, rows(table, KEPT))
    gap = sum(errors[5:]) / 5 - sum(errors[:5]) / 5
    if found.holds is not None:
        assert (gap < construction.SLACK) is found.holds or (gap > 0 and found.holds is False)


@pytest.fixture(scope="module")
def small() -> inquiry.Inquiry:
    given = {"families": "plain,residual", "depths": "8,14", "epochs": "1", "seeds": "1",
             "batch": "32"}  # fmt: skip
    return inquiry.prepare("construction", tiny.digits(96, 32), given, Budget("5m", 300, 1))


def cell_of(asked: inquiry.Inquiry, family: str, start: str):
    cells = STUDY.cells(asked.factors)
    return next(c for c in cells if (c.values["family"], c.values["start"]) == (family, start))


@pytest.mark.parametrize("family", ["plain", "residual"])
def test_rows(small: inquiry.Inquiry, family: str, tmp_path: Path) -> None:
    found = {}
    for start in construction.STARTS:
        place = tmp_path / start
        place.mkdir()
        cell = cell_of(small, family, start)
        found[start] = STUDY.measure(small.subject, small.factors, cell, place)
        assert [point[0] for point in found[start]["curve"]] == [1, 2]
    shallow, built, scratch = (found[start] for start in construction.STARTS)
    assert built["difference"] == 0.0
    assert built["train_error_before"] == shallow["train_error_before"]  # the same training
    assert built["curve"][0] == shallow["curve"][0]
    assert built["parameters"] == scratch["parameters"] > shallow["parameters"]


def test_an_interrupted_cell_goes_on_to_the_same_row(
    small: inquiry.Inquiry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = cell_of(small, "residual", "built")
    places = [tmp_path / name for name in ("whole", "killed")]
    for place in places:
        place.mkdir()
    whole = STUDY.measure(small.subject, small.factors, cell, places[0])

    def killed(*arguments: object) -> float:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(construction, "apart", killed)
        STUDY.measure(small.subject, small.factors, cell, places[1])
    assert STUDY.measure(small.subject, small.factors, cell, places[1]) == whole


def test_what_is_left_open_is_chosen() -> None:
    chosen = inquiry.prepare("construction", tiny.digits(), {}, Budget("1s", 1.0, 1)).factors
    assert chosen.families == ("plain", "residual") and chosen.seeds == 5
    assert len(chosen.depths or ()) == 2
    with pytest.raises(Refused, match="no family"):
        inquiry.prepare("construction", tiny.digits(), {"families": "plane"}, Budget("1s", 1.0, 1))


def test_the_figure(small: inquiry.Inquiry) -> None:
    curve = [[1, 0.5, 0.6], [2, 0.1, 0.3]]
    table = [{"family": "plain", "start": start, "curve": curve} for start in construction.STARTS]
    table.append({"family": "plain", "start": "built", "status": "diverged: it did"})
    for theme in ("light", "dark"):
        drawn = STUDY.figures["construction"].draw(small.factors, table, theme)
        assert b"14, built" in plots.render(drawn, "svg")
