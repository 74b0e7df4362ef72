"""Several networks on one page: numbers, verdicts and figures, and nothing from outside."""

import re
from dataclasses import asdict

from residua.protocols import Protocol
from residua.report import several


def evaluated(network: str, wrong: int) -> dict[str, object]:
    return {
        "network": network,
        "views": asdict(Protocol()),
        "split": "test",
        "error": wrong / 1000,
        "interval": [wrong / 1000 - 0.01, wrong / 1000 + 0.01],
        "wrong": wrong,
        "total": 1000,
        "unreadable": 2,
        "skipped": [],
    }


PAIR = {
    "first": "a",
    "second": "<b>",
    "difference": 0.02,
    "interval": [0.01, 0.03],
    "adjusted_p_value": 0.01,
    "better": "<b>",
    "verdict": "<b> is better than a",
}
COST = {
    "name": "resnet20",
    "error": 0.08,
    "interval": [0.07, 0.09],
    "total": 10_000,
    "parameters": 269_722,
    "multiply_adds": 40_551_040,
    "images_per_second": 2000.0,
}


def test_a_page_holds_every_number_and_escapes_every_name() -> None:
    page = several("Which is better", [evaluated("a", 80), evaluated("<b>", 60)], [PAIR], [COST])

    for text in ("8.00 %", "80 of 1,000", "single view", "269,722", "could not be read"):
        assert text in page
    assert "<b>" not in page
    assert page.count("<section>") == 3
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)


def test_sections_without_content_are_left_out() -> None:
    assert several("Costs", (), costs=[COST]).count("<section>") == 1
