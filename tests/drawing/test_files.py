"""The picture and the page: whole, self-contained, harmless, small, and the paper's figures."""

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from residua.drawing import Drawing, draw
from residua.drawing.colors import palette
from residua.errors import Refused
from residua.networks.graph import Graph, Node
from residua.theme import INKS

Find = Callable[[str], Graph]
SPACE = "{http://www.w3.org/2000/svg}"
FIGURE_3 = ("vgg19", "plain34", "resnet34-a")


def drawing(found: Find, *names: str, **options: object) -> Drawing:
    return draw([(name, found(name)) for name in names], **options)  # type: ignore[arg-type]


def looks(svg: str) -> list[str]:
    """The classes of everything in a picture, its legend left out."""
    return re.findall(r'class="([^"]+)"', svg.partition('class="legend"')[0])


def operations(svg: str) -> set[int]:
    return {int(n) for group in re.findall(r'data-n="([^"]+)"', svg) for n in group.split()}


def test_figure_3(found: Find) -> None:
    svg = drawing(found, *FIGURE_3).svg()
    texts = [text.text for text in ElementTree.fromstring(svg).iter(SPACE + "text")]
    sizes = [text for text in texts if text and re.fullmatch(r"\d+ × \d+|1", text)]

    assert sizes == ["224 × 224", "112 × 112", "56 × 56", "28 × 28", "14 × 14", "7 × 7", "1"]
    assert texts.count("7×7 conv, 64, /2") == 2
    assert texts.count("3×3 conv, 512, /2") == 2
    assert texts.count("fc 1000") == 3
    assert looks(svg).count("arc") == 13  # identity shortcuts
    assert looks(svg).count("dashed") == 3  # those that change the shape
    assert "19.632 G multiply-adds" in texts


def test_projections_have_a_box_on_their_arc(found: Find) -> None:
    svg = drawing(found, "resnet34").svg()

    assert len(re.findall(r">1×1, /2</text>", svg)) == 3


@pytest.mark.parametrize("theme", INKS)
def test_a_picture_stands_alone(found: Find, theme: str) -> None:
    svg = drawing(found, "resnet34").svg(theme)
    root = ElementTree.fromstring(svg)

    assert "var(--" not in svg and INKS[theme].paper in svg
    assert not re.search(r"(href|src)=|@import|url\(", svg)
    assert root.get("role") == "img"
    assert root.findtext(SPACE + "title") == "resnet34"
    assert "21.8 M parameters" in str(root.findtext(SPACE + "desc"))


def test_long_networks_fold_unless_told(found: Find) -> None:
    folded, whole = drawing(found, "resnet110-cifar"), drawing(found, "resnet34")

    assert "× 17" in folded.svg() and "× 3" not in whole.svg()
    assert "× 3" in drawing(found, "resnet34", folded=True).svg()
    nodes = found("resnet110-cifar").nodes
    assert operations(drawing(found, "resnet110-cifar", folded=False).svg()) == set(
        range(len(nodes))
    )


@pytest.mark.parametrize("name", ["googlenet", "highway19-cifar", "unet", "branches", "dense"])
def test_every_operation_is_in_the_picture(found: Find, name: str) -> None:
    svg = drawing(found, name, folded=False).svg()

    assert operations(svg) == set(range(len(found(name).nodes)))
    ElementTree.fromstring(svg)


class Reader(HTMLParser):
    """What a page holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_a_page_allows_its_own_style_and_script_only(found: Find) -> None:
    page = drawing(found, "resnet20-cifar").page()
    policy = page.partition('Policy" content="')[2].partition('"')[0]

    assert policy.startswith("default-src 'none';")
    for kind in ("style", "script"):
        text = page.partition(f"<{kind}>")[2].partition(f"</{kind}>")[0]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert text and f"{kind}-src 'sha256-{digest}'" in policy
    names = {name for _, attributes in Reader(page).tags for name in attributes}
    assert not [name for name in names if name.startswith("on")] and "style" not in names
    assert not re.search(r"(href|src)=", page)


def test_a_page_lists_every_operation(found: Find) -> None:
    page = drawing(found, "resnet20-cifar", "plain20-cifar").page()

    for index, name in enumerate(("resnet20-cifar", "plain20-cifar")):
        table = page.partition(f'id="operations{index}"')[2].partition("</table>")[0]
        nodes = found(name).nodes
        rows = table.partition("<tbody>")[2].split("<tr>")[1:]
        assert [row.split("<td>")[1] for row in rows] == [node.name for node in nodes]
        assert [row.split("<td>")[5] for row in rows] == [
            f"{node.multiply_adds:,}" if node.multiply_adds else "" for node in nodes
        ]


def test_a_folded_block_says_how_to_repeat_it(found: Find) -> None:
    page = drawing(found, "resnet110-cifar").page()
    runs = [attributes for _, attributes in Reader(page).tags if attributes.get("class") == "run"]

    assert [run["data-count"] for run in runs] == ["18", "17", "17"]
    assert {run["data-step"] for run in runs} == {"7"}
    assert "data-unfold" not in page.partition("<script>")[0]
    assert "data-unfold" in drawing(found, "resnet34").page().partition("<script>")[0]


def test_1202_layers_are_a_small_page(found: Find) -> None:
    page = drawing(found, "resnet1202-cifar").page()

    assert len(page) < 1_000_000
    assert "1202 layers" in page


def test_names_from_outside_stay_text() -> None:
    hostile = '</title><script>alert("1")</script>\u202e\0'
    nodes = (
        Node("input", "input", (), (3, 8, 8), 0, 0, 1, 1),
        Node(hostile, hostile, ("input",), (3, 8, 8), 0, 0, 1, 1),
    )
    made = draw([(hostile, Graph(nodes, (("input", hostile),)))])

    ElementTree.fromstring(made.svg())
    page = made.page()
    assert page.count("<script>") == 1 and "\u202e" not in page and "\0" not in page


@pytest.mark.parametrize("theme", INKS)
def test_texts_stand_out_from_their_boxes(theme: str) -> None:
    """At least the contrast of 4.5 that accessibility guidelines (WCAG 2.2, 1.4.3) ask of text."""

    def light(color: str) -> float:
        parts = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    colors = palette(theme)
    pairs = [("ink", f"fill{i}") for i in range(6)] + [("ink", "soft"), ("muted", "paper")]
    for text, ground in pairs:
        high, low = sorted((light(colors[text]), light(colors[ground])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)


# Blocks: figures 2 and 5.


def test_figures_2_and_5(found: Find) -> None:
    svg = drawing(found, "resnet34", "resnet50", block="stage1.1").svg()
    texts = [text.text for text in ElementTree.fromstring(svg).iter(SPACE + "text")]

    assert texts.count("F(x) + x") == texts.count("F(x)") == 2
    assert texts.count("identity") == 2
    assert texts.count("relu") == 2 + 3
    assert "x 256 × 56 × 56" in texts
    assert texts.index("1×1 conv, 64") < texts.index("1×1 conv, 256")


def test_a_block_that_changes_the_shape(found: Find) -> None:
    svg = drawing(found, "resnet34-a", block="features.stage2.0").svg()

    assert "F(x) + h(x)" in svg and "identity" not in looks(svg)
    assert looks(svg).count("dashed") == 1


def test_parts_are_found_by_their_names(found: Find) -> None:
    assert "fc 1000" in drawing(found, "resnet34", block="head").svg()
    assert "F(x)" not in drawing(found, "plain34", block="stage1.1").svg()
    with pytest.raises(Refused, match=r"did you mean stage1.1\?"):
        drawing(found, "resnet34", block="stag1.1")
    with pytest.raises(Refused, match='no block "zzz"'):
        drawing(found, "one", block="zzz")


def test_how_many_networks(found: Find) -> None:
    for count in (0, 7):
        with pytest.raises(Refused, match="1 to 6"):
            drawing(found, *["resnet20-cifar"] * count)
    with pytest.raises(Refused, match="exactly 2"):
        drawing(found, "resnet34", compare=True)
