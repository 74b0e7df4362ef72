"""Help: what verbs there are, and what flags a verb takes."""

from typing import Any

from rich.console import Console, ConsoleOptions
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from residua.commands import VERBS
from residua.commands.terminal import EMPHASIS, QUIET, Terminal

VALUES = {"STR": "NAME", "INT": "N", "FLOAT": "X"}  # a type as a person reads it
NAMES = 30  # columns that names may take before their description
EPILOGUE = "Every verb also takes --json (one JSON object on stdout), --quiet and --debug."


def overview(terminal: Terminal) -> None:
    """Print the verbs."""
    terminal.tell("Train, test, explain and ship deep residual networks on your own images.")
    terminal.tell()
    terminal.tell(("usage  ", QUIET), "residua VERB ... [FLAGS]")
    terminal.tell(("first  ", QUIET), "residua demo, then residua train FOLDER-OF-IMAGES")
    terminal.tell()
    for name, verb in VERBS.items():
        terminal.tell("  ", (f"{name:<10}", EMPHASIS), verb.about)
    terminal.tell()
    terminal.tell("residua VERB --help tells what a verb takes.")
    terminal.tell(EPILOGUE)
    terminal.answer({"verbs": {name: verb.about for name, verb in VERBS.items()}})


def panel(console: Console, options: ConsoleOptions, panel: Any) -> None:
    """Print one group of a verb's flags: names on the left, what they do on the right."""
    entries = [entry for entry in panel.entries if entry.display_labels and entry.type]
    if not entries:
        return
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=NAMES)
    grid.add_column()
    for entry in entries:
        about = getattr(entry.description, "primary_renderable", entry.description) or ""
        grid.add_row(names(entry), Text(" ".join(str(about).split())))
    console.print(Text(panel.title, style=EMPHASIS + " underline"))
    console.print(Padding(grid, (0, 0, 0, 2)), soft_wrap=False)
    console.print()


def names(entry: Any) -> Text:
    """What a person writes for an argument: --epochs X, --[no-]flip, or DATA."""
    if entry.positional_label:
        return Text(entry.positional_label, style=EMPHASIS)
    flags = [*entry.positive_shorts, *entry.positive_names]
    if entry.negative_names:
        flags = [flag.replace("--", "--[no-]", 1) for flag in flags]
    value = VALUES.get(entry.metavar, entry.metavar)
    return Text(", ".join(flags), style=EMPHASIS).append(f" {value}" if value else "", "not bold")
