"""Pieces of an HTML page that cannot be broken by the text in them.

What is not `Html` is escaped, isolated from the text around it in direction, and stripped of
control characters. A page carries its style and its pictures; its policy forbids everything else.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources

from residua import theme
from residua.plots import printable
from residua.words import plain

SHOWN = 12  # rows of a long table before the rest is folded
DARK = "screen and (prefers-color-scheme: dark)"  # paper is always white


class Html(str):
    """Text that is already markup."""

    __slots__ = ()


def html(value: object) -> Html:
    """Return any value as markup; direction and control characters cannot leave it."""
    if isinstance(value, Html):
        return value
    return Html(f"<bdi>{escape(printable(plain(value)))}</bdi>")


def join(parts: Iterable[str]) -> Html:
    return Html("\n".join(parts))


def document(title: str, body: str) -> str:
    style = resources.files("residua.report").joinpath("page.css").read_text(encoding="utf-8")
    return theme.document(title, body, style)


def source(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{b64encode(data).decode()}"


def picture(light: str, dark: str, attributes: str, caption: str) -> Html:
    return Html(
        f'<figure><picture><source media="{DARK}" srcset="{dark}"><img src="{light}" {attributes}>'
        f"</picture><figcaption>{html(caption)}</figcaption></figure>"
    )


def absent(text: str) -> Html:
    return Html(f'<p class="muted">{html(text)}</p>')


def facts_table(table: Mapping[str, object]) -> Html:
    rows = ((name.replace("_", " "), value) for name, value in table.items())
    return _rows(
        [f'<td class="key">{html(name)}</td><td>{html(value)}</td>' for name, value in rows]
    )


def _rows(rows: Iterable[str], head: str = "") -> Html:
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return Html(f'<div class="scroll"><table>{head}<tbody>\n{body}\n</tbody></table></div>')


def table(
    head: Sequence[str], rows: Sequence[Sequence[object]], numbers: set[int], fold: bool = True
) -> Html:
    """Return a table; `numbers` are the columns aligned right. A long one is folded."""
    sides = [' class="number"' if i in numbers else "" for i in range(len(head))]
    names = "".join(f"<th{side}>{html(name)}</th>" for name, side in zip(head, sides, strict=True))
    lines = [
        "".join(f"<td{side}>{html(cell)}</td>" for cell, side in zip(row, sides, strict=True))
        for row in rows
    ]
    shown = lines[:SHOWN] if fold and len(lines) > SHOWN + 3 else lines
    table = _rows(shown, f"<thead><tr>{names}</tr></thead>")
    if len(shown) == len(lines):
        return table
    rest = _rows(lines[len(shown) :], f"<thead><tr>{names}</tr></thead>")
    more = f"<details><summary>{len(lines) - len(shown)} more</summary>{rest}</details>"
    return Html(table + more)


def bullets(items: Iterable[str]) -> Html:
    return Html("<ul>" + "".join(f"<li>{html(item)}</li>" for item in items) + "</ul>")


def code(lines: Iterable[str]) -> Html:
    return Html("<pre><code>" + "\n".join(html(line) for line in lines) + "</code></pre>")
