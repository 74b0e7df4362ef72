"""What a run directory says.

A run is read as it is found: stopped early, not evaluated yet, a last line torn by a power cut.
Whatever is absent or malformed is named in `missing` and left out; nothing here raises for it.
"""

import csv
import io
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isnan
from pathlib import Path
from typing import Any, NamedTuple
from typing import Protocol as Shape

from residua.errors import ResiduaError
from residua.evaluate import asked_of, read_numbers
from residua.plots import number
from residua.report.caveats import FOUND, caveats
from residua.words import plain

HEADER_LIMIT = 16_000_000  # bytes of a safetensors header


class HasPath(Shape):
    """Anything that names a run directory, such as runs.RunDirectory."""

    @property
    def path(self) -> Path: ...


class ClassResult(NamedTuple):
    """One class's share of an evaluation; fractions, nan where a class has no images."""

    name: str
    total: int
    wrong: int
    error: float
    low: float
    high: float
    precision: float


class Result(NamedTuple):
    """One evaluation; errors are fractions, nan where not measured."""

    protocol: str
    asked: str  # the protocol in words
    split: str
    wrong: int
    total: int
    error: float
    low: float
    high: float
    top5_error: float
    calibration_error: float
    classes: tuple[ClassResult, ...]
    confusion: tuple[tuple[int, ...], ...]
    weights: str
    chance: tuple[float, float]  # calibration error of perfect scores: mean, 95 % quantile
    caveats: tuple[str, ...]  # what to know before the error is believed
    found: Mapping[str, str]  # temperature, abstention, label_check: what was found, in words
    threshold: float  # score from which answers are given
    suspects: tuple[tuple[str, str, str, float], ...]  # doubted labels: name, label, rather, margin


class Setting(NamedTuple):
    """One setting of the recipe and where it came from."""

    name: str
    value: str
    source: str


@dataclass(frozen=True)
class Findings:
    """A run directory, read."""

    path: Path
    run: Mapping[str, Any]
    settings: tuple[Setting, ...]
    rows: tuple[Mapping[str, Any], ...]
    results: tuple[Result, ...]
    predictions: tuple[Mapping[str, str], ...]
    weights: Mapping[str, Any]
    missing: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        stored = self.weights.get("classes")
        if isinstance(stored, list):
            return tuple(str(name) for name in stored)
        return tuple(row.name for row in self.results[0].classes) if self.results else ()

    @property
    def network(self) -> str:
        chosen = [setting.value for setting in self.settings if setting.name == "network"]
        return str(self.weights.get("network") or "".join(chosen))

    def part(self, name: str) -> Mapping[str, Any]:
        """A table of run.json, empty where it is absent."""
        value = self.run.get(name)
        return value if isinstance(value, dict) else {}


def read(run: HasPath) -> Findings:
    """Read all that a page or a card is made of."""
    missing: list[str] = []
    path = Path(run.path)
    recipe = _json(path / "recipe.json", missing)
    return Findings(
        path=path,
        run=_json(path / "run.json", missing),
        settings=_settings(recipe),
        rows=_rows(path / "metrics.jsonl", missing),
        results=_results(path / "evaluations", missing),
        predictions=_predictions(path / "predictions.csv", missing),
        weights=_header(path / "weights.safetensors", missing),
        missing=tuple(missing),
    )


def _text(path: Path, missing: list[str]) -> str:
    try:
        if path.is_file():  # never a pipe, which would wait forever
            return path.read_text(encoding="utf-8", errors="replace")
        missing.append(f"{path.name} is not there")
    except OSError as error:
        missing.append(f"{path.name} cannot be read: {error.strerror}")
    return ""


def _json(path: Path, missing: list[str]) -> dict[str, Any]:
    text = _text(path, missing)
    value = _parsed(text)
    if text and not isinstance(value, dict):
        missing.append(f"{path.name} is malformed")
    return value if isinstance(value, dict) else {}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _rows(path: Path, missing: list[str]) -> tuple[Mapping[str, Any], ...]:
    lines = [line for line in _text(path, missing).splitlines() if line.strip()]
    rows = [row for row in map(_parsed, lines) if isinstance(row, dict)]
    if torn := len(lines) - len(rows):
        missing.append(f"{path.name} has {torn} torn line{'s' * (torn > 1)}, left out")
    return tuple(rows)


def _settings(recipe: Mapping[str, Any]) -> tuple[Setting, ...]:
    settings, sources = recipe.get("settings", recipe), recipe.get("sources", {})
    if not isinstance(settings, dict) or not isinstance(sources, dict):
        return ()
    return tuple(
        Setting(name, plain(value), plain(sources.get(name, "")))
        for name, value in settings.items()
    )


def _results(directory: Path, missing: list[str]) -> tuple[Result, ...]:
    """The evaluations, the test split's single view first."""
    results = []
    for path in sorted(directory.glob("*.json")):
        try:
            results.append(_result(read_numbers(path)))
        except ResiduaError as error:
            missing.append(f"evaluations/{path.name}: {error.what}")
        except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError):
            missing.append(f"evaluations/{path.name} is malformed")
    if not results:
        missing.append("there is no evaluation yet")
    return tuple(sorted(results, key=lambda r: (r.split != "test", r.protocol != "single")))


def _result(raw: dict[str, Any]) -> Result:
    low, high = raw.get("interval") or (None, None)
    chance = raw.get("calibration_error_by_chance") or (None, None)
    return Result(
        protocol=str(raw["protocol"]),
        asked=asked_of(raw).words(),
        split=str(raw["split"]),
        wrong=int(raw["wrong"]),
        total=int(raw["total"]),
        error=number(raw["error"]),
        low=number(low),
        high=number(high),
        top5_error=number(raw.get("top5_error")),
        calibration_error=number(raw.get("calibration_error")),
        classes=tuple(_class_result(row) for row in raw.get("per_class") or ()),
        confusion=tuple(tuple(int(n) for n in row) for row in raw.get("confusion") or ()),
        weights=plain(raw["weights"]),
        chance=(number(chance[0]), number(chance[1])),
        caveats=tuple(caveats(raw)),
        found={name: str(raw[name]["verdict"]) for name in FOUND if raw.get(name)},
        threshold=number((raw.get("abstention") or {}).get("threshold")),
        suspects=tuple(
            (str(row["name"]), str(row["label"]), str(row["suggested"]), number(row["margin"]))
            for row in (raw.get("label_check") or {}).get("suspects", ())
        ),
    )


def _class_result(raw: Mapping[str, Any]) -> ClassResult:
    low, high = raw.get("interval") or (None, None)
    return ClassResult(
        name=str(raw["class"]),
        total=int(raw["total"]),
        wrong=int(raw["wrong"]),
        error=number(raw.get("error")),
        low=number(low),
        high=number(high),
        precision=number(raw.get("precision")),
    )


def _predictions(path: Path, missing: list[str]) -> tuple[Mapping[str, str], ...]:
    if not path.exists():
        return ()
    try:
        rows = list(csv.DictReader(io.StringIO(_text(path, missing))))
    except csv.Error:
        missing.append(f"{path.name} is malformed")
        return ()
    return tuple(row for row in rows if row.get("label") and row.get("prediction"))


def _header(path: Path, missing: list[str]) -> dict[str, Any]:
    """The card in a weights file: 8 bytes of length, then JSON that holds it (checkpoints.py)."""
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            table = _parsed(file.read(min(size, HEADER_LIMIT)).decode("utf-8", "replace"))
            card = _parsed(table["__metadata__"]["residua"])
    except (OSError, struct.error, KeyError, TypeError):
        card = None
    if not isinstance(card, dict):
        missing.append(f"{path.name} has no card in its header")
    return card if isinstance(card, dict) else {}


def mistakes(found: Findings) -> list[Mapping[str, str]]:
    """The wrong predictions, those with the highest loss first."""
    wrong = [row for row in found.predictions if row["label"] != row["prediction"]]
    return sorted(wrong, key=lambda row: decimal(row.get("loss")), reverse=True)


def decimal(text: str | None) -> float:
    """A number from a CSV file; what is none sorts below all numbers."""
    try:
        value = float(text or "")
    except ValueError:
        return -inf
    return -inf if isnan(value) else value
