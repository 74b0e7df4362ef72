"""The verdict on shortcuts: from rows, whatever trained them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from residua import networks, studies
from residua.errors import Refused
from residua.factors import Factors
from residua.studies.shortcuts import IDENTITY, ORDERS, VARIANTS, check, conclude, enough, names
from residua.sweeps import Row

FACTORS = Factors(families=(IDENTITY, "none", "1x1"), depths=(8,), seeds=6, epochs=30.0)
BASE = [0.02, 0.03, 0.02, 0.025, 0.03, 0.02]


def rows(errors: dict[str, list[float]]) -> list[Row]:
    return [
        {
            "shortcut": name, "depth": 8, "seed": seed, "status": "done",
            "train_error": error / 2, "test_error": error,
        }
        for name, values in errors.items()
        for seed, error in enumerate(values)
    ]  # fmt: skip


def shifted(by: float) -> list[float]:
    return [value + by for value in BASE]


def test_the_identity_is_best_where_another_is_shown_worse() -> None:
    found = conclude(FACTORS, rows({IDENTITY: BASE, "none": shifted(0.5), "1x1": BASE}))
    assert found.holds is True
    assert found.p_value == pytest.approx(2 / 64)  # two tests of 2^6 signs, adjusted
    assert "1 of 2 are shown to be worse" in found.words and "None: +50.0 points" in found.words


def test_the_identity_is_not_best_where_another_is_shown_better() -> None:
    found = conclude(FACTORS, rows({IDENTITY: BASE, "none": shifted(0.5), "1x1": shifted(-0.02)}))
    assert found.holds is False
    assert "1x1" in found.words


def test_a_better_order_does_not_speak_against_the_identity() -> None:
    factors = Factors(families=(IDENTITY, "none", "pre-activation"), depths=(8,), seeds=6)
    table = {IDENTITY: BASE, "none": shifted(0.5), "pre-activation": shifted(-0.02)}
    found = conclude(factors, rows(table))
    assert found.holds is True and "Pre-activation: -2.0 points" in found.words


def test_few_seeds_show_nothing_and_say_so() -> None:
    few = {IDENTITY: BASE[:5], "none": shifted(0.5)[:5], "1x1": BASE[:5]}
    factors = Factors(families=FACTORS.families, depths=(8,), seeds=5)
    found = conclude(factors, rows(few))
    assert found.holds is None
    assert any("6 seeds are the fewest" in line for line in found.limits)


def test_one_network_shows_nothing() -> None:
    assert conclude(FACTORS, rows({IDENTITY: BASE})).holds is None
    assert conclude(FACTORS, []).holds is None


def test_a_network_that_diverged_classifies_nothing() -> None:
    table = rows({IDENTITY: BASE, "none": BASE})
    for row in table:
        if row["shortcut"] == "none":
            row["status"] = "diverged: the loss is no longer finite"
            del row["test_error"], row["train_error"]
    found = conclude(FACTORS, table)
    assert found.holds is True
    assert any("6 trainings diverged" in line for line in found.limits)


@given(st.lists(st.floats(0, 1), min_size=18, max_size=18))
@settings(max_examples=40, deadline=None)
def test_no_errors_make_the_identity_best_and_beaten(errors: list[float]) -> None:
    one, other, third = errors[:6], errors[6:12], errors[12:]
    table = {IDENTITY: one, "none": other, "1x1": third}
    mirrored = {key: [1 - value for value in values] for key, values in table.items()}
    holds, opposite = (conclude(FACTORS, rows(each)).holds for each in (table, mirrored))
    assert not (holds is True and opposite is True)


@given(st.integers(1, 60))
def test_enough_seeds_are_enough(comparisons: int) -> None:
    seeds = enough(comparisons)
    assert comparisons / 2**seeds < 0.05
    assert seeds == 5 or comparisons / 2 ** (seeds - 1) >= 0.05


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_a_network(variant: str) -> None:
    (name,) = names(Factors(families=(variant,), depths=(14,)))
    assert networks.build(name, 3).depth == 14


def test_orders_have_the_weights_of_the_ordinary_network() -> None:
    """Nothing but the place of norms and ReLUs varies: the parameters are the same."""
    want = sum(value.numel() for value in networks.build("resnet14-cifar").parameters())
    for variant in ORDERS:
        (name,) = names(Factors(families=(variant,), depths=(14,)))
        have = sum(value.numel() for value in networks.build(name).parameters())
        assert have == want or variant == "pre-activation"


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        (Factors(families=(IDENTITY, "nothing")), "shortcut"),
        (Factors(families=("none", "1x1")), "compared with the identity"),
        (Factors(depths=(8, 14)), "at one depth"),
    ],
)
def test_what_cannot_be_compared_is_refused(factors: Factors, words: str) -> None:
    with pytest.raises(Refused, match=words):
        check(factors)


def test_cells_and_figure() -> None:
    study = studies.find("shortcuts")
    cells = study.cells(FACTORS)
    assert len(cells) == len({cell.key for cell in cells}) == 18
    table = rows({IDENTITY: BASE, "none": shifted(0.5), "1x1": BASE})
    for picture in study.figures.values():
        picture.draw(FACTORS, table, "dark")
        picture.draw(FACTORS, [], "light")
