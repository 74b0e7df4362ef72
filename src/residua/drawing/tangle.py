"""Ways that cross, in layers: every result goes down, as straight as its neighbors allow.

Layers by longest way, order by the mean place of neighbors, as Sugiyama, Tagawa and Toda (1981).
A result that is used further down travels in a lane of its own, between the boxes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

from residua.drawing.shapes import Fragment, Shape, Way
from residua.drawing.sheet import Sheet
from residua.drawing.structure import Tangle

SWEEPS, STARTS = 6, 8
SPACE, LANE = 16.0, 9.0  # pixels between boxes, and for a way that passes them
FORK, MEETING = -1, -2
CROWD = 400  # ways between two layers
UNREADABLE = 8000  # layers that all ways pass together: no lane would help

Single = Callable[[Sheet, int], Fragment]  # draws one unit


@dataclass
class Spot:
    """A unit in its layer, or one step of a lane."""

    unit: int | None
    layer: int
    fragment: Fragment
    above: list["Spot"] = field(default_factory=list)
    below: list["Spot"] = field(default_factory=list)
    x: float = 0.0


def tangle(sheet: Sheet, item: Tangle, meeting: int | None, single: Single) -> Fragment:
    """Lay out units between a fork, at the top of the axis, and what joins them at its end."""
    layers = connect(sheet, item, meeting, single)
    layers = untangled(layers)
    for sweep in range(SWEEPS):
        straighten(layers[1:-1], down=sweep % 2 == 1)
    tops, y = [], 0.0
    for layer in layers:
        tops.append(y)
        y += max(spot.fragment.height for spot in layer) + drop(layer)
    spans = [
        (top, top + max(spot.fragment.height for spot in layer))
        for layer, top in zip(layers, tops, strict=True)
    ]
    shapes: list[Shape] = []
    for layer in layers:
        for spot in layer:
            shapes += spot.fragment.moved(spot.x, span(spot, spans)[0])
            shapes += [way(spot, other, spans) for other in spot.below]
    spots = [spot for layer in layers for spot in layer]
    left = max(spot.fragment.left - spot.x for spot in spots)
    right = max(spot.fragment.right + spot.x for spot in spots)
    height = tops[-1] + layers[-1][0].fragment.height
    return Fragment(max(left, 1), max(right, 1), height, tuple(shapes))


def drop(layer: list[Spot]) -> float:
    """Pixels below a layer: more where more ways have to find their place."""
    return min(20.0 + 2 * sum(len(spot.below) for spot in layer), 40.0)


def connect(sheet: Sheet, item: Tangle, meeting: int | None, single: Single) -> list[list[Spot]]:
    """Give every unit a layer, and every way that passes layers a lane through them."""
    sheet = Sheet(sheet.units, replace(sheet.sizes, width=64.0))
    known = set(item.members)
    sources = {n: [s for s in sheet.units[n].inputs if s in known] for n in item.members}
    for number in item.enter:
        sources[number] = [FORK, *sources[number]]
    sources[MEETING] = list(item.leave)
    nothing = Fragment(LANE / 2, LANE / 2, 0, ())
    spots = {FORK: Spot(None, 0, nothing)}
    for number, given in sources.items():
        layer = 1 + max((spots[source].layer for source in given), default=0)
        unit = meeting if number == MEETING else number
        drawn = nothing if unit is None else single(sheet, unit)
        spots[number] = Spot(number, layer, drawn)
    layers: list[list[Spot]] = [[] for _ in range(spots[MEETING].layer + 1)]
    for spot in spots.values():
        layers[spot.layer].append(spot)
    lanes: dict[tuple[int, int], Spot] = {}  # (source, layer): ways of one source share a lane
    reach = sum(spots[n].layer - spots[s].layer for n, given in sources.items() for s in given)
    for number, given in sources.items():
        for source in given:
            here = spots[source]
            passed = range(here.layer + 1, spots[number].layer if reach < UNREADABLE else 0)
            for layer in passed:
                if (source, layer) not in lanes:
                    lanes[source, layer] = Spot(None, layer, nothing)
                    layers[layer].append(lanes[source, layer])
                    join(here, lanes[source, layer])
                here = lanes[source, layer]
            join(here, spots[number])
    return layers


def join(above: Spot, below: Spot) -> None:
    above.below.append(below)
    below.above.append(above)


def untangled(layers: list[list[Spot]]) -> list[list[Spot]]:
    """Sort the layers in sweeps down and up; return the order with the fewest crossings.

    Sweeps end where they cannot do better alone, so they also start from other orders, the same at
    each drawing.
    """
    best, fewest = layers, crossings(layers)
    chance = Random(0)
    crowded = sum(map(len, layers)) > CROWD
    for turn in range(1 if crowded else STARTS):
        found = [chance.sample(layer, len(layer)) if turn else layer[:] for layer in layers]
        for sweep in range(SWEEPS if fewest else 0):
            order(found, down=sweep % 2 == 0)
            count = crossings(found)
            if count < fewest:
                best, fewest = [layer[:] for layer in found], count
    for layer in best:
        spread(layer)
    return best


def crossings(layers: list[list[Spot]]) -> int:
    """Count ways that cross, where they are not too many to be told apart anyway."""
    total = 0
    for layer, after in zip(layers, layers[1:], strict=False):
        places = {id(spot): number for number, spot in enumerate(after)}
        ends = [places[id(other)] for spot in layer for other in by_place(spot, places)]
        if len(ends) <= CROWD:
            total += sum(a > b for i, a in enumerate(ends) for b in ends[i + 1 :])
    return total


def by_place(spot: Spot, places: dict[int, int]) -> list[Spot]:
    near = [other for other in spot.below if id(other) in places]  # ways without lanes go further
    return sorted(near, key=lambda other: places[id(other)])


def order(layers: list[list[Spot]], down: bool) -> None:
    """Sort each layer by the mean place of its neighbors, then stand it side by side."""
    for layer in layers if down else reversed(layers):
        wanted = {id(spot): mean(spot.above if down else spot.below, spot.x) for spot in layer}
        layer.sort(key=lambda spot, wanted=wanted: wanted[id(spot)])  # type: ignore[misc]
        spread(layer)


def spread(layer: list[Spot]) -> None:
    """Stand a layer side by side around the axis."""
    x = -sum(spot.fragment.left + spot.fragment.right + SPACE for spot in layer) / 2 + SPACE / 2
    for spot in layer:
        spot.x = x + spot.fragment.left
        x += spot.fragment.left + spot.fragment.right + SPACE


def mean(spots: list[Spot], otherwise: float) -> float:
    return sum(spot.x for spot in spots) / len(spots) if spots else otherwise


def straighten(layers: list[list[Spot]], down: bool) -> None:
    """Move spots toward their neighbors without changing the order in a layer."""
    for layer in layers if down else reversed(layers):
        wanted = [mean(spot.above if down else spot.below, spot.x) for spot in layer]
        from_left, from_right = [*wanted], [*wanted]
        for i in range(1, len(layer)):
            from_left[i] = max(wanted[i], from_left[i - 1] + apart(layer[i - 1], layer[i]))
        for i in reversed(range(len(layer) - 1)):
            from_right[i] = min(wanted[i], from_right[i + 1] - apart(layer[i], layer[i + 1]))
        for spot, a, b in zip(layer, from_left, from_right, strict=True):
            spot.x = (a + b) / 2


def apart(a: Spot, b: Spot) -> float:
    return a.fragment.right + SPACE + b.fragment.left


def span(spot: Spot, spans: list[tuple[float, float]]) -> tuple[float, float]:
    """Return top and bottom of a spot: a lane is as high as its layer."""
    top, bottom = spans[spot.layer]
    free = 0.0 if spot.unit is None else (bottom - top - spot.fragment.height) / 2
    return top + free, bottom - free


def way(spot: Spot, other: Spot, spans: list[tuple[float, float]]) -> Way:
    """Draw a way from one layer to the next."""
    start, (end, bottom) = span(spot, spans)[1], span(other, spans)
    bent = curve((spot.x, start), (other.x, end), arrow=other.unit not in (None, MEETING))
    if other.unit is None and bottom > end:  # the lane goes on beside the boxes
        return bent._replace(steps=(*bent.steps, ("L", ((other.x, bottom),))))
    return bent


def curve(start: tuple[float, float], end: tuple[float, float], arrow: bool) -> Way:
    """A way that leaves and arrives upright."""
    (a, b), (c, d) = start, end
    bend = (d - b) * 0.55
    steps = (("M", ((a, b),)), ("C", ((a, b + bend), (c, d - bend), (c, d))))
    return Way(steps, "flow", None, arrow)
