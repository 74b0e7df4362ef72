"""Where everything stands: a series runs down an axis, shortcuts are arcs on its right.

Each function returns a fragment around the axis x = 0. Heights count from the top of the first box
to the bottom of the last; who stacks fragments leaves gaps between them.
"""

from collections.abc import Sequence
from dataclasses import replace

from residua.drawing.labels import INPUT, JOIN, LAYER, LIGHT, brief, is_concatenation, label, sign
from residua.drawing.labels import width as text_width
from residua.drawing.shapes import Box, Circle, Fragment, Shape, Way, line, rounded
from residua.drawing.sheet import Sheet, Sizes
from residua.drawing.structure import Item, Series, Split, Tangle
from residua.drawing.tangle import tangle
from residua.drawing.units import Unit

FORK = 17.0  # pixels for lines that part or meet
SIDE_UNITS = 3  # a branch of so many units can stand on an arc
BULGE = 30.0
BAR = 15.0


def stack(sheet: Sheet, items: Series) -> Fragment:
    """Lay out a series: entries below each other, joined by arrows."""
    shapes: list[Shape] = []
    y, left, right = 0.0, 0.0, 0.0
    before: Item | None = None
    for number, item in enumerate(items):
        if isinstance(item, Split):
            continue  # drawn with what follows it
        ways = items[number - 1] if number and isinstance(items[number - 1], Split) else None
        part = entry(sheet, ways if isinstance(ways, Split) else None, item)
        if number and before is not None:
            start = y
            y += gap_after(sheet, before)
            shapes.append(line([(0, start), (0, y)], arrow=inline(ways)))
        shapes += part.moved(0, y)
        y += part.height
        left, right = max(left, part.left), max(right, part.right)
        before = item
    if items and isinstance(items[-1], Split):  # results that nobody joins
        start = y
        y += gap_after(sheet, before) if before is not None else 0
        part = entry(sheet, items[-1], None)
        shapes += [line([(0, start), (0, y)], arrow=False), *part.moved(0, y)]
        y += part.height
        left, right = max(left, part.left), max(right, part.right)
    return Fragment(left, right, y, tuple(shapes))


def inline(ways: Item | None) -> bool:
    """Whether the next thing on the axis is a box, which an arrow may point at."""
    if not isinstance(ways, Split):
        return not isinstance(ways, Tangle)
    return len(ways.branches) == 1 and not isinstance(ways.branches[0][0], Tangle)


def gap_after(sheet: Sheet, item: Item) -> float:
    joined = isinstance(item, int) and is_circle(sheet.units[item])
    return sheet.sizes.leave if joined else sheet.sizes.gap


def is_circle(unit: Unit) -> bool:
    return unit.kind == JOIN and bool(sign(unit.lead))


def entry(sheet: Sheet, ways: Split | None, item: Item | None) -> Fragment:
    """Lay out one unit, with the branches that lead to it."""
    if isinstance(item, Tangle):
        return tangle(sheet, item, None, single)
    if ways is None:
        assert isinstance(item, int)
        return single(sheet, item)
    assert item is None or isinstance(item, int)
    if not ways.direct and len(ways.branches) == 1 and isinstance(ways.branches[0][0], Tangle):
        return tangle(sheet, ways.branches[0][0], item, single)
    main, side = chosen(sheet, ways, item)
    if len(main) == 1:
        return joined(sheet, main[0], side, ways.direct, item)
    body = beside(sheet, [*main, *side])
    return meet(sheet, body, ways.direct, item)


def single(sheet: Sheet, number: int) -> Fragment:
    """One unit on the axis."""
    unit, sizes = sheet.units[number], sheet.sizes
    if is_circle(unit):
        radius = sizes.radius
        circle = Circle(0, radius, radius, sign(unit.lead), number)
        return Fragment(radius, radius, 2 * radius, (circle,))
    look = "words" if unit.kind == INPUT else "bar" if unit.kind == JOIN else unit.kind
    text = words(unit)
    height = {LIGHT: sizes.light, "bar": BAR}.get(look, sizes.height)
    font = sizes.small if look in (LIGHT, "bar") else sizes.font
    across = max(sizes.width if look != LIGHT else 60.0, text_width(text, font) + 14)
    half = across / 2
    return Fragment(half, half, height, (Box(0, 0, across, height, text, number, look),))


def words(unit: Unit) -> str:
    """What stands in a unit's box."""
    if unit.kind == LIGHT:
        return ", ".join(unit.names)
    if unit.kind == JOIN and is_concatenation(unit.lead):
        return "concatenate"
    return label(unit.lead)


def chosen(sheet: Sheet, ways: Split, item: int | None) -> tuple[list[Series], list[Series]]:
    """Part branches into those on the axis and those that stand on an arc beside it."""
    branches = sorted(ways.branches, key=lambda way: -span(sheet, way))
    meets = item is not None and is_circle(sheet.units[item])
    side = [way for way in branches[1:] if meets and is_side(sheet, way, branches[0])]
    return [way for way in ways.branches if way not in side], side


def span(sheet: Sheet, way: Series) -> float:
    """Say how much a branch matters: by its layers, then by its multiply-adds."""
    return sum(
        1e-15 * sheet.units[item].lead.multiply_adds + (sheet.units[item].kind == LAYER)
        if isinstance(item, int)
        else 10
        for item in way
    )


def is_side(sheet: Sheet, way: Series, main: Series) -> bool:
    """Whether a branch is short enough, against the main one, to stand on an arc."""
    flat = all(isinstance(item, int) for item in way)
    return flat and len(way) <= SIDE_UNITS and 2 * len(way) <= max(len(main), 2)


def joined(
    sheet: Sheet, main: Series, side: Sequence[Series], direct: bool, item: int | None
) -> Fragment:
    """Lay out one branch on the axis, the other ways as arcs on its right."""
    need = max((on_arc_height(sheet, way) for way in side), default=0.0)
    body = stack(sheet, main)
    slack = max(need - body.height, 0) / 2
    shapes: list[Shape] = [*body.moved(0, slack)]
    height = body.height + 2 * slack
    if slack:
        shapes += [line([(0, 0), (0, slack)]), line([(0, slack + body.height), (0, height)])]
    left, right, end, reach = body.left, body.right, height, 0.0
    if item is not None:
        part = single(sheet, item)
        round_ = is_circle(sheet.units[item])
        top = height + (sheet.sizes.arrive if round_ else sheet.sizes.gap)
        shapes += [line([(0, height), (0, top)], arrow=not round_), *part.moved(0, top)]
        end, reach = top + part.height / 2, part.right
        height = top + part.height
        left, right = max(left, part.left), max(right, part.right)
    for way in side:
        arc = on_arc(sheet, way, (sheet.sizes.depart, end), right, reach)
        shapes += arc.shapes
        right = arc.right
    if direct:
        arc = identity(right, (sheet.sizes.depart, end), reach, item)
        shapes = [*arc.shapes, *shapes]
        right = arc.right
    return Fragment(left, right, height, tuple(shapes))


def identity(
    right: float, between: tuple[float, float], reach: float, item: Item | None
) -> Fragment:
    """An arc with nothing on it; `item` is what it leads to, or what happens on it."""
    (start, end), edge = between, right + 4
    bulge = min(BULGE + 0.05 * (end - start), 70)
    steps = (
        ("M", ((0.0, start),)),
        ("L", ((edge, start),)),
        ("C", ((edge + bulge, start), (edge + bulge, end), (edge, end))),
        ("L", ((reach, end),)),
    )
    arc = Way(steps, "arc", item if isinstance(item, int) else None)
    return Fragment(0, edge + 0.75 * bulge + 2, end, (arc,))


def on_arc_height(sheet: Sheet, way: Series) -> float:
    return len(visible(sheet, way)) * (sheet.sizes.side + 8) - 8


def visible(sheet: Sheet, way: Series) -> list[int]:
    """The units of a side branch that get a box: those that compute something."""
    known = [item for item in way if isinstance(item, int)]
    return [item for item in known if sheet.units[item].kind in (LAYER, "pool")] or (
        known if len(known) > 1 else []
    )


def on_arc(
    sheet: Sheet, way: Series, between: tuple[float, float], right: float, reach: float
) -> Fragment:
    """An arc with what happens on it: dashed, because it changes the shape."""
    (start, end), sizes = between, sheet.sizes
    boxes = visible(sheet, way)
    if not boxes:
        arc = identity(right, between, reach, way[0])
        dashed = [s._replace(look="dashed") for s in arc.shapes if isinstance(s, Way)]
        return arc._replace(shapes=tuple(dashed))
    texts = [brief(sheet.units[number].lead) for number in boxes]
    across = max(text_width(text, sizes.small) for text in texts) + 12
    x = right + 12 + across / 2
    path = rounded([(0, start), (x, start), (x, end), (reach, end)], "dashed", 14)._replace(
        unit=boxes[0]
    )
    height = len(boxes) * (sizes.side + 8) - 8
    y = (start + end - height) / 2
    shapes: list[Shape] = [path._replace(unit=boxes[0])]
    for number, text in zip(boxes, texts, strict=True):
        shapes.append(Box(x, y, across, sizes.side, text, number, "small"))
        y += sizes.side + 8
    return Fragment(0, x + across / 2 + 2, end, tuple(shapes))


def beside(sheet: Sheet, branches: Sequence[Series]) -> tuple[Fragment, list[float]]:
    """Lay out branches side by side; return them and their axes."""
    narrow = Sheet(sheet.units, narrower(sheet, branches))
    parts = [stack(narrow, way) for way in branches]
    total = sum(part.left + part.right for part in parts) + 16 * (len(parts) - 1)
    x, height = -total / 2, max(part.height for part in parts)
    shapes: list[Shape] = []
    axes = []
    for part in parts:
        axis = x + part.left
        axes.append(axis)
        down = FORK + (height - part.height) / 2
        bend = rounded([(0, 0), (0, 5), (axis, 5), (axis, down)], "flow", 6)
        shapes += [bend if abs(axis) > 1 else line([(0, 0), (0, down)]), *part.moved(axis, down)]
        shapes.append(line([(axis, down + part.height), (axis, height + FORK)], arrow=False))
        x += part.left + part.right + 16
    return Fragment(total / 2, total / 2, height + FORK, tuple(shapes)), axes


def narrower(sheet: Sheet, branches: Sequence[Series]) -> Sizes:
    """One width for the boxes of branches side by side: their longest text fits."""
    units = [sheet.units[item] for way in branches for item in way if isinstance(item, int)]
    texts = [text_width(words(unit), sheet.sizes.font) + 14 for unit in units if unit.kind != LIGHT]
    return replace(sheet.sizes, width=min(max([64.0, *texts]), sheet.sizes.width))


def meet(
    sheet: Sheet, body: tuple[Fragment, list[float]], direct: bool, item: int | None
) -> Fragment:
    """Lead side by side branches into what joins them."""
    part, axes = body
    shapes: list[Shape] = [*part.shapes]
    height, left, right = part.height, part.left, part.right
    if item is None:
        return part
    unit, radius = sheet.units[item], sheet.sizes.radius
    if is_circle(unit):
        y = height + 12
        for axis in axes:
            edge = radius if axis > 0 else -radius
            bend = [(axis, height), (axis, y), (edge, y)]
            straight = line([(0, height), (0, y - radius)], arrow=False)
            shapes.append(rounded(bend, "flow", 8) if abs(axis) > radius else straight)
        shapes.append(Circle(0, y, radius, sign(unit.lead), item))
        end, height, reach = y, y + radius, radius
    else:
        across = max(axes[-1] - axes[0] + 40, text_width(words(unit), sheet.sizes.small) + 14)
        shapes += [line([(axis, height), (axis, height + 8)]) for axis in axes]
        look = "bar" if unit.kind == JOIN else unit.kind
        box = Box(sum((axes[0], axes[-1])) / 2, height + 8, across, BAR, words(unit), item, look)
        shapes.append(box)
        right, reach = max(right, box.x + across / 2), box.x + across / 2
        left = max(left, across / 2 - box.x)
        end, height = height + 8 + BAR / 2, height + 8 + BAR
    if direct:
        arc = identity(right, (sheet.sizes.depart, end), reach, item)
        shapes, right = [*arc.shapes, *shapes], arc.right
    return Fragment(left, right, height, tuple(shapes))
