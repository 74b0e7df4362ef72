"""What differs between twins and versions is found, and nothing else."""

from collections.abc import Callable

from residua.drawing import draw
from residua.networks.graph import Graph

Find = Callable[[str], Graph]


def test_plain_and_residual_twins_differ_in_their_shortcuts(found: Find) -> None:
    names = ("plain34", "resnet34-a")
    made = draw([(name, found(name)) for name in names], compare=True)

    assert sum(each.count for each in made.differences) == 16
    for each in made.differences:
        assert each.parameters == each.multiply_adds == 0
        assert each.left is not None and each.right is not None
        assert each.right.startswith(f"{each.left}; shortcut ")
    assert not made.columns[0].marks
    right = made.columns[1]
    assert {right.units[number].lead.operation for number in right.marks} == {"add", "zero pad"}
    assert set(right.marks.values()) == {"only"}


def test_a_stride_that_moves_is_seen_with_what_it_costs(found: Find) -> None:
    left, right = found("resnet50"), found("resnet50-v1.5")
    made = draw([("v1", left), ("v1.5", right)], compare=True)

    assert [each.name for each in made.differences] == [
        "stage2 block 1",
        "stage3 block 1",
        "stage4 block 1",
    ]
    assert made.differences[0].left == "1x1/2 128, 3x3 128, 1x1 512; shortcut 1x1/2 512"
    assert made.differences[0].right == "1x1 128, 3x3/2 128, 1x1 512; shortcut 1x1/2 512"
    gained = sum(each.multiply_adds for each in made.differences)
    assert gained == right.multiply_adds - left.multiply_adds
    for column in made.columns:
        changed = [column.units[number].lead.name for number in column.marks]
        assert [name.rpartition(".")[2] for name in changed] == ["conv1", "conv2"] * 3


def test_costs_add_up_whatever_is_compared(found: Find) -> None:
    for names in (("vgg19", "resnet34"), ("resnet34", "resnet50"), ("unet", "theirs")):
        left, right = map(found, names)
        made = draw(list(zip(names, (left, right), strict=True)), compare=True)
        gained = sum(each.parameters for each in made.differences)
        assert gained == right.parameters - left.parameters
        counted = sum(each.multiply_adds for each in made.differences)
        assert counted == right.multiply_adds - left.multiply_adds


def test_a_network_and_itself(found: Find) -> None:
    made = draw([("a", found("resnet34")), ("b", found("resnet34"))], compare=True)

    assert not made.differences and not any(column.marks for column in made.columns)


def test_what_differs_is_colored_and_listed(found: Find) -> None:
    pair = [(name, found(name)) for name in ("plain34", "resnet34")]
    made = draw(pair, compare=True)

    assert "in one network only" in made.svg() and "a color for each size" not in made.svg()
    assert "<h2>Differences</h2>" in made.page()
    assert "+8,448" in made.page()
