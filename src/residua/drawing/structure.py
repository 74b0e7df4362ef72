"""How boxes follow each other: in series, side by side, or in a tangle.

A fork and the place where its ways meet again (its immediate post-dominator) enclose branches. A
branch with one way in is a series again; a direct way is a shortcut; the rest is a tangle, which is
laid out in layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from residua.drawing.units import Unit

DEEPEST = 20  # splits inside splits


@dataclass(frozen=True)
class Split:
    """What lies between a fork and the place where its ways meet."""

    branches: tuple["Series", ...]
    direct: bool  # one way has nothing on it


@dataclass(frozen=True)
class Tangle:
    """Units whose ways cross: `enter` takes what the fork gives, `leave` reaches the meeting."""

    members: tuple[int, ...]
    enter: tuple[int, ...]
    leave: tuple[int, ...]


Item = int | Split | Tangle
Series = tuple[Item, ...]


class Flow:
    """The units' ways, closed by an end that takes all results that nobody else takes."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self.end = len(units)
        self.next: list[list[int]] = [[] for _ in units]
        self.inputs: list[list[int]] = [list(unit.inputs) for unit in units]
        for number, sources in enumerate(self.inputs):
            if not sources and number:  # a second image, say: drawn as if the first led to it
                self.inputs[number] = [0]
            for source in self.inputs[number]:
                self.next[source].append(number)
        for number, after in enumerate(self.next):
            if not after and number < self.end:
                after.append(self.end)
        self.meeting = self._meetings()

    def _meetings(self) -> list[int]:
        """Return where all ways from each unit meet first (Cooper, Harvey and Kennedy 2001)."""
        meeting, depth = [self.end] * self.end, [0] * (self.end + 1)
        for number in reversed(range(self.end)):
            place = self.next[number][0]
            for other in self.next[number][1:]:
                while place != other:
                    if depth[place] >= depth[other]:
                        place = meeting[place]
                    else:
                        other = meeting[other]
            meeting[number], depth[number] = place, depth[place] + 1
        return meeting


def series(units: Sequence[Unit]) -> Series:
    """Return the whole network as a series that starts with its input."""
    flow = Flow(units)
    return follow(flow, 0, flow.end, 0) if units else ()


def follow(flow: Flow, first: int, stop: int, level: int) -> Series:
    """Walk from `first` until `stop`, inside `level` other splits."""
    items: list[Item] = []
    place = first
    while place != stop:
        items.append(place)
        meeting = flow.meeting[place]
        if flow.next[place] != [meeting]:
            items.append(split(flow, place, meeting, level))
        place = meeting
    return tuple(items)


def split(flow: Flow, fork: int, meeting: int, level: int) -> Split:
    """Part what lies between a fork and a meeting into branches that do not touch."""
    inside: set[int] = set()
    ahead = [place for place in flow.next[fork] if place != meeting]
    while ahead:
        place = ahead.pop()
        if place not in inside:
            inside.add(place)
            ahead += [after for after in flow.next[place] if after != meeting]
    branches = []
    for part in parts(flow, inside):
        enter = tuple(place for place in part if fork in flow.inputs[place])
        leave = tuple(place for place in part if meeting in flow.next[place])
        if len(enter) == 1 and level < DEEPEST:
            branches.append(follow(flow, enter[0], meeting, level + 1))
        else:
            branches.append((Tangle(tuple(part), enter, leave),))
    return Split(tuple(branches), meeting in flow.next[fork] and meeting != flow.end)


def parts(flow: Flow, inside: set[int]) -> list[list[int]]:
    """Return the connected parts of a region, each in order."""
    found: list[list[int]] = []
    left = set(inside)
    for start in sorted(inside):
        if start not in left:
            continue
        left.discard(start)
        part, ahead = [start], [start]
        while ahead:
            place = ahead.pop()
            near = {*flow.next[place], *flow.inputs[place]} & left
            left -= near
            part += near
            ahead += near
        found.append(sorted(part))
    return found
