"""`residua show`: networks as tables of their layers, and drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from cyclopts import Parameter

from residua.commands.terminal import EMPHASIS, Terminal, place
from residua.errors import Refused
from residua.words import count, harmless

if TYPE_CHECKING:
    from residua.drawing import Difference, Drawing
    from residua.networks.graph import Graph, Row
    from residua.networks.network import Network


@dataclass(frozen=True)
class Options:
    """What to show, and where to draw it."""

    html: Annotated[
        str | None,
        Parameter(metavar="FILE", help="draw a page: blocks unfold, each box tells its numbers"),
    ] = None
    svg: Annotated[
        str | None, Parameter(metavar="FILE", help="draw a picture, for slides and papers")
    ] = None
    theme: Annotated[
        Literal["light", "dark"], Parameter(help="colors of the picture: light or dark")
    ] = "light"
    diff: Annotated[
        str | None, Parameter(metavar="OTHER", help="what differs from another network")
    ] = None
    block: Annotated[
        str | None,
        Parameter(metavar="BLOCK", help="draw one block only, such as stage1.0: all operations"),
    ] = None
    fold: Annotated[
        bool | None, Parameter(help="draw like blocks once, with their number [beyond 40 layers]")
    ] = None
    size: Annotated[
        int | None, Parameter(metavar="N", help="height and width of the images, in pixels")
    ] = None
    classes: Annotated[
        int | None, Parameter(metavar="N", help="classes that the network tells apart")
    ] = None
    all: Annotated[
        bool,
        Parameter(negative="", help="every operation by its path, not like blocks in one row"),
    ] = False


class Shown(NamedTuple):
    """A network taken apart."""

    network: "Network"
    size: int
    graph: "Graph"


USUAL = Options()


def show(
    network: str,
    /,
    *others: str,
    options: Annotated[Options, Parameter(name="*")] = USUAL,
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> None:
    """Show the layers of networks: shapes, parameters, multiply-adds and receptive field.

    The column "sees" is the height and width of the part of the image that decides one result.
    With --html or --svg, networks are drawn side by side, aligned by the size of their maps.

    Args:
        network: a name such as resnet50 or resnet110-cifar, a run's folder or a weights file
        others: more of them
    """
    if options.diff and others:
        raise Refused("--diff compares two networks", fix="give one network and --diff OTHER")
    drawn = bool(options.html or options.svg)
    if not drawn and (options.block or options.fold is not None):
        flag = "--block" if options.block else "--fold"
        raise Refused(f"{flag} is for drawings", fix="add --html FILE or --svg FILE")
    names = (network, options.diff) if options.diff else (network, *others)
    shown = [taken_apart(name, options) for name in names]
    answers = [answer(each, options.all) for each in shown]
    found: dict[str, Any] = dict(answers[0]) if len(answers) == 1 else {"networks": answers}
    if not drawn and not options.diff:
        for each, more in zip(shown, [*shown[1:], None], strict=True):
            table(each, options.all, terminal)
            if more:
                terminal.tell()
    else:
        found |= picture(shown, options, terminal)
    terminal.answer(found)


def taken_apart(name: str, options: Options) -> Shown:
    """A network by its name or weights, followed for images of its usual size."""
    built, usual = chosen(name, options.classes)

    from residua.networks.graph import graph

    size = usual if options.size is None else options.size
    return Shown(built, size, graph(built, (built.channels, size, size)))


def chosen(name: str, classes: int | None) -> tuple["Network", int]:
    """A network by its name or its weights, and the usual size of its images."""
    from residua import networks
    from residua.commands.models import is_model, open_model

    if not is_model(name):
        return networks.weightless(name, classes), networks.parse(name)[0].size
    weights = open_model(name).weights
    if classes not in (None, len(weights.classes)):
        raise Refused(f"these weights tell {len(weights.classes)} classes", f"--classes {classes}")
    return weights.build(), weights.preprocessing.size


# The table.


def answer(shown: Shown, every: bool) -> dict[str, Any]:
    """A network's table for a program."""
    from residua.networks.graph import rows

    return {
        "network": shown.network.name,
        "classes": shown.network.classes,
        "size": shown.size,
        "parameters": shown.graph.parameters,
        "multiply_adds": shown.graph.multiply_adds,
        "rows": [vars(line) for line in rows(shown.graph, fold=not every)],
    }


def table(shown: Shown, every: bool, terminal: Terminal) -> None:
    """Tell a network's table."""
    from residua.networks.graph import rows

    size = shown.size
    lines = rows(shown.graph, fold=not every)
    about = f"  {shown.network.classes} classes, {size} x {size} pixels"
    terminal.say((shown.network.name, EMPHASIS), about)
    terminal.say()
    heading = ("name", "operation", "shape", "parameters", "multiply-adds", "sees")
    terminal.table([heading, *map(cells, lines)], right=(3, 4, 5))
    terminal.tell()
    found = shown.graph
    terminal.tell(
        (f"{found.parameters:,} parameters", EMPHASIS),
        f", {found.multiply_adds:,} multiply-adds per image ({count(found.multiply_adds)})",
    )


def cells(line: "Row") -> tuple[str, ...]:
    """A row of the table as text."""

    def known(value: Any) -> str:
        return f"{value:,}" if value else ""

    return (
        line.name,
        line.operation,
        "x".join(map(str, line.shape)),
        known(line.parameters),
        known(line.multiply_adds),
        known(line.receptive_field),
    )


# The drawing.


def picture(shown: Sequence[Shown], options: Options, terminal: Terminal) -> dict[str, Any]:
    """Draw networks and tell where; return it for a program."""
    from residua.drawing import draw

    drawing = draw(
        [(each.network.name, each.graph) for each in shown],
        folded=options.fold,
        block=options.block,
        compare=options.diff is not None,
    )
    rows = [
        (each.network.name, f"{each.graph.parameters:,}", f"{each.graph.multiply_adds:,}")
        for each in shown
    ]
    terminal.table([("network", "parameters", "multiply-adds"), *rows], right=(1, 2))
    found: dict[str, Any] = {}
    if options.diff:
        tell_differences(shown, drawing.differences, terminal)
        found["differences"] = [vars(each) for each in drawing.differences]
    return found | write(drawing, shown, options, terminal)


def write(
    drawing: "Drawing", shown: Sequence[Shown], options: Options, terminal: Terminal
) -> dict[str, str]:
    """Write the files that are asked for."""
    from residua import durable

    files = {"page": options.html, "picture": options.svg}
    wanted = {kind: Path(name) for kind, name in files.items() if name}
    for path in wanted.values():
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise Refused(f'cannot write "{harmless(str(path))}"', fix="name a file in a folder")
    for kind, path in wanted.items():
        text = drawing.page() if kind == "page" else drawing.svg(options.theme)
        durable.write(path, text.encode(errors="replace"))
    terminal.tell()
    terminal.facts([(kind, place(path)) for kind, path in wanted.items()])
    name = shown[0].network.name
    if options.svg and not options.html:
        terminal.say((f"next: residua show {name} --html FILE, which unfolds", EMPHASIS))
    elif options.html:
        terminal.say((f"next: open {place(wanted['page'])} in a browser", EMPHASIS))
    else:
        names = f"{name} --diff {shown[1].network.name}"
        terminal.say((f"next: residua show {names} --html FILE", EMPHASIS))
    return {kind: str(path) for kind, path in wanted.items()}


def tell_differences(
    shown: Sequence[Shown], differences: "Sequence[Difference]", terminal: Terminal
) -> None:
    """Tell what differs between two networks."""
    terminal.tell()
    if not differences:
        terminal.tell("their operations are the same")
        return
    heading = ("block", *(each.network.name for each in shown), "parameters", "multiply-adds")
    rows = [
        (
            each.name,
            each.left or "none",
            each.right or "none",
            f"{each.parameters:+,}" if each.parameters else "",
            f"{each.multiply_adds:+,}" if each.multiply_adds else "",
        )
        for each in differences
    ]
    terminal.table([heading, *rows], right=(3, 4))
