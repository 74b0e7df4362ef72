"""A study as one page: its question, the verdict, the figures, and every row behind them."""

from collections.abc import Mapping
from typing import Any

from residua.report.figures import stored
from residua.report.markup import (
    Html,
    absent,
    bullets,
    code,
    document,
    facts_table,
    html,
    join,
    table,
)
from residua.runs import DONE, RunDirectory
from residua.words import moment, place, plain

UNSURE = "Not enough evidence"
ANSWERS = {True: "Yes", False: "No", None: UNSURE}


def study_page(run: RunDirectory) -> str:
    """Return the page of a study, whatever part of the study is there."""
    info = run.info()
    title = run.path.absolute().name
    sections = {
        "Figures": figures(run, info),
        "Numbers": facts_table(info.get("numbers") or {}) if info.get("numbers") else "",
        "What this cannot show": bullets(limits) if (limits := info.get("limits")) else "",
        "Rows": rows(info),
        "Factors": facts_table(factors(info)),
        "Data": facts_table(info.get("data") or {}),
        "Environment": facts_table(surroundings(info)),
        "Reproduce": code(
            [" ".join(info.get("command") or ()), f"residua resume {place(run.path)}"]
        ),
    }
    parts = (
        f"<section><h2>{name}</h2>\n{body}</section>" for name, body in sections.items() if body
    )
    return document(title, join([header(title, info), *parts]))


def header(title: str, info: Mapping[str, Any]) -> Html:
    """The question and what follows for it."""
    done = info.get("status") == DONE
    answer = ANSWERS[info.get("holds")] if done else "Not measured to the end"
    budget = info.get("budget") or {}
    cells = f"{len(info.get('rows') or ())} of {info.get('cells', 0)}"
    facts = {"source": info.get("source"), "budget": budget.get("name"), "cells": cells}
    items = (f"<div><dt>{k}</dt><dd>{html(v)}</dd></div>" for k, v in facts.items() if v)
    words = str(info.get("verdict") or "").removeprefix(f"{UNSURE}. ")
    notes = [plain(note) for note in info.get("notes") or ()]
    return Html(
        f'<header><p class="eyebrow">Residua study {html(info.get("study"))}</p>'
        f'<h1>{html(title)}</h1><div class="hero"><p class="label">{html(info.get("question"))}</p>'
        f'<p class="answer">{html(answer)}</p>'
        f'<p class="detail">{html(words)}</p></div>'
        f'<dl class="facts">{join(items)}</dl>'
        + (f'<div class="notice">{bullets(notes)}</div>' if notes else "")
        + "</header>"
    )


def figures(run: RunDirectory, info: Mapping[str, Any]) -> Html:
    captions = info.get("captions") or {}
    return join(stored(run.figures, name, caption) for name, caption in captions.items())


def rows(info: Mapping[str, Any]) -> Html:
    """The table, numbers at the right."""
    found, columns = info.get("rows") or [], list(info.get("columns") or ())
    if not found:
        return absent("No cell was measured.")
    cells = [[plain(row.get(column, "")) for column in columns] for row in found]
    numbers = {
        place
        for place, column in enumerate(columns)
        if all(isinstance(row.get(column, 0), int | float) for row in found)
    }
    return table([column.replace("_", " ") for column in columns], cells, numbers)


def factors(info: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in (info.get("factors") or {}).items() if value is not None}


def surroundings(info: Mapping[str, Any]) -> dict[str, Any]:
    names = ("machine", "device", "precision", "versions", "commit")
    facts = {name: info[name] for name in names if info.get(name)}
    return facts | {name: moment(info[name]) for name in ("started", "ended") if info.get(name)}
