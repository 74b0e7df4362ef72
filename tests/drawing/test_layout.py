"""Every operation is drawn once, nothing overlaps, texts fit, twins stay side by side."""

from collections.abc import Callable
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from residua.drawing.columns import column, fold
from residua.drawing.labels import width
from residua.drawing.picture import rows
from residua.drawing.shapes import Box, Circle
from residua.drawing.structure import Item, Series, Split, Tangle, series
from residua.drawing.units import depth, units
from residua.networks.graph import Graph, Node

Find = Callable[[str], Graph]
DRAWN = (
    "plain34",
    "resnet34-a",
    "resnet50-se",
    "preact164-cifar",
    "vgg19",
    "googlenet",
    "highway19-cifar",
    "theirs",
    "unet",
    "branches",
    "dense",
    "one",
)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("vgg19", 19),
        ("alexnet", 8),
        ("plain34", 34),
        ("resnet34", 34),
        ("resnet50", 50),
        ("resnet50-se", 50),  # gates do not count
        ("resnet110-cifar", 110),
        ("preact164-cifar", 164),
        ("googlenet", 22),
        ("highway19-cifar", 19),
    ],
)
def test_layers_are_counted_as_papers_count_them(found: Find, name: str, layers: int) -> None:
    assert depth(found(name), units(found(name))) == layers


@pytest.mark.parametrize("name", DRAWN)
def test_every_operation_is_in_one_unit(found: Find, name: str) -> None:
    members = [number for unit in units(found(name)) for number in unit.members]

    assert sorted(members) == list(range(len(found(name).nodes)))


def test_norm_and_activation_stand_in_their_layers_box(found: Find) -> None:
    names = [[found("resnet34").nodes[n].name for n in u.members] for u in units(found("resnet34"))]

    assert ["features.stem.conv", "features.stem.norm", "features.stem.relu"] in names
    assert ["features.stage1.0.add", "features.stage1.0.after"] in names


def test_a_layers_box_takes_what_comes_before_it_in_pre_activation(found: Find) -> None:
    made = units(found("preact164-cifar"))
    second = next(u for u in made if u.lead.name == "features.stage1.1.branch.conv1")

    nodes = [found("preact164-cifar").nodes[number].operation for number in second.members]
    assert nodes[:3] == ["batch norm", "relu", "convolution 1x1, 16"]


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("folded", [False, True])
def test_boxes_do_not_overlap_and_texts_fit(found: Find, name: str, folded: bool) -> None:
    drawn = fold(column(name, found(name))) if folded else column(name, found(name))
    for piece in drawn.pieces:
        boxes = [shape for shape in piece.fragment.shapes if isinstance(shape, Box)]
        for a, b in combinations(boxes, 2):
            beside = abs(a.x - b.x) >= (a.width + b.width) / 2
            assert beside or a.y + a.height <= b.y or b.y + b.height <= a.y, (a, b)
        for box in boxes:
            size = 12 if box.look in ("layer", "pool", "move") else 10
            assert width(box.text, size) <= box.width or box.look == "words", box
            assert -drawn.left - 0.1 <= box.x - box.width / 2
            assert box.x + box.width / 2 <= drawn.right + 0.1
            assert 0 <= box.y and box.y + box.height <= piece.fragment.height + 0.1


@pytest.mark.parametrize("name", DRAWN)
def test_every_unit_is_a_shape(found: Find, name: str) -> None:
    drawn = column(name, found(name))
    shapes = [shape for piece in drawn.pieces for shape in piece.fragment.shapes]

    assert {getattr(shape, "unit", None) for shape in shapes} - {None} == set(
        range(len(drawn.units))
    )


def test_plain_and_residual_twins_stand_at_the_same_height(found: Find) -> None:
    def heights(name: str) -> list[float]:
        y, tops = 0.0, []
        for piece in column(name, found(name)).pieces:
            boxes = [s for s in piece.fragment.shapes if isinstance(s, Box) and s.look == "layer"]
            tops += [y + box.y for box in boxes]
            y += piece.height
        return tops

    assert heights("plain34") == pytest.approx(heights("resnet34-a"))


def test_rows_are_the_sizes_of_figure_3(found: Find) -> None:
    names = ("vgg19", "plain34", "resnet34")
    drawn = [column(name, found(name)) for name in names]
    sizes = [row.map for row in rows(drawn)]

    assert sizes == [None, (224, 224), (112, 112), (56, 56), (28, 28), (14, 14), (7, 7), ()]
    for row in rows(drawn)[2:]:
        assert all(row.cells)  # each network has such maps, but none larger than its first
    assert [len(cell) for cell in rows(drawn)[1].cells] == [2, 0, 0]


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("resnet152", [1, 1, 1, 1, 2, 1, 7, 1, 35, 1, 2, 1, 1]),
        ("resnet110-cifar", [1, 1, 18, 1, 17, 1, 17, 1, 1]),
        ("theirs", [1, 1, 2, 1]),
    ],
)
def test_like_blocks_fold(found: Find, name: str, counts: list[int]) -> None:
    drawn = fold(column(name, found(name)))

    assert [piece.count for piece in drawn.pieces] == counts


@pytest.mark.parametrize("name", ["resnet152", "preact164-cifar", "highway19-cifar", "theirs"])
def test_repetitions_find_their_own_operations(found: Find, name: str) -> None:
    """What a page tells of the k-th block is that block's: operations `k * step` further on."""
    nodes, drawn = found(name).nodes, fold(column(name, found(name)))
    seen = []
    for piece in drawn.pieces:
        for k in range(piece.count):
            for unit in (drawn.units[number] for number in piece.members):
                numbers = [number + k * piece.step for number in unit.members]
                seen += numbers
                words = [nodes[number].operation for number in unit.members]
                assert [nodes[number].operation for number in numbers] == words
    assert sorted(seen) == list(range(len(nodes)))


# Arbitrary networks.

OPERATIONS = ("convolution 3x3, 8", "relu", "batch norm", "max pool 2x2/2", "flatten", "a <b>&c")
JOINS = ("add", "mul", "cat", "bilinear")


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A network of any wiring."""
    nodes = [Node("input", "input", (), (3, 8, 8), 0, 0, 1, 1)]
    for number in range(1, draw(st.integers(1, 25))):
        far = st.integers(max(0, number - 6), number - 1)
        sources = tuple(nodes[n].name for n in sorted(draw(st.sets(far, min_size=1, max_size=3))))
        names = OPERATIONS if len(sources) == 1 else JOINS
        shape = draw(st.sampled_from([(8, 8, 8), (8, 4, 4), (8, 1, 1), (8,), ()]))
        name, operation = f"{number % 3}.n{number}", draw(st.sampled_from(names))
        nodes.append(Node(name, operation, sources, shape, 1, 1, None, None))
    edges = tuple((source, node.name) for node in nodes for source in node.inputs)
    return Graph(tuple(nodes), edges)


def leaves(items: Series) -> list[int]:
    def inside(item: Item) -> list[int]:
        match item:
            case Split():
                return [number for branch in item.branches for number in leaves(branch)]
            case Tangle():
                return list(item.members)
            case _:
                return [item]

    return [number for item in items for number in inside(item)]


@given(graphs())
@settings(max_examples=150, deadline=None)
def test_any_wiring_is_parted_without_loss(wired: Graph) -> None:
    made = units(wired)

    assert sorted(n for unit in made for n in unit.members) == list(range(len(wired.nodes)))
    assert sorted(leaves(series(made))) == list(range(len(made)))
    drawn = column("any", wired)
    shapes = [shape for piece in drawn.pieces for shape in piece.fragment.shapes]
    things = [shape.unit for shape in shapes if isinstance(shape, Box | Circle)]
    assert len(things) == len(set(things))


def test_deep_nesting_is_drawn() -> None:
    """Forks inside forks, hundreds deep, end in a tangle and not in an error."""
    names = ["input", *(f"c{n}" for n in range(120))]
    nodes = [Node("input", "input", (), (8, 8, 8), 0, 0, 1, 1)]
    for before, name in zip(names, names[1:], strict=False):
        nodes.append(Node(name, "convolution 3x3, 8", (before,), (8, 8, 8), 1, 1, 1, 1))
    last = names[-1]
    for number, other in enumerate(reversed(names[:-1])):
        nodes.append(Node(f"a{number}", "add", (last, other), (8, 8, 8), 0, 0, 1, 1))
        last = f"a{number}"

    drawn = column("nested", Graph(tuple(nodes), ()))

    assert sorted(n for p in drawn.pieces for n in p.members) == list(range(len(drawn.units)))
