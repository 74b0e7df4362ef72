"""Which of two networks is better, asked about the same images.

Most images tell nothing: both networks are right, or both wrong. McNemar's test (1947) looks at
the others. If the networks were equally good, each of these would be a fair coin, so their number
for one side is binomial. Two separate intervals that overlap do not answer the question.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from residua.errors import Refused
from residua.intervals import Interval, images_needed, paired
from residua.words import harmless, percent

LEVEL = 0.05  # of a test: how often it may see a difference between equals
MOST = 10_000_000  # images: a difference that would need more is none


@dataclass(frozen=True)
class Answers:
    """What one network answered, image by image; classes by name, their order may differ."""

    network: str
    images: Sequence[str]  # (n) names
    labels: Sequence[str]  # (n) true classes
    predictions: Sequence[str]  # (n)

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        pairs = zip(self.labels, self.predictions, strict=True)
        return np.array([label == answer for label, answer in pairs], bool)


@dataclass(frozen=True)
class Comparison:
    """Two networks on the same images, and whether one is better."""

    first: str
    second: str
    total: int
    both_wrong: int
    only_first_wrong: int
    only_second_wrong: int
    pairs: int = 1  # tested together with this one
    adjusted: float | None = None  # p-value for so many tests

    @property
    def difference(self) -> float:
        """Error of the first minus error of the second, a fraction."""
        return (self.only_first_wrong - self.only_second_wrong) / self.total

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the difference (paired bootstrap)."""
        return paired(self.only_first_wrong, self.only_second_wrong, self.total)

    @cached_property
    def p_value(self) -> float:
        """Exact, two-sided (McNemar)."""
        return mcnemar(self.only_first_wrong, self.only_second_wrong)

    @property
    def p(self) -> float:
        """The p-value that decides: adjusted where several pairs were tested."""
        return self.p_value if self.adjusted is None else self.adjusted

    @property
    def better(self) -> str | None:
        """The network that is shown to be better, None where neither is."""
        if self.p >= LEVEL:
            return None
        return self.first if self.difference < 0 else self.second

    @property
    def needed(self) -> int | None:
        """How many images would show a difference of this size; None: no such number."""
        number = images_needed(self.only_first_wrong, self.only_second_wrong, self.total)
        return number if number is not None and number <= MOST else None

    def verdict(self) -> str:
        """The answer in words, the one with fewer errors first."""
        ahead, behind, low, high = self.first, self.second, *self.interval
        if self.difference > 0:
            ahead, behind, low, high = behind, ahead, -high, -low
        fewer = f"{_thousandths(abs(self.difference), self.total)} fewer errors per 1,000 images"
        span = f"95 % interval {_span(-high, -low, self.total)}"
        tests = f" (Holm, {self.pairs} pairs)" if self.pairs > 1 else ""
        chance = f"{_p(self.p)}{tests}"
        if self.better is not None:
            return f"{ahead} is better than {behind}: {fewer} ({span}), {chance}"
        if not self.difference:
            apart = self.only_first_wrong + self.only_second_wrong
            return (
                f"no difference between {ahead} and {behind}: each is right where the other is "
                f"wrong on {apart // 2:,} of {self.total:,} images ({span}), {chance}"
            )
        need = "" if self.needed is None else (
            f"; to show a difference of this size would take about {_about(self.needed)} images"
        )  # fmt: skip
        return (
            f"no difference can be shown: {ahead} makes {fewer} than {behind} ({span}), "
            f"{chance}{need}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Every number, for JSON."""
        return {
            "first": self.first,
            "second": self.second,
            "total": self.total,
            "both_wrong": self.both_wrong,
            "only_first_wrong": self.only_first_wrong,
            "only_second_wrong": self.only_second_wrong,
            "difference": self.difference,
            "interval": list(self.interval),
            "p_value": self.p_value,
            "pairs": self.pairs,
            "adjusted_p_value": self.p,
            "better": self.better,
            "images_needed": self.needed,
            "verdict": self.verdict(),
        }


def mcnemar(first: int, second: int) -> float:
    """The exact two-sided p-value of `first` against `second` disagreements (McNemar 1947)."""
    apart = first + second
    return float(binomtest(first, apart).pvalue) if apart else 1.0


def compare(first: Answers, second: Answers) -> Comparison:
    """Compare two networks on the same images.

    Raises:
        Refused: the images or their classes are not the same, or there are none.
    """
    right, other = first.right, second.right[_places(first, second)]
    return Comparison(
        first.network,
        second.network,
        total=len(right),
        both_wrong=int((~right & ~other).sum()),
        only_first_wrong=int((~right & other).sum()),
        only_second_wrong=int((right & ~other).sum()),
    )


def compare_all(several: Sequence[Answers]) -> list[Comparison]:
    """Compare each with each; the p-values allow for so many tests (Holm 1979).

    Raises:
        Refused: there are fewer than two, or their images are not the same.
    """
    if len(several) < 2:
        raise Refused("a comparison takes two or more evaluations", f"received {len(several)}")
    found = [compare(first, second) for first, second in combinations(several, 2)]
    adjusted = holm([pair.p_value for pair in found])
    return [
        replace(pair, pairs=len(found), adjusted=p) for pair, p in zip(found, adjusted, strict=True)
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted so that all tests together err in at most 5 % of cases (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    stepped = np.maximum.accumulate(np.asarray(p_values, np.float64)[order] * factors)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(stepped, 1)
    return [float(p) for p in adjusted]


def _places(first: Answers, second: Answers) -> NDArray[np.intp]:
    """Where each image of the first stands in the second.

    Raises:
        Refused: naming the first difference.
    """
    names = f"{first.network} and {second.network}"
    where = {image: place for place, image in enumerate(second.images)}
    for own, other in ((first, second), (second, first)):
        known = set(other.images)
        strange = next((image for image in own.images if image not in known), None)
        if strange is not None:
            what = f"only {own.network} was asked about {harmless(strange)}"
            raise _other_images(names, what)
    if not len(first.images) == len(second.images) == len(where):
        counts = f"{len(first.images):,} and {len(second.images):,} images, {len(where):,} names"
        raise _other_images(names, f"an image occurs more than once: {counts}")
    if not where:
        raise Refused("there are no images to compare on", names)
    places = np.array([where[image] for image in first.images])
    for image, label, place in zip(first.images, first.labels, places, strict=True):
        if label != second.labels[place]:
            both = f'"{harmless(label)}" and "{harmless(second.labels[place])}"'
            raise _other_images(names, f"{harmless(image)} is labelled {both}")
    return places


def _other_images(names: str, what: str) -> Refused:
    fix = "evaluate both on the same split of the same data"
    return Refused(f"{names} were not evaluated on the same images", what, fix)


class OverSeeds(NamedTuple):
    """The errors of runs that differ in their seed alone; the deviation is that of a sample."""

    best: float
    mean: float
    deviation: float | None  # None of a single run
    runs: int

    def __str__(self) -> str:
        """As papers print it. The best of several is the luckiest: it promises nothing."""
        if self.deviation is None:
            return f"{percent(self.best)} (1 run)"
        spread = f"{100 * self.mean:.2f} \N{PLUS-MINUS SIGN} {100 * self.deviation:.2f}"
        return f"{percent(self.best)} ({spread}, {self.runs} runs)"


def over_seeds(errors: ArrayLike) -> OverSeeds:
    """Best, mean and sample deviation of the errors of several runs (fractions).

    Raises:
        Refused: there are none, or one is not a fraction.
    """
    known = np.asarray(errors, np.float64).ravel()
    if not len(known) or not ((known >= 0) & (known <= 1)).all():
        raise Refused("the errors of runs are fractions from 0 to 1", f"received {known.tolist()}")
    deviation = float(known.std(ddof=1)) if len(known) > 1 else None
    return OverSeeds(float(known.min()), float(known.mean()), deviation, len(known))


def _thousandths(fraction: float, total: int) -> str:
    """Errors per 1,000 images, with the digits that so many images can support."""
    text = f"{1000 * fraction:.{0 if total < 2000 else 1}f}"
    return text.removesuffix(".0")


def _span(low: float, high: float, total: int) -> str:
    """From so many fewer to so many fewer, or more, errors of the one ahead."""
    ends = [_thousandths(abs(value), total) for value in (low, high)]
    if low < 0 < high:
        return f"{ends[0]} more to {ends[1]} fewer"
    return f"{ends[0]} to {ends[1]}"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def _about(number: int) -> str:
    """Two digits of a number are enough."""
    return f"{int(float(f'{number:.2g}')):,}"
