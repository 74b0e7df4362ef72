"""What the page says of scores: calibration, answers withheld, and labels that they speak against.

The figures are drawn from predictions.csv, the numbers come from the evaluation.
"""

from functools import partial
from math import isfinite

from residua import plots
from residua.report.card import FITTED
from residua.report.caveats import calibrated, sentence
from residua.report.figures import drawn, name_of
from residua.report.findings import Findings, Result, decimal
from residua.report.markup import Html, absent, bullets, join, table


def confidence(found: Findings) -> Html:
    """How often it is right when it is so sure, and what it would be worth to withhold answers."""
    pairs = [
        (decimal(row.get("score")), row["label"] == row["prediction"]) for row in found.predictions
    ]
    known = [(score, right) for score, right in pairs if 0 <= score <= 1]
    if not known:
        return Html("")
    scores, right = zip(*known, strict=True)
    reliability = (
        "How often it is right when it is so sure. Bars below the dashed line: it is surer than it "
        "should be. The dots grow with the number of pictures."
    )
    coverage = (
        "What it would get right if the answers with the lowest scores were withheld. The band is "
        "the 95 % interval."
    )
    asked = (each for each in found.results if (each.split, each.protocol) == ("test", "single"))
    result = next(asked, None)  # the evaluation that predictions.csv is of
    cut = result.threshold if result and isfinite(result.threshold) else None
    said = sentences(result) if result else []
    return join(
        [
            bullets(said) if said else Html(""),
            drawn(
                partial(plots.reliability, scores, right),
                "Accuracy against confidence",
                reliability,
            ),
            "<h3>Answers withheld</h3>",
            drawn(
                partial(plots.coverage, scores, right, threshold=cut),
                "Accuracy against the share of pictures that are answered",
                coverage,
            ),
        ]
    )


def sentences(result: Result) -> list[str]:
    """The calibration error beside chance, and what was fitted on validation images."""
    lines = []
    if all(map(isfinite, (result.calibration_error, *result.chance))):
        lines.append(f"Calibration error {calibrated(result.calibration_error, result.chance)}.")
    return lines + [sentence(result.found[kind]) for kind in FITTED if kind in result.found]


def doubted(found: Findings) -> Html:
    """The labels that the first evaluation's scores speak against."""
    result = found.results[0] if found.results else None
    if not result or not result.suspects:
        return Html("")
    rows = [
        (name_of(name), name_of(label), name_of(rather), f"{margin:.2f}")
        for name, label, rather, margin in result.suspects
    ]
    note = absent(sentence(result.found["label_check"]))
    return join([note, table(("picture", "label", "rather", "margin"), rows, {3})])
