"""What the norms of gradients say about a network: which way they go, from where, and what helps.

Norms are those of the weights of each layer, from the input to the output (`flow.gradient_flow`).
The last layer, the classifier, is left out: no other stands between it and the loss. A line is
fitted to log10 of the others by least squares, against the layer's number counted toward the input:
a slope above zero is a gradient that grows on its way back.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CHANGE = 2.0  # orders of magnitude along the line, within which gradients are healthy
ENDS = 4.0  # the same from the last layer to the first alone, which differ in shape, too
GONE = 1e-12  # of the largest norm: a gradient that comes so far down has faded, not been stopped
FAINT, LOUD = 1e-4, 1e4  # norms below or above which no layer learns as it should
FEWEST = 3  # layers, without the classifier

VANISHING, EXPLODING, HEALTHY = "vanishing", "exploding", "healthy"
BLOCKED, OVERFLOW, UNKNOWN = "blocked", "not finite", "unknown"


class Traits(NamedTuple):
    """What a network has that bears on its gradients."""

    saturating: bool  # all its activations are sigmoids or the like
    normalized: bool
    shortcuts: bool | None  # None: its operations cannot be followed


class Diagnosis(NamedTuple):
    """The state of a network's gradients."""

    direction: str  # vanishing, exploding or healthy; blocked, not finite, unknown
    slope: float  # log10 of the norm, per layer toward the input; nan where there is no line
    ratio: float  # norm of the first layer by that of the last but the classifier
    at_fault: str  # the first layer out of bounds, on the way back; empty where there is none
    words: str
    remedy: str  # empty where nothing needs one


def diagnose(
    names: Sequence[str],
    norms: Sequence[float],
    traits: Traits,
    activations: Sequence[float] = (),
) -> Diagnosis:
    """Judge the norms of gradients.

    Args:
        names: of the layers, from the input to the output.
        norms: of their gradients.
        traits: of the network, which decide about the remedy.
        activations: root mean squares of the layers' outputs, nan where they are not known. They
            tell where things go wrong in a network whose gradients are all alike, and all tiny.
    """
    known = np.asarray(norms[:-1], np.float64)
    if len(known) < FEWEST:
        few = f"it takes {FEWEST} layers before the classifier to see where gradients go"
        return Diagnosis(UNKNOWN, math.nan, math.nan, "", few, "")
    if not np.isfinite(norms).all():
        return overflown(names, np.asarray(norms, np.float64))
    positive = np.flatnonzero(known)
    if not known[0] and not faded(known):
        return blocked(names, np.asarray(norms, np.float64))
    if len(positive) < FEWEST:
        zero = f"the gradients of {len(known) - len(positive)} of {len(known)} layers are zero"
        cure = "measure again after a step: a scale that starts at zero hides what is before it"
        return Diagnosis(UNKNOWN, math.nan, math.nan, "", zero, cure)
    slope, ratio = slope_of(known), float(known[0] / known[positive[-1]])
    change = slope * (len(known) - 1)
    ends = math.log10(ratio) if ratio else -math.inf
    if abs(change) < CHANGE and abs(ends) < ENDS:
        level = float(np.median(known[positive]))
        if not FAINT < level < LOUD:
            return everywhere(names, level, traits, activations, (slope, ratio))
        words = f"healthy: the first layer's gradient is {times(ratio)} that of the last"
        return Diagnosis(HEALTHY, slope, ratio, "", words, "")
    direction = EXPLODING if (change if abs(change) >= CHANGE else ends) > 0 else VANISHING
    place = names[fault(known, direction)]
    words = (
        f"{direction} toward the input: the first layer's gradient is {times(ratio)} that of the "
        f"last, with a factor of {10**slope:.3g} per layer, and is out of bounds from {place} on"
    )
    return Diagnosis(direction, slope, ratio, place, words, remedy(direction, traits))


def slope_of(norms: Sequence[float] | Floats) -> float:
    """The slope of log10 of the norms per layer toward the input, by least squares.

    Zeros have no logarithm and are left out; nan where fewer than two layers remain.
    """
    known = np.asarray(norms, np.float64)
    places = np.flatnonzero(np.isfinite(known) & (known > 0))
    if len(places) < 2:
        return math.nan
    x, y = places - places.mean(), np.log10(known[places])
    return float(-(x @ (y - y.mean())) / (x @ x))


def faded(known: Floats) -> bool:
    """Whether norms of zero lie at the end of a long way down, where float32 has no smaller one."""
    positive = known[known > 0]
    return bool(len(positive)) and bool(positive[0] < GONE * positive.max())


def fault(known: Floats, direction: str) -> int:
    """The first layer on the way back whose norm has left that of the last by the bound."""
    level = np.log10(np.maximum(known, np.finfo(np.float64).tiny))
    rises = (level - level[np.flatnonzero(known)[-1]]) * (1 if direction == EXPLODING else -1)
    out = np.flatnonzero((rises >= CHANGE) & ((known > 0) | faded(known)))
    return int(out[-1] if len(out) else rises.argmax())


def everywhere(
    names: Sequence[str],
    level: float,
    traits: Traits,
    activations: Sequence[float],
    line: tuple[float, float],
) -> Diagnosis:
    """Gradients that are alike in all layers, and out of bounds together.

    A layer's gradient is what comes in times what comes back. Where layers shrink both, the product
    is the same everywhere, and small.
    """
    direction = VANISHING if level < FAINT else EXPLODING
    signs = np.asarray(activations[:-1], np.float64)
    known = np.flatnonzero(np.isfinite(signs) & (signs > 0))
    place = ""
    if len(known):
        rises = np.abs(np.log10(signs[known] / signs[known[0]]))
        first = (rises >= min(CHANGE, rises.max())).argmax()
        place = names[int(known[first])]
    where = f"; signals have left the size that they came in with at {place}" if place else ""
    words = f"{direction} everywhere alike: the median norm is 10^{math.log10(level):.0f}{where}"
    return Diagnosis(direction, *line, place, words, remedy(direction, traits))


def overflown(names: Sequence[str], norms: Floats) -> Diagnosis:
    place = names[int(np.flatnonzero(~np.isfinite(norms))[-1])]
    words = f"not finite: the gradient of {place} overflows, or the loss does"
    cure = "start from smaller weights, at a lower learning rate, or with normalization"
    return Diagnosis(OVERFLOW, math.nan, math.nan, place, words, cure)


def blocked(names: Sequence[str], norms: Floats) -> Diagnosis:
    """Exact zeros up to a layer behind which gradients are of usual size."""
    positive = np.flatnonzero(norms)
    place = names[int(positive[0])] if len(positive) else names[-1]
    words = f"blocked: no gradient passes {place} toward the input, it is exactly zero before it"
    cure = (
        f"look at {place}: weights that start at zero learn first and then let gradients pass; "
        "ReLUs that are never active, or values that were detached, never do"
    )
    return Diagnosis(BLOCKED, math.nan, 0.0, place, words, cure)


def remedy(direction: str, traits: Traits) -> str:
    """What helps against a direction, in the order in which it does."""
    cures = []
    if direction == VANISHING and traits.saturating:
        cures.append("replace the sigmoids by ReLUs, whose slope is 1 where they are active")
    if not traits.normalized:
        cures.append("draw the weights as He et al. 2015 do, and normalize after each convolution")
    if not traits.shortcuts:
        cures.append("add a shortcut around every two layers")
    if direction == EXPLODING:
        cures.append("until then, clip gradients or warm up with a low learning rate")
    elif not cures:
        cures.append("let the branches start smaller beside their shortcuts, or scale sums less")
    return "; ".join(cures)


def times(ratio: float) -> str:
    """A ratio in words: 6,200 times; 0.05 times; 10^-29 times; 0 times."""
    if not ratio:
        return "0 times"
    if 1e-3 <= ratio < 1e6:
        return f"{ratio:,.0f} times" if ratio >= 100 else f"{ratio:.2g} times"
    return f"10^{math.log10(ratio):.0f} times"
