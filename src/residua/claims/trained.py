"""Claims about trained networks: C11, C14, C21, C22."""

from collections.abc import Sequence

from residua.claims import CONFIRMED, NOT_RUN, REFUTED, Finding
from residua.claims.evidence import Evidence, average, both, decided
from residua.comparisons import LEVEL, holm
from residua.runs import DONE
from residua.seeds import mean, paired
from residua.sweeps import Row
from residua.verdicts import by_seed
from residua.words import percent

STATUS = {True: CONFIRMED, False: REFUTED, None: NOT_RUN}


def small_responses(evidence: Evidence) -> Finding:
    """C11: the verdict of the study of responses."""
    known = evidence.found.get("responses")
    if known is None:
        return evidence.missing("rows of the study responses")
    return Finding(STATUS[known.facts.get("holds")], str(known.facts.get("verdict")), known.folder)


def skipped(evidence: Evidence) -> Finding:
    """C14: the size of branches beside what they are added to, with weight decay and without."""
    known = evidence.found.get("decay")
    if known is None:
        return evidence.missing("trainings with and without weight decay")
    shares = {
        label: {row["seed"]: row["share"] for row in known.rows
                if row["label"] == label and "share" in row}
        for label in ("with decay", "without decay")
    }  # fmt: skip
    smaller = paired(shares["without decay"], shares["with decay"])
    ends = [mean(own.values()).mean if own else float("nan") for own in shares.values()]
    words = (
        f"The branches of a ResNet-20 are {100 * ends[0]:.0f} % as large as what they are added to "
        f"after training with weight decay, {100 * ends[1]:.0f} % without"
    )
    return decided(smaller, words, known.folder)


def protocols(evidence: Evidence) -> Finding:
    """C21: each protocol against a single view, and an ensemble against its best member."""
    known = evidence.found.get("protocols")
    if known is None:
        return evidence.missing("answers of networks that learned crops and mirror images")
    rows = [row for row in known.rows if row["status"] == DONE]
    p_values = holm([float(row["p_value"]) for row in rows]) if rows else []
    lower = [row["difference"] < 0 and p < LEVEL for row, p in zip(rows, p_values, strict=True)]
    higher = [row["difference"] > 0 and p < LEVEL for row, p in zip(rows, p_values, strict=True)]
    kinds = {row["protocol"] for row in rows}
    words = "; ".join(
        f"{row['protocol']} on {row['network']} {100 * row['difference']:+.2f} points (p = {p:.2g})"
        for row, p in zip(rows, p_values, strict=True)
    )
    images = f"of {rows[0]['total']:,} test images" if rows else ""
    status = NOT_RUN
    if any(higher):
        status = REFUTED
    elif rows and all(lower) and {"ten-crop", "multi-scale", "ensemble"} <= kinds:
        status = CONFIRMED
    few = "" if status != NOT_RUN else "Not enough evidence. "
    return Finding(status, f"{few}Errors {images} beside a single view: {words}.", known.folder)


HIGH, LOW = "1", "1/32"  # times the rate that is usual with batch norm


def high_rates(evidence: Evidence) -> Finding:
    """C22: without norms a high rate fails where a low one does not; with them it does not fail."""
    known = evidence.found.get("norms")
    if known is None:
        return evidence.missing("trainings with and without batch norm")
    own = {
        (norm, rate): by_seed(known.rows, label=f"{norm} {rate}")
        for norm in ("batch", "none")
        for rate in (HIGH, LOW)
    }
    gained = paired(own["none", HIGH], own["batch", HIGH])
    lost = paired(own["none", HIGH], own["none", LOW])
    told = table(known.rows)
    return both(
        decided(
            gained,
            f"At the usual rate the training error without batch norm is {average(gained)} above "
            "that with it",
            known.folder,
        ),
        decided(
            lost,
            f"Without it, it is {average(lost)} above that at a 32nd of the rate. All training "
            f"errors: {told}",
            known.folder,
        ),
    )


def table(rows: Sequence[Row]) -> str:
    """Mean training errors by label."""
    labels = dict.fromkeys(row["label"] for row in rows)
    ends = {label: mean(by_seed(rows, label=label).values()).mean for label in labels}
    return ", ".join(f"{label} times {percent(value, 0)}" for label, value in ends.items())
