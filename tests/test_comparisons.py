"""Two networks on the same images: what is counted, what is decided, and what is said."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from residua.comparisons import (
    Answers,
    Comparison,
    compare,
    compare_all,
    holm,
    mcnemar,
    over_seeds,
)
from residua.errors import Refused
from residua.intervals import paired


def answers(name: str, right: Any, images: int | None = None) -> Answers:
    """Cats and dogs in turn, right or wrong as given."""
    labels = ["cat" if place % 2 else "dog" for place in range(len(right))]
    other = {"cat": "dog", "dog": "cat"}
    predictions = [
        label if good else other[label] for label, good in zip(labels, right, strict=True)
    ]
    return Answers(name, [f"{place}.png" for place in range(len(right))], labels, predictions)


def shuffled(given_: Answers, order: Any) -> Answers:
    columns = (given_.images, given_.labels, given_.predictions)
    return Answers(given_.network, *([column[place] for place in order] for column in columns))


def both(pairs: list[tuple[bool, bool]]) -> tuple[Answers, Answers]:
    first, second = zip(*pairs, strict=True)
    return answers("A", first), answers("B", second)


BOTH = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_binomial_test_and_symmetric(first: int, second: int) -> None:
    p = mcnemar(first, second)
    assert p == mcnemar(second, first)
    assert p == pytest.approx(min(1, 2 * binom.cdf(min(first, second), first + second, 0.5)))


def test_mcnemar_sees_a_difference_between_equals_in_5_of_100_cases_at_most() -> None:
    """The probability itself, for few disagreements and for many."""
    for apart in (*range(1, 50), 101, 200):
        counts = np.arange(apart + 1)
        p_values = np.array([mcnemar(int(count), int(apart - count)) for count in counts])
        assert binom.pmf(counts, apart, 0.5) @ (p_values < 0.05) <= 0.05


def test_a_small_case_by_hand() -> None:
    first = answers("A", [1, 1, 1, 1, 1, 1, 1, 0, 0, 1])
    second = answers("B", [0, 0, 0, 0, 0, 0, 1, 0, 1, 1])
    found = compare(first, second)
    assert (found.total, found.both_wrong) == (10, 1)
    assert (found.only_first_wrong, found.only_second_wrong) == (1, 6)
    assert found.difference == pytest.approx(-0.5)
    assert found.p_value == pytest.approx(2 * (1 + 7) / 2**7)
    assert found.interval == paired(1, 6, 10)
    assert found.better is None
    table = json.loads(json.dumps(found.to_dict()))
    assert table["verdict"] == found.verdict()
    assert table["interval"] == list(found.interval)


@given(BOTH)
def test_comparison_is_symmetric(pairs: list[tuple[bool, bool]]) -> None:
    first, second = both(pairs)
    one, two = compare(first, second), compare(second, first)
    assert one.difference == -two.difference
    assert (one.p_value, one.better, one.needed) == (two.p_value, two.better, two.needed)
    errors = [1 - each.right.mean() for each in (first, second)]
    assert one.difference == pytest.approx(errors[0] - errors[1])


@given(BOTH, st.integers(0, 1000))
def test_the_order_of_images_does_not_matter(pairs: list[tuple[bool, bool]], seed: int) -> None:
    first, second = both(pairs)
    order = np.random.default_rng(seed).permutation(len(pairs))
    assert compare(first, shuffled(second, order)) == compare(first, second)


def test_other_images_are_refused_with_the_first_difference() -> None:
    first, second = answers("A", [1, 0, 1]), answers("B", [1, 1, 1])
    with pytest.raises(Refused, match=r"only A was asked about 2\.png"):
        compare(first, replace(second, images=["0.png", "1.png", "3.png"]))
    with pytest.raises(Refused, match=r"only B was asked about 3\.png"):
        compare(first, answers("B", [1, 1, 1, 1]))
    with pytest.raises(Refused, match=r'1\.png is labelled "cat" and "bird"'):
        compare(first, replace(second, labels=["dog", "bird", "dog"]))
    with pytest.raises(Refused, match="more than once: 3 and 3 images, 2 names"):
        twice = ["0.png", "1.png", "1.png"]
        compare(replace(first, images=twice), replace(second, images=twice))
    with pytest.raises(Refused, match="no images"):
        compare(answers("A", []), answers("B", []))


def test_names_cannot_break_a_message() -> None:
    evil = replace(answers("A", [1]), images=["a\nb\x1b[2J"])
    with pytest.raises(Refused) as caught:
        compare(evil, answers("B", [1]))
    assert "\x1b" not in str(caught.value) and "a\\nb" in str(caught.value)


def counts(first: int, second: int, total: int = 10_000) -> Comparison:
    return Comparison("A", "B", total, 100, first, second)


def test_the_verdict_names_the_better_one_first() -> None:
    for found in (counts(300, 420), replace(counts(420, 300), first="B", second="A")):
        text = found.verdict()
        assert text.startswith(
            "A is better than B: 12 fewer errors per 1,000 images (95 % interval "
        )
        assert text.endswith("), p < 0.001")
        assert " more" not in text.split("interval")[1]
    assert counts(300, 420).better == "A"
    assert counts(420, 300).better == "B"


def test_the_verdict_says_that_nothing_is_shown_and_how_many_images_would() -> None:
    found = counts(300, 320)
    text = found.verdict()
    assert text.startswith("no difference can be shown: A makes 2 fewer errors per 1,000 images")
    assert " more to " in text and "p = 0.45" in text
    assert found.needed is not None
    assert "would take about 120,000 images" in text and 115_000 < found.needed < 125_000
    assert counts(420, 400).verdict().startswith("no difference can be shown: B makes 2 fewer")


def test_the_verdict_on_equals() -> None:
    text = counts(50, 50).verdict()
    assert text.startswith("no difference between A and B: each is right where the other is wrong ")
    assert "on 50 of 10,000 images" in text and "p = 1" in text
    assert counts(0, 0).p_value == 1
    assert counts(0, 0).needed is None
    assert counts(5001, 4999, 10_000).needed is None  # more images than there are


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_adjusts_upwards_in_the_same_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    assert min(adjusted) == pytest.approx(min(1, min(p_values) * len(p_values)))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()
    assert holm(p_values[::-1]) == pytest.approx(adjusted[::-1])


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_several_networks_are_compared_in_pairs() -> None:
    dice = np.random.default_rng(0)
    hard = dice.random(1000)
    several = [
        answers(name, hard + 0.02 * dice.normal(size=1000) > error)
        for name, error in (("A", 0.05), ("B", 0.055), ("C", 0.15))
    ]
    found = compare_all(several)
    assert [(pair.first, pair.second) for pair in found] == [("A", "B"), ("A", "C"), ("B", "C")]
    assert [pair.better for pair in found] == [None, "A", "B"]
    assert [pair.p for pair in found] == holm([pair.p_value for pair in found])
    assert all("(Holm, 3 pairs)" in pair.verdict() for pair in found)
    single = compare_all(several[:2])[0]
    assert single.p == single.p_value and "Holm" not in single.verdict()
    with pytest.raises(Refused, match="two or more"):
        compare_all(several[:1])


def test_runs_over_seeds_as_papers_print_them() -> None:
    """He et al. 2016a, table 6, prints "best (mean +- deviation)"."""
    found = over_seeds([0.0643, 0.0650, 0.0664, 0.0666, 0.0682])
    assert str(found) == "6.43 % (6.61 \N{PLUS-MINUS SIGN} 0.15, 5 runs)"
    assert found.deviation == pytest.approx(np.std([6.43, 6.50, 6.64, 6.66, 6.82], ddof=1) / 100)
    assert str(over_seeds([0.0643])) == "6.43 % (1 run)"
    for wrong in ([], [0.1, float("nan")], [6.43]):
        with pytest.raises(Refused, match="fractions"):
            over_seeds(wrong)
