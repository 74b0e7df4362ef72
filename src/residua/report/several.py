"""Several networks as one page: their errors, who is better than whom, and what it costs."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from residua import plots
from residua.evaluate import asked_of
from residua.report.caveats import caveats
from residua.report.figures import drawn
from residua.report.markup import Html, bullets, document, html, join, table
from residua.words import interval, percent

Rows = Sequence[Mapping[str, Any]]


def several(title: str, evaluations: Rows, comparisons: Rows = (), costs: Rows = ()) -> str:
    """Return the page.

    Args:
        title: what was asked.
        evaluations: summaries, each with its `network`.
        comparisons: of pairs of them.
        costs: rows of `costs.costs`.
    """
    sections = {
        "Errors": errors(evaluations) if evaluations else "",
        "Comparisons": pairs(comparisons) if comparisons else "",
        "Costs": cost(costs) if costs else "",
    }
    body = join(
        [
            f"<header><h1>{html(title)}</h1></header>",
            *(
                f"<section><h2>{name}</h2>\n{text}</section>"
                for name, text in sections.items()
                if text
            ),
        ]
    )
    return document(title, body)


def errors(evaluations: Rows) -> Html:
    """The error of each, with its protocol and what must be known about it."""
    rows = [
        (
            each["network"],
            asked_of(dict(each)).words(),
            each["split"],
            percent(each["error"]),
            spread(each),
            f"{each['wrong']:,} of {each['total']:,}",
        )
        for each in evaluations
    ]
    head = ("network", "protocol", "split", "error", "95 % interval", "wrong")
    notes = dict.fromkeys(line for each in evaluations for line in caveats(each))
    return join([table(head, rows, {3, 4, 5}), bullets(notes) if notes else ""])


def spread(row: Mapping[str, Any]) -> str:
    """The 95 % interval of an error in words."""
    low, high = row["interval"]
    return f"{interval(low, high, row['total'])} %"


def pairs(comparisons: Rows) -> Html:
    """The verdict on each pair, and all differences in one figure."""
    verdicts = bullets(each["verdict"] for each in comparisons)
    figure = drawn(
        partial(plots.differences, comparisons),
        "Differences of errors with their intervals",
        "Each bar is a 95 % interval of a difference; one that holds zero shows none.",
    )
    return join([verdicts, figure])


def cost(costs: Rows) -> Html:
    """Errors against what they cost."""
    best = plots.front(costs, "multiply_adds")
    rows = [
        (
            each["name"],
            percent(each["error"]),
            spread(each),
            f"{each['parameters']:,}",
            f"{each['multiply_adds']:,}",
            f"{each['images_per_second']:,.0f}",
            "*" if place in best else "",
        )
        for place, each in enumerate(costs)
    ]
    head = ("run", "error", "95 % interval", "parameters", "multiply-adds", "images/s", "front")
    figure = drawn(
        partial(plots.cost, costs),
        "Errors against costs, with the Pareto front",
        "The line joins the runs that no other beats: less error for no more cost.",
    )
    return join([figure, table(head, rows, {1, 2, 3, 4, 5})])
