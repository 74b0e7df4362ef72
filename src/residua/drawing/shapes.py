"""Shapes on a plane, in pixels, y down; a fragment is shapes around a vertical axis x = 0."""

from collections.abc import Iterable
from typing import NamedTuple

Point = tuple[float, float]


class Box(NamedTuple):
    """A rectangle with a line of text, centered at x, with its top at y."""

    x: float
    y: float
    width: float
    height: float
    text: str
    unit: int
    look: str  # layer, pool, light, bar, small, words

    def moved(self, dx: float, dy: float) -> "Box":
        return self._replace(x=self.x + dx, y=self.y + dy)


class Circle(NamedTuple):
    """A place where ways join, with a sign in it."""

    x: float
    y: float  # of the center
    radius: float
    text: str
    unit: int

    def moved(self, dx: float, dy: float) -> "Circle":
        return self._replace(x=self.x + dx, y=self.y + dy)


class Way(NamedTuple):
    """A line along which a result goes: "M", "L" and "C" steps with their points."""

    steps: tuple[tuple[str, tuple[Point, ...]], ...]
    look: str  # flow, arc, dashed, bracket
    unit: int | None = None  # what happens on the way
    arrow: bool = True

    def moved(self, dx: float, dy: float) -> "Way":
        steps = tuple(
            (letter, tuple((x + dx, y + dy) for x, y in points)) for letter, points in self.steps
        )
        return self._replace(steps=steps)


class Words(NamedTuple):
    """Text beside the boxes."""

    x: float
    y: float  # of the baseline
    text: str
    anchor: str  # start, middle, end
    look: str = "note"

    def moved(self, dx: float, dy: float) -> "Words":
        return self._replace(x=self.x + dx, y=self.y + dy)


Shape = Box | Circle | Way | Words


class Fragment(NamedTuple):
    """Shapes from y = 0 to `height`, reaching `left` and `right` of the axis."""

    left: float
    right: float
    height: float
    shapes: tuple[Shape, ...]

    def moved(self, dx: float, dy: float) -> tuple[Shape, ...]:
        return tuple(shape.moved(dx, dy) for shape in self.shapes) if dx or dy else self.shapes


def line(points: Iterable[Point], look: str = "flow", arrow: bool = True) -> Way:
    """A way along straight lines."""
    first, *rest = points
    return Way((("M", (first,)), *(("L", (point,)) for point in rest)), look, None, arrow)


def rounded(points: Iterable[Point], look: str, radius: float, arrow: bool = True) -> Way:
    """A way along straight lines with round corners."""
    first, *rest = points
    steps: list[tuple[str, tuple[Point, ...]]] = [("M", (first,))]
    here = first
    for corner, after in zip(rest, rest[1:], strict=False):
        a, b = toward(corner, here, radius), toward(corner, after, radius)
        steps += [("L", (a,)), ("C", (middle(a, corner), middle(b, corner), b))]
        here = corner
    steps.append(("L", (rest[-1],)))
    return Way(tuple(steps), look, None, arrow)


def toward(start: Point, goal: Point, distance: float) -> Point:
    """Go from `start` toward `goal`, at most half of the way."""
    dx, dy = goal[0] - start[0], goal[1] - start[1]
    length = max((dx * dx + dy * dy) ** 0.5, 1e-9)
    share = min(distance / length, 0.5)
    return start[0] + share * dx, start[1] + share * dy


def middle(a: Point, b: Point) -> Point:
    """Three fifths of the way to the corner, which makes a nearly round one."""
    return a[0] + 0.6 * (b[0] - a[0]), a[1] + 0.6 * (b[1] - a[1])
