"""`residua show`: a network as a table of its layers."""

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from residua.commands.terminal import EMPHASIS, Terminal
from residua.words import count

if TYPE_CHECKING:
    from residua.networks.graph import Row
    from residua.networks.network import Network

SMALL, LARGE = 32, 224  # pixels that networks for small images and for photographs are made for


def show(
    network: str,
    /,
    *,
    size: int | None = None,
    classes: int | None = None,
    all: bool = False,
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> None:
    """Show the layers of a network: shapes, parameters, multiply-adds and receptive field.

    The column "sees" is the height and width of the part of the image that decides one result.

    Args:
        network: a name such as resnet50 or resnet110-cifar, a run's folder or a weights file
        size: height and width of the images, in pixels
        classes: number of classes that the network tells apart
        all: every operation by its path, instead of like blocks in one row
    """
    built, usual = chosen(network, classes)

    from residua.networks.graph import graph, rows

    size = usual if size is None else size
    drawn = graph(built, (built.channels, size, size))
    lines = rows(drawn, fold=not all)
    terminal.say((built.name, EMPHASIS), f"  {built.classes} classes, {size} x {size} pixels")
    terminal.say()
    heading = ("name", "operation", "shape", "parameters", "multiply-adds", "sees")
    terminal.table([heading, *map(cells, lines)], right=(3, 4, 5))
    terminal.tell()
    terminal.tell(
        (f"{drawn.parameters:,} parameters", EMPHASIS),
        f", {drawn.multiply_adds:,} multiply-adds per image ({count(drawn.multiply_adds)})",
    )
    terminal.answer(
        {
            "network": built.name,
            "classes": built.classes,
            "size": size,
            "parameters": drawn.parameters,
            "multiply_adds": drawn.multiply_adds,
            "rows": [vars(line) for line in lines],
        }
    )


def chosen(name: str, classes: int | None) -> tuple["Network", int]:
    """A network by its name or its weights, and the usual size of its images."""
    from residua import networks
    from residua.commands.models import is_model, open_model
    from residua.errors import Refused

    if not is_model(name):
        return networks.build(name, classes), SMALL if "cifar" in name else LARGE
    weights = open_model(name).weights
    if classes not in (None, len(weights.classes)):
        raise Refused(f"these weights tell {len(weights.classes)} classes", f"--classes {classes}")
    return weights.build(), weights.preprocessing.size


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
