"""All that is printed: on a terminal with color and a live line, plain elsewhere.

say      tells what happens; silent with --quiet, on stderr with --json
tell     is the answer for a person; silent with --json
answer   is the answer for a program: one JSON object, with --json only
live     a line that the next one replaces, on a terminal only

Text may hold names from outside, so characters that could command a terminal are printed as
escapes. A reader who goes away (`residua list networks | head -1`) does not end the work.
"""

import json
import math
import os
import sys
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.text import Text

from residua.words import harmless

Part = str | tuple[str, str]  # text, or text and its style

FLAGS = ("--json", "--quiet", "--debug")  # of every verb
REFRESH = 0.1  # seconds between changes of the live line
EMPHASIS, QUIET, GOOD, BAD, WARNING = "bold", "dim", "green", "red", "yellow"


class Terminal:
    """Standard output and error of one command."""

    def __init__(self, flags: Collection[str] = (), command: Sequence[str] = ("residua",)) -> None:
        self.json, self.quiet, self.debug = (flag in flags for flag in FLAGS)
        self.command = command  # as it was typed
        self.answered = False
        self.console = Console(stderr=self.json, highlight=False, soft_wrap=True)
        self.errors = Console(stderr=True, highlight=False, soft_wrap=True)
        # FORCE_COLOR makes rich call a pipe a terminal; cursor movements do not belong there.
        self.lively = (
            self.console.file.isatty() and not self.console.is_dumb_terminal and not self.quiet
        )
        self._live: Live | None = None
        self._shown = 0.0

    def say(self, *parts: Part) -> None:
        """Tell in one line what happens."""
        if not self.quiet:
            self._print(self.console, parts)

    def tell(self, *parts: Part) -> None:
        """Print one line of the answer."""
        if not self.json:
            self._print(self.console, parts)

    def answer(self, values: dict[str, Any]) -> None:
        """Print the answer as a JSON object."""
        self.answered = True
        if self.json:
            self.close()
            text = json.dumps(finite(values), default=str)  # ASCII: any terminal and pipe takes it
            try:
                sys.stdout.write(text + "\n")
                sys.stdout.flush()
            except BrokenPipeError:
                abandon(sys.stdout.fileno())

    def complain(self, text: str) -> None:
        """Print an error on stderr, its first word in red."""
        self.close()
        for line in text.splitlines():
            label, colon, rest = line.partition(":")
            style = BAD if label == "error" else QUIET
            known = label in ("error", "where", "fix") and colon
            parts: list[Part] = [(label + colon, style), rest] if known else [line]
            self._print(self.errors, parts)

    def live(self, text: str) -> None:
        """Replace the live line, not more often than an eye can follow."""
        now = time.monotonic()
        if self.quiet or not self.lively or now - self._shown < REFRESH:
            return
        self._shown = now
        if self._live is None:
            self._live = Live(console=self.console, transient=True, auto_refresh=False)
            self._live.start()
        self._live.update(Text(harmless(text), no_wrap=True, overflow="ellipsis"), refresh=True)

    def close(self) -> None:
        """Remove the live line."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._shown = 0.0

    def facts(self, pairs: Iterable[tuple[str, Part]]) -> None:
        """Tell names and values in two columns, empty values left out."""
        pairs = [pair for pair in pairs if pair[1]]
        width = max((cell_len(name) for name, _ in pairs), default=0)
        for name, value in pairs:
            self.tell((padded(name, width) + "  ", QUIET), value)

    def table(self, rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> None:
        """Tell rows in aligned columns, the first row as their headings.

        Args:
            rows: cells of text.
            right: columns that hold numbers.
        """
        right = set(right)
        rows = [[harmless(cell) for cell in row] for row in rows]
        widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
        for number, row in enumerate(rows):
            cells = [
                padded(cell, width, index in right)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            line = "  ".join(cells).rstrip()
            self.tell((line, QUIET) if number == 0 else line)

    def _print(self, console: Console, parts: Iterable[Part]) -> None:
        text = Text()
        for part in parts:
            words, style = part if isinstance(part, tuple) else (part, "")
            text.append(harmless(words), style)
        try:
            console.print(text)
        except (SystemExit, BrokenPipeError):  # rich asks to exit when the reader is gone
            abandon(console.file.fileno())


def padded(text: str, width: int, right: bool = False) -> str:
    """Text with spaces up to a width in terminal cells, of which some characters take two."""
    space = " " * (width - cell_len(text))
    return space + text if right else text + space


def finite(value: Any) -> Any:
    """A value with null in place of numbers that JSON does not have."""
    if isinstance(value, dict):
        return {str(key): finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def abandon(descriptor: int) -> None:
    """Send what is still written there nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def place(path: Path) -> str:
    """A path as a person would type it here."""
    absolute = path.absolute()
    here = Path.cwd()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)
