"""Help: what verbs there are, and what flags a verb takes."""

from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from residua.commands import VERBS
from residua.commands.terminal import EMPHASIS, QUIET, Terminal

NAMES = 34  # columns that names may take before their description
EPILOGUE = "Every verb also takes --json (one JSON object on stdout), --quiet and --debug."


def overview(terminal: Terminal) -> None:
    """Print the verbs."""
    terminal.tell("Train, test, explain and ship deep residual networks on your own images.")
    terminal.tell()
    terminal.tell(("usage  ", QUIET), "residua VERB ... [FLAGS]")
    terminal.tell(("first  ", QUIET), "residua demo, then residua train FOLDER-OF-IMAGES")
    terminal.tell()
    for verb, (_, about) in VERBS.items():
        terminal.tell("  ", (f"{verb:<11}", EMPHASIS), about)
    terminal.tell()
    terminal.tell("residua VERB --help tells what a verb takes.")
    terminal.tell(EPILOGUE)
    terminal.answer({"verbs": {verb: about for verb, (_, about) in VERBS.items()}})


def panel(console: Console, options: ConsoleOptions, panel: Any) -> None:
    """Print one group of a verb's flags: names on the left, what they do on the right."""
    entries = [entry for entry in panel.entries if entry.display_labels]
    if not entries:
        return
    labels = [Text(", ".join(entry.display_labels)) for entry in entries]
    for text, entry in zip(labels, entries, strict=True):
        text.stylize(EMPHASIS)
        if entry.metavar and entry.metavar not in text.plain:
            text.append(f" {entry.metavar}")
    width = min(NAMES, max(cell_len(text.plain) for text in labels))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=width)
    grid.add_column()
    for text, entry in zip(labels, entries, strict=True):
        grid.add_row(text, entry.description or "")
    console.print(Text(panel.title, style=EMPHASIS + " underline"))
    console.print(Padding(grid, (0, 0, 1, 2)), soft_wrap=False)
