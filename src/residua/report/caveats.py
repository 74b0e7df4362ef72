"""What lessens an evaluation's number, and what is known of its scores, in sentences.

The mappings are those of evaluations/<protocol>.json.
"""

from collections.abc import Mapping
from typing import Any

from residua.words import interval, percent, plain

FOUND = ("temperature", "abstention", "label_check")  # each with its "verdict"

EARLY = (
    "The test split was read before training had ended: what was done after that may have been "
    "chosen by it."
)


def caveats(numbers: Mapping[str, Any]) -> list[str]:
    """What to know before the error is believed: images not read, left out or learned from."""
    lines = []
    unreadable, skipped = int(numbers.get("unreadable") or 0), len(numbers.get("skipped") or ())
    if unreadable:
        lines.append(f"{images(unreadable)} could not be read and count as wrong.")
    if skipped:
        lines.append(
            f"{images(skipped)} could not be read and {'was' if skipped == 1 else 'were'} left out "
            f"on demand: the error is that of the other {int(numbers['total']):,}."
        )
    if numbers.get("leaked"):
        lines.append(leak(numbers["leaked"]))
    notes = numbers.get("engine_notes")  # such as a compilation that failed
    return lines + [sentence(plain(note)) for note in notes] if isinstance(notes, list) else lines


def leak(found: Mapping[str, Any]) -> str:
    """How many test images are training images too, and the error without them."""
    exact, near, rest = int(found["exact"]), int(found["near"]), found["without"]
    kinds = f"{exact:,} exactly, {near:,} nearly"
    text = f"{images(exact + near)} of the test split are training images too ({kinds}); "
    if not rest["total"]:
        return text + "there are no others."
    low, high = rest["interval"]
    span = interval(float(low), float(high), int(rest["total"]))
    return (
        f"{text}without them the error is {percent(float(rest['error']))} (95 % interval {span} %; "
        f"{rest['wrong']:,} of {rest['total']:,} wrong)."
    )


def sentence(text: str) -> str:
    """A verdict as a sentence of its own."""
    return f"{text[:1].upper()}{text[1:]}."


def images(count: int) -> str:
    return f"{count:,} image{'s' * (count != 1)}"


def calibrated(error: float, chance: tuple[float, float]) -> str:
    """The calibration error beside that of scores which mean what they say."""
    usual, most = chance
    verdict = "no more than chance" if error <= most else "more than chance"
    return (
        f"{percent(error)} ({verdict}: scores that mean what they say would show "
        f"{percent(usual)}, up to {percent(most)})"
    )


def readings(reads: object) -> list[str]:
    """By what the test split was read, from `test_reads` of run.json, and what follows from it."""
    known = [read for read in reads if isinstance(read, dict)] if isinstance(reads, list) else []
    if not isinstance(reads, list) or len(reads) < 2:
        return [EARLY] if any(read.get("early") for read in known) else []
    by = [f"{plain(read.get('why'))} ({plain(read.get('protocol', 'single'))})" for read in known]
    told = f": {', '.join(by)}" if len(by) == len(reads) else ""
    lines = [
        f"The test split was read {len(reads)} times{told}. If a choice was made between, the test "
        "error is too low."
    ]
    return lines + [EARLY] * any(read.get("early") for read in known)
