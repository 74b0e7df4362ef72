"""Networks drawn: a column of boxes for each, shortcuts as arcs, as a picture or a page.

A graph's operations are gathered into units (a layer with its norm and activation), units into
series, splits and tangles, these laid out as pieces of a column, and columns aligned by the sizes
of their maps. One way, and nothing here needs torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from residua.drawing import svg
from residua.drawing.block import block as block_column
from residua.drawing.columns import Column, column, fold, is_long
from residua.drawing.difference import Difference, differences, marked
from residua.drawing.page import page
from residua.errors import Refused

if TYPE_CHECKING:
    from residua.networks.graph import Graph

__all__ = ["Difference", "Drawing", "draw"]

MOST = 6  # columns


@dataclass(frozen=True)
class Drawing:
    """Networks laid out side by side, nothing folded yet."""

    columns: tuple[Column, ...]
    folded: bool
    differences: tuple[Difference, ...] = ()  # of a pair that is compared

    def svg(self, theme: str = "light") -> str:
        """Return the picture as an SVG file that stands alone, "light" or "dark"."""
        return svg.picture([fold(c) for c in self.columns] if self.folded else self.columns, theme)

    def page(self) -> str:
        """Return the page, one HTML file, whose like blocks fold and unfold."""
        return page([fold(each) for each in self.columns], not self.folded, self.differences)

    def _repr_svg_(self) -> str:
        """Let a notebook show the picture."""
        return self.svg()


def draw(
    graphs: "Sequence[tuple[str, Graph]]",
    *,
    folded: bool | None = None,
    block: str | None = None,
    compare: bool = False,
) -> Drawing:
    """Lay out networks, given by name and graph, side by side.

    Args:
        graphs: from one to six.
        folded: draw a run of like blocks once, with their number; by default where a network has
            more than 40 layers.
        block: only this part of each, such as "stage1.0", every operation with a box of its own.
        compare: two networks; color what differs.

    Raises:
        Refused: another number of networks, or no such block.
    """
    most = 2 if compare else MOST
    if not (2 if compare else 1) <= len(graphs) <= most:
        wanted = "exactly 2 networks are compared" if compare else f"1 to {MOST} networks are drawn"
        raise Refused(wanted, where=f"received {len(graphs)}")
    if block is not None:
        columns = [block_column(name, graph, block) for name, graph in graphs]
    else:
        columns = [column(name, graph) for name, graph in graphs]
    found: list[Difference] = []
    if compare:
        columns[:] = marked(columns[0], columns[1])
        found = differences(columns[0].graph, columns[1].graph)
    if folded is None:
        folded = any(map(is_long, columns))
    return Drawing(tuple(columns), folded, tuple(found))
