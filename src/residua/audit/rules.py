"""What the paper's two trainings were, setting by setting, and what another choice does.

    CIFAR       He et al. 2016a, section 4.2
    IMAGENET    He et al. 2016a, section 3.4

A rule takes what is said of its setting, among all that is said, and returns what to expect of it
where it is not the paper's.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from residua.audit.terms import WarmUp

Grade = Literal["changes the result", "may change it", "cosmetic"]
CHANGES: Grade = "changes the result"
MAY: Grade = "may change it"
COSMETIC: Grade = "cosmetic"
GRADES: tuple[Grade, ...] = (CHANGES, MAY, COSMETIC)

LOWER, HIGHER, UNKNOWN = "lower error", "higher error", "not known"
OPTIMISTIC = "lower error on paper only"

Facts = Mapping[str, Any]  # what is said, by our terms


class Effect(NamedTuple):
    """What to expect of a departure."""

    words: str
    direction: str
    grade: Grade


Judge = Callable[[Any, Facts], Effect | None]  # None: as in the paper


class Rule(NamedTuple):
    """One setting of a paper's training."""

    setting: str
    paper: str  # its value there, in words
    section: str
    judge: Judge
    needed: bool = True  # a training that does not say it cannot be judged
    note: str = ""  # where the paper leaves room, or ours stands for something else


def same(usual: Any, words: str, direction: str = UNKNOWN, grade: Grade = CHANGES) -> Judge:
    """As in the paper only if it is `usual`, numbers within rounding."""

    def judge(value: Any, facts: Facts) -> Effect | None:
        near = isinstance(usual, float) and math.isclose(value, usual, rel_tol=1e-6, abs_tol=1e-12)
        return None if near or value == usual else Effect(words, direction, grade)

    return judge


def among(usual: Sequence[Any], words: str, direction: str = UNKNOWN, grade: Grade = MAY) -> Judge:
    """As in the paper if it is any of `usual`."""
    return lambda value, facts: None if value in usual else Effect(words, direction, grade)


def by_value(effects: Mapping[str, Effect], other: Effect, *usual: str) -> Judge:
    """An effect of its own for each value that is known."""
    return lambda value, facts: None if value in usual else effects.get(value, other)


# Numbers of He et al. 2016b, table 1: test error of ResNet-110 on CIFAR-10, 6.61 % with identities.
SHORTCUTS = {
    "B": Effect(
        "projections where shapes change: 2,752 parameters more; on ImageNet 0.5 points better "
        "(2016a, table 3: ResNet-34 25.03 against 24.52 %)", LOWER, MAY),
    "C": Effect("a 1x1 convolution around every block: 12.22 against 6.61 % for ResNet-110 on "
                "CIFAR-10 (2016b, table 1)", HIGHER, CHANGES),
    "D": Effect("averages before projections (He et al. 2018): not in this paper", LOWER, MAY),
    "scaled": Effect("shortcuts scaled by a half: ResNet-110 fails or has 12.35 % against 6.61 % "
                     "(2016b, table 1)", HIGHER, CHANGES),
    "gated": Effect("gated shortcuts: 6.91 to 12.86 against 6.61 % (2016b, table 1)",
                    HIGHER, CHANGES),
    "dropout": Effect("dropout on shortcuts: ResNet-110 fails above 20 % (2016b, table 1)",
                      HIGHER, CHANGES),
}  # fmt: skip
JOINS = {
    "mean": Effect("branch and identity halved: 12.35 against 6.61 % (2016b, table 1)",
                   HIGHER, CHANGES),
    "gate": Effect("highway gates: 8.70 % at a bias of -6, failure from 0 to -5, against 6.61 % "
                   "(2016b, table 1)", HIGHER, CHANGES),
}  # fmt: skip
OTHER = Effect("not in this paper", UNKNOWN, CHANGES)
PREACT = Effect(
    "pre-activation: 6.37 against 6.61 % for 110 layers, 5.46 against 5.93 % for 164 "
    "(2016b, table 2)",
    LOWER,
    CHANGES,
)
FAMILIES = {
    "preact for small images": PREACT,
    "preact for photographs": PREACT,
    "resnet for photographs": Effect(
        "a network for photographs: ResNet-18 has 11 million parameters, 40 times those of "
        "ResNet-20", LOWER, CHANGES),
}  # fmt: skip
OPTIMIZERS = {
    "sgd": Effect(
        "the rate stands outside the velocity: after each drop of the rate the weights slow at "
        "once, in the authors' code over about 10 steps", UNKNOWN, COSMETIC),
}  # fmt: skip


def selection(value: str, facts: Facts) -> Effect | None:
    """The last weights, and no look at the test images."""
    if value == "test":
        return Effect(
            "the reported error is the lowest of many looks at the test images: optimistic, "
            "and not comparable with the paper. Others report 8.27 % for ResNet-20 on CIFAR-10 so "
            "(akamaster) against 8.75 %, this and their other departures together",
            OPTIMISTIC, CHANGES)  # fmt: skip
    if value == "best":
        words = "the weights of the lowest validation error, not the last"
        return Effect(words, LOWER, MAY)
    return None


def apart(value: float, usual: float) -> float:
    """How far from `usual`, as a share of it."""
    return abs(value / usual - 1)


def length(paper: int, close: float = 0.03) -> Judge:
    """So many optimizer steps; epochs are rounded."""

    def judge(value: float, facts: Facts) -> Effect | None:
        off = apart(value, paper)
        if off <= close:
            return None
        more = value > paper
        words = f"{value:,.0f} steps, {100 * off:.0f} % {'more' if more else 'fewer'}"
        grade = CHANGES if off > 0.25 else MAY
        return Effect(words, LOWER if more else HIGHER, grade)

    return judge


def drops(paper: Sequence[int], close: float = 0.03) -> Judge:
    """The rate falls at these steps."""

    def judge(value: Sequence[float], facts: Facts) -> Effect | None:
        agree = len(value) == len(paper) and all(
            map(lambda a, b: apart(a, b) <= close, value, paper)
        )
        if agree:
            return None
        at = ", ".join(f"{step:,.0f}" for step in value) or "never"
        words = (
            f"the rate falls at steps {at}; the paper's 32,000 and 48,000 are epochs 82 and 123 of "
            "50,000 images, 91 and 136 of 45,000"
        )
        return Effect(words, UNKNOWN, MAY)

    return judge


def plateaus(value: Sequence[float], facts: Facts) -> Effect | None:
    """Two or three falls stand for the plateaus that people saw."""
    if 2 <= len(value) <= 3:
        return None
    return Effect(f"the rate falls {len(value)} times", UNKNOWN, MAY)


def schedule(*usual: str) -> Judge:
    words = "the rate falls in another way: the final error of short trainings is often lower"
    return among(usual, words, UNKNOWN, CHANGES)


def warming(value: WarmUp, facts: Facts) -> Effect | None:
    """From 110 layers on a tenth of the rate until the training error is below 80 %."""
    deep, end = facts.get("depth", 0) >= 110, value.end
    if end == math.inf:
        words = (
            "the warm-up never ends: the whole training runs at the warm-up's rate, a tenth of the "
            "paper's where it is 0.01"
        )
        return Effect(words, HIGHER, CHANGES)
    if deep and value.error:
        ok = math.isclose(value.error, 0.8)
        return None if ok else Effect("the warm-up ends at another error", UNKNOWN, COSMETIC)
    if deep and not end:
        words = "no warm-up: it still converges, later (2016a, section 4.2)"
        return Effect(words, UNKNOWN, MAY)
    if deep:
        words = (
            f"a warm-up of {end:,.0f} steps, where the paper's ends when the training error is "
            "below 80 %, after about 400"
        )
        return Effect(words, UNKNOWN, COSMETIC if end <= 1000 else MAY)
    if end or value.error:
        return Effect("a warm-up where the paper has none", UNKNOWN, MAY)
    return None


def batch(paper: int) -> Judge:
    def judge(value: float, facts: Facts) -> Effect | None:
        if value == paper:
            return None
        rate = facts.get("learning_rate")
        scaled = rate is not None and math.isclose(rate / value, 0.1 / paper, rel_tol=0.01)
        tail = ", the rate in proportion (Goyal et al. 2017)" if scaled else ""
        return Effect(f"batches of {value:,.0f}{tail}", UNKNOWN, MAY if scaled else CHANGES)

    return judge


def rate(paper: int) -> Judge:
    def judge(value: float, facts: Facts) -> Effect | None:
        if math.isclose(value, 0.1):
            return None
        size = facts.get("batch", paper)
        scaled = size != paper and math.isclose(value / size, 0.1 / paper, rel_tol=0.01)
        tail = ", in proportion to the batch" if scaled else ""
        return Effect(f"a rate of {value:g}{tail}", UNKNOWN, MAY if scaled else CHANGES)

    return judge


def held_out(value: float, facts: Facts) -> Effect | None:
    """The schedule was chosen on 45,000/5,000; the final networks may have seen all 50,000."""
    if value <= 0.1 + 1e-9:
        return None
    return Effect(f"{100 * value:.0f} % of the training images are held out", HIGHER, CHANGES)


def bottleneck_stride(value: str, facts: Facts) -> Effect | None:
    """Only bottlenecks have two places for it."""
    if value == "1x1" or facts.get("depth", 50) < 50:
        return None
    words = (
        "v1.5, the stride in the 3x3: 6 % more multiply-adds for ResNet-50 (4.089 against 3.858 "
        "billion) and about 0.5 points less error"
    )
    return Effect(words, LOWER, CHANGES)
