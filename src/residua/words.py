"""Numbers, settings and names as a person reads them, on a page, a card or a terminal."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from math import ceil, isfinite
from pathlib import Path

STATUS = {
    "running": "Training was still running when this was written: the numbers are those so far.",
    "stopped": "Training was stopped before its end; it can go on where it stopped.",
    "diverged": "Training diverged: its numbers stopped being finite.",
    "failed": "Training ended with an error.",
}


def plain(value: object) -> str:
    """A JSON value in words and digits."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(plain(part) for part in value[:12]) + ", ..." * (len(value) > 12)
    if isinstance(value, dict):
        return ", ".join(f"{name} {plain(part)}" for name, part in value.items())
    return str(value)


def percent(fraction: float, digits: int = 2) -> str:
    return f"{100 * fraction:.{digits}f} %" if isfinite(fraction) else "not measured"


def interval(low: float, high: float, total: int) -> str:
    """A 95 % interval in percent, with the digits that so many images can support."""
    digits = 1 if total < 5000 else 2
    known = isfinite(low) and isfinite(high)
    return f"{100 * low:.{digits}f} to {100 * high:.{digits}f}" if known else ""


def count(number: float) -> str:
    """272474 -> "272,474" and 21797672 -> "21.8 million"."""
    for size, name in ((1e9, "billion"), (1e6, "million")):
        if number >= size:
            return f"{number / size:.3g} {name}"
    return f"{number:,.0f}" if isfinite(number) else ""


def byte_count(number: int) -> str:
    """2_100_000_000 -> "2.1 GB" and 13_400_000 -> "14 MB"."""
    return f"{number / 1e9:.3g} GB" if number >= 1e9 else f"{ceil(number / 1e6)} MB"


def duration(seconds: float) -> str:
    """4000 -> "1 h 7 min"."""
    if not isfinite(seconds):
        return ""
    if seconds < 120:
        return f"{seconds:.3g} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def moment(value: object) -> str:
    """A time of run.json, given in ISO form or as seconds since 1970, in UTC."""
    if isinstance(value, int | float) and 0 < value < 1e11:
        known = datetime.fromtimestamp(value, UTC)
    else:
        try:
            known = datetime.fromisoformat(str(value or "")).astimezone(UTC)
        except (ValueError, OverflowError):
            return str(value or "")
    return known.strftime("%Y-%m-%d %H:%M UTC")


def place(path: Path) -> str:
    """A run as a command line names it; an absolute path tells a reader elsewhere nothing."""
    absolute = path.absolute()
    if absolute.is_relative_to(Path.cwd()):
        return str(absolute.relative_to(Path.cwd()))
    return os.path.join("runs", absolute.name)


def harmless(text: str) -> str:
    """A text from outside with control and invisible characters escaped, line breaks included."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def listed(names: Sequence[str], limit: int = 20) -> str:
    """Names for a message: the first `limit`, and how many more."""
    rest = f", and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(harmless(name) for name in names[:limit]) + rest
