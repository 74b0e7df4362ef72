"""Claims about what deeper networks come to in training: C4 to C6, C8, C10, C15, C16, C20.

Rows are those of the studies degradation and construction, and of the trainings that trainings.py
lists. Differences are taken seed by seed.
"""

from collections.abc import Sequence

from residua.claims import CONFIRMED, NOT_RUN, REFUTED, Finding
from residua.claims.evidence import Evidence, Found, average, both, decided
from residua.seeds import mean, paired
from residua.studies import construction, data_size, degradation
from residua.sweeps import Row
from residua.verdicts import by_seed, points
from residua.words import percent

SHALLOW, DEEP = 20, 44  # a claim about 20 and 56 layers takes depths at least so far apart
HUNDRED = 100
WORDS = {"train": "training", "test": "test"}
ALIKE = 0.02  # of the test error: within this two networks end alike


def depths_of(rows: Sequence[Row], family: str) -> list[int]:
    return sorted({row["depth"] for row in rows if row["family"] == family})


def risen(known: Found, role: str) -> Finding:
    """Whether the error of plain networks rises with depth."""
    depths, apart = depths_of(known.rows, "plain"), degradation.rises(known.rows, "plain", role)
    if not apart:
        return Finding(NOT_RUN, "The study has no plain networks of two depths.", known.folder)
    words = (
        f"From {depths[0]} to {depths[-1]} layers the {WORDS[role]} error of plain networks "
        f"changes by {average(apart)}"
    )
    return decided(apart, words, known.folder)


def degrades(evidence: Evidence) -> Finding:
    """C4."""
    known = evidence.found.get("degradation")
    if known is None:
        return evidence.missing("rows of the study degradation")
    depths = depths_of(known.rows, "plain") or [0]
    if depths[0] > SHALLOW or depths[-1] < DEEP:
        words = f"The study has plain networks of {depths[0]} to {depths[-1]} layers only."
        return Finding(NOT_RUN, words, known.folder)
    return both(risen(known, "train"), risen(known, "test"))


def fits_worse(evidence: Evidence) -> Finding:
    """C5."""
    known = evidence.found.get("degradation")
    return risen(known, "train") if known else evidence.missing("rows of the study degradation")


def converges_faster(evidence: Evidence) -> Finding:
    """C8: area under the curves of the shallowest networks, and their test error at the end."""
    known = evidence.found.get("degradation")
    if known is None:
        return evidence.missing("rows of the study degradation")
    shared = set(depths_of(known.rows, "plain")) & set(depths_of(known.rows, "residual"))
    if not shared:
        return Finding(NOT_RUN, "The study has no twins of one depth.", known.folder)
    depth = min(shared)
    areas = [area(known.rows, family, depth) for family in ("plain", "residual")]
    faster = paired(*areas)
    words = (
        f"Over the training plain networks of {depth} layers have {average(faster)} training error "
        "beside residual ones, on average over epochs"
    )
    speed = decided(faster, words, known.folder)
    twins = (
        by_seed(known.rows, "test", family=family, depth=depth) for family in ("plain", "residual")
    )
    gap = mean(paired(*twins).values())
    told = f"At the end their test error differs by {points(gap)}."
    alike = -ALIKE < gap.low and gap.high < ALIKE
    unlike = gap.low > ALIKE or gap.high < -ALIKE
    status = CONFIRMED if alike else REFUTED if unlike else NOT_RUN
    return both(speed, Finding(status, told, known.folder))


def area(rows: Sequence[Row], family: str, depth: int) -> dict[int, float]:
    """Mean training error over a curve, by seed."""
    own = [row for row in rows if (row["family"], row["depth"]) == (family, depth)]
    curves = {row["seed"]: [point[1] for point in row.get("curve") or ()] for row in own}
    return {seed: sum(curve) / len(curve) for seed, curve in curves.items() if curve}


def trainable(evidence: Evidence) -> Finding:
    """C15: the training error of residual networks of a hundred layers or more."""
    known = evidence.found.get("degradation")
    if known is None:
        return evidence.missing("rows of the study degradation")
    deep = [depth for depth in depths_of(known.rows, "residual") if depth >= HUNDRED]
    if not deep:
        words = f"The study has no residual network of {HUNDRED} layers or more."
        return Finding(NOT_RUN, words, known.folder)
    depth = max(deep)
    half = 0.5 * (1 - 1 / len(evidence.data.classes))
    found = mean(by_seed(known.rows, family="residual", depth=depth).values())
    other = by_seed(known.rows, family="plain", depth=depth)
    beside = f"; plain ones {percent(mean(other.values()).mean, 1)}" if other else ""
    words = (
        f"Residual networks of {depth} layers end with {percent(found.mean, 1)} training error "
        f"({percent(max(0, found.low), 1)} to {percent(min(1, found.high), 1)}){beside}; guessing "
        f"makes {percent(2 * half, 0)}. None of 1,000 layers was trained."
    )
    status = CONFIRMED if found.high < half else REFUTED if found.low > half else NOT_RUN
    return Finding(status, words, known.folder)


def highways(evidence: Evidence) -> Finding:
    """C20: highway networks beside residual ones of one depth, with all images and with few."""
    known = evidence.found.get("data-size")
    if known is None:
        return evidence.missing("rows of the study data-size")
    shares = sorted({row["share"] for row in known.rows})
    gaps = {
        (share, role): data_size.gaps(known.rows, share, role)
        for share in shares
        for role in ("test", "train")
    }
    if len(shares) < 2 or not all(gaps.values()):
        return Finding(NOT_RUN, "The study has not both kinds of network.", known.folder)
    most = shares[-1]
    worse = gaps[most, "test"]
    closing = paired(gaps[shares[0], "test"], gaps[most, "test"])
    fits = average(gaps[most, "train"])
    return both(
        decided(
            worse,
            f"With all images highway networks have {average(worse)} test error beside residual "
            f"ones, and {fits} training error",
            known.folder,
        ),
        decided(
            closing,
            f"With {100 * shares[0]:g} % of the images the gap in test error is {average(closing)} "
            "wider",
            known.folder,
        ),
    )


def not_found(evidence: Evidence) -> Finding:
    """C10: what becomes of a plain network built from a shallow one, and of one from scratch."""
    known = evidence.found.get("construction")
    if known is None:
        return evidence.missing("rows of the study construction")
    lost = construction.excess(known.rows, "plain", "built", "shallow")
    missed = construction.excess(known.rows, "plain", "scratch", "built")
    if not lost or not missed:
        return Finding(NOT_RUN, "The study has no plain networks.", known.folder)
    words = (
        f"Training error of a deep plain network from scratch: {average(missed)} beside the one "
        f"that was built from a shallow one; of the built one: {average(lost)} beside the shallow "
        "one that went on"
    )
    return decided(missed, words, known.folder)


def twins(evidence: Evidence) -> Finding:
    """C6: 18 and 34 layers, plain and residual, as for photographs."""
    known = evidence.found.get("twins")
    if known is None:
        return evidence.missing("trainings of networks of 18 and 34 layers")
    plain = paired(*(by_seed(known.rows, "test", label=f"plain {depth}") for depth in (34, 18)))
    less, more = (by_seed(known.rows, "test", label=f"residual {depth}") for depth in (18, 34))
    return both(
        decided(plain, f"Plain: {average(plain)} test error from 18 to 34 layers", known.folder),
        decided(paired(less, more), f"Residual: {average(paired(more, less))}", known.folder),
    )


def overfits(evidence: Evidence) -> Finding:
    """C16: 1202 layers against 110."""
    known = evidence.found.get("deepest")
    if known is None:
        return evidence.missing("trainings of 1202 layers (--budget full)")
    worse = paired(*(by_seed(known.rows, "test", label=label) for label in ("1202", "110")))
    fits = mean(by_seed(known.rows, label="1202").values())
    status = CONFIRMED if fits.mean < 0.01 else REFUTED
    words = f"ResNet-1202 ends with {percent(fits.mean)} training error."
    return both(
        Finding(status, words, known.folder),
        decided(worse, f"Its test error is {average(worse)} beside that of 110", known.folder),
    )
