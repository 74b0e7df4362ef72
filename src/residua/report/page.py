"""A run as one page that needs nothing else: no network, no script, no second file.

The page follows the reader's light or dark theme, prints, and fits a phone. Its numbers are read
from the run directory and its figures drawn from them, so that page and files cannot disagree.
Every text that is not our own is escaped: what is not `Html` cannot become markup.
"""

from functools import partial
from math import isfinite

from residua import plots
from residua.errors import ResiduaError
from residua.plots import number
from residua.report.card import commands, counted, headline, limits, preparation, remarks
from residua.report.figures import drawn, name_of, stored
from residua.report.findings import ClassResult, Findings, HasPath, decimal, mistakes, read
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
from residua.report.scores import confidence, doubted
from residua.words import STATUS, count, duration, interval, moment, percent, plain

__all__ = ["page"]


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def page(run: HasPath) -> str:
    """Return the whole page of a run, whatever part of the run is there."""
    found = read(run)
    sections = {
        "Curves": _curves(found),
        "Confusion": _confusion(found),
        "Mistakes": _mistakes(found),
        "Classes": _classes(found),
        "Confidence": confidence(found),
        "Doubted labels": doubted(found),
        "Limits": bullets(limits(found)),
        "Recipe": _recipe(found),
        "Data": _data(found),
        "Environment": _environment(found),
        "Reproduce": code(commands(found)),
        "More figures": _more(found),
    }
    present = {name: body for name, body in sections.items() if body}
    links = (f'<a href="#{_anchor(name)}">{name}</a>' for name in present)
    body = join(
        [
            _header(found),
            f"<nav>{join(links)}</nav>",
            *(
                f'<section id="{_anchor(name)}"><h2>{name}</h2>\n{content}</section>'
                for name, content in present.items()
            ),
            _footer(found),
        ]
    )
    return document(found.path.absolute().name, body)


def _header(found: Findings) -> Html:
    head = headline(found)
    value = f'<p class="value">{head.value}</p>' if head.value else ""
    status = STATUS.get(str(found.run.get("status")), "")
    notices = [status] * bool(status) + [f"Incomplete: {'; '.join(found.missing)}."] * bool(
        found.missing
    )
    notice = "".join(f"<p>{html(text)}</p>" for text in notices)
    data, epochs = found.part("data"), plots.series(found.rows, "train", "epoch")[0]
    facts = {
        "network": found.network,
        "parameters": count(number(found.run.get("parameters"))),
        "multiply-adds": count(number(found.run.get("multiply_adds"))),
        "data": data.get("name", ""),
        "epochs": f"{epochs[-1]:g}" if len(epochs) else "",
        "training time": duration(number(found.run.get("seconds"))),
        "device": found.run.get("device", ""),
    }
    items = (f"<div><dt>{k}</dt><dd>{html(v)}</dd></div>" for k, v in facts.items() if v)
    return Html(
        f'<header><p class="eyebrow">Residua run</p><h1>{html(found.path.absolute().name)}</h1>'
        f'<div class="hero"><p class="label">{html(head.label)}</p>{value}'
        f'<p class="detail">{html(head.detail)}</p></div>'
        f'<dl class="facts">{join(items)}</dl>'
        + (f'<div class="notice">{notice}</div>' if notice else "")
        + "</header>"
    )


def _curves(found: Findings) -> Html:
    if not found.rows:
        return absent("No epoch was finished: there is nothing to draw.")
    alt = "Training and validation error in percent against epochs"
    caption = (
        "Thin: training error. Bold: validation error. A ring marks the lowest validation error."
    )
    has_loss = any(isfinite(number(row.get("loss"))) for row in found.rows)
    return drawn(partial(plots.curves, found.rows, loss=has_loss), alt, caption)


def _confusion(found: Findings) -> Html:
    result = found.results[0] if found.results else None
    if not result or not result.confusion:
        return absent("Not evaluated yet.")
    names = found.classes
    caption = (
        "Each row is a true class. Blue: right. Orange: taken for another class. "
        "The stronger the color, the larger the share of the class."
    )
    try:
        draw = partial(plots.confusion, result.confusion, names)
        return drawn(draw, f"Confusion matrix of {len(names)} classes", caption)
    except (ResiduaError, ValueError) as error:
        return absent(f"The confusion matrix is malformed: {error}")


def _mistakes(found: Findings) -> Html:
    wrong = mistakes(found)
    sheet = stored(found.path / "figures", "worst", "The mistakes with the highest loss")
    if not found.predictions:
        return sheet or absent("There is no predictions.csv yet.")
    if not wrong:
        return absent(f"None in {len(found.predictions):,} pictures.")
    rows = [
        (
            *(name_of(row.get(key) or "") for key in ("name", "label", "prediction")),
            _score(row.get("score")),
        )
        for row in wrong[:50]
    ]
    return join([sheet, table(("picture", "true", "predicted", "score"), rows, {3})])


def _score(text: str | None) -> str:
    value = decimal(text)
    return f"{value:.2f}" if isfinite(value) else ""


def _more(found: Findings) -> Html:
    """Return the figures that other verbs left in the run."""
    ours = {"curves", "confusion", "reliability", "worst"}
    names = sorted(path.stem for path in (found.path / "figures").glob("*.png"))
    others = [name for name in names if not name.endswith("-dark") and name not in ours]
    return join(stored(found.path / "figures", name, name) for name in others)


def _classes(found: Findings) -> Html:
    result = found.results[0] if found.results else None
    if not result or not result.classes:
        return absent("Not evaluated yet.")
    ordered = sorted(result.classes, key=lambda row: -row.error if isfinite(row.error) else 1)
    widest = max((row.high for row in ordered if isfinite(row.high)), default=1.0) or 1.0
    rows = [
        (
            name_of(row.name),
            row.total,
            row.wrong,
            percent(row.error, 1) if isfinite(row.error) else "",
            _whisker(row, widest),
            percent(row.precision, 1) if isfinite(row.precision) else "",
        )
        for row in ordered
    ]
    head = (
        "class",
        "pictures",
        "wrong",
        "error",
        "95 % interval",
        "precision",
    )
    note = absent(
        f"Bars run from 0 to {100 * widest:.0f} %. Precision: the share of the pictures given this "
        "class that belong to it. Of few pictures little is known: the interval says how little."
    )
    return join([table(head, rows, {1, 2, 3, 5}), note, _protocols(found)])


def _whisker(row: ClassResult, widest: float) -> Html:
    if not all(map(isfinite, (row.low, row.high, row.error))):
        return Html("")
    low, high, mark = (round(100 * value / widest, 1) for value in (row.low, row.high, row.error))
    return Html(
        f'<svg class="whisker" viewBox="-1 0 102 10" preserveAspectRatio="none" role="img" '
        f'aria-label="{interval(row.low, row.high, row.total)} %">'
        f'<line class="track" x1="0" x2="100" y1="5" y2="5"/>'
        f'<line class="span" x1="{low}" x2="{high}" y1="5" y2="5" stroke-width="2"/>'
        f'<rect class="mark" x="{mark - 1:.1f}" y="1" width="2" height="8"/></svg>'
    )


def _protocols(found: Findings) -> Html:
    if len(found.results) < 2 and not remarks(found):
        return Html("")
    rows = [counted(r) for r in found.results]
    return join(
        [
            "<h3>All evaluations</h3>",
            table(("split", "protocol", "error", "95 % interval", "wrong"), rows, {2, 3, 4}),
            bullets(remarks(found)) if remarks(found) else Html(""),
        ]
    )


def _recipe(found: Findings) -> Html:
    if not found.settings:
        return absent("There is no recipe.json.")
    settings = [s._replace(name=s.name.replace("_", "-")) for s in found.settings]
    chosen = [s for s in settings if s.source != "default"]
    defaults = [s for s in settings if s.source == "default"]
    head = ("setting", "value", "from")
    parts = [table(head, chosen, set(), fold=False)] * bool(chosen)
    if defaults:
        rest = table(head[:2], [s[:2] for s in defaults], set(), fold=False)
        parts.append(Html(f"<details><summary>{len(defaults)} defaults</summary>{rest}</details>"))
    return join(parts)


def _data(found: Findings) -> Html:
    data = dict(found.part("data"))
    notes = data.pop("notes", None) or []
    prepared = preparation(found)
    parts = [facts_table(data) if data else absent("Not recorded.")]
    parts += [bullets([plain(note) for note in notes])] if isinstance(notes, list) and notes else []
    return join([*parts, Html(f"<p>{html(prepared)}</p>") if prepared else Html("")])


def _environment(found: Findings) -> Html:
    run = found.run
    names = ("machine", "device", "precision", "processes", "threads", "seed", "versions", "commit")
    facts = {name: run[name] for name in names if run.get(name) not in (None, "", {})}
    facts |= {name: moment(run[name]) for name in ("started", "ended") if run.get(name)}
    notes = run.get("notes")
    parts = [facts_table(facts) if facts else absent("Not recorded.")]
    parts += [bullets([plain(note) for note in notes])] if isinstance(notes, list) and notes else []
    return join(parts)


def _footer(found: Findings) -> Html:
    weights = found.results[0].weights if found.results else ""
    text = f"Weights SHA-256 {weights}" if weights else "The weights have not been evaluated."
    return Html(f"<footer><p>{html(text)}</p></footer>")
