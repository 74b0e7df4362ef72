"""Counts that the papers print, shapes, receptive fields, and tables that fit a screen."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from residua import networks
from residua.errors import Refused
from residua.networks.graph import Graph, Node, graph, rows
from residua.networks.network import Network

PHOTOGRAPH, SMALL = (3, 224, 224), (3, 32, 32)
# (name, parameters, billions of multiply-adds as printed)
PHOTOGRAPH_COUNTS = (
    ("plain18", 11_515_688, "1.795"),
    ("plain34", 21_623_848, "3.644"),
    ("resnet18-a", 11_515_688, "1.795"),
    ("resnet34-a", 21_623_848, "3.644"),
    ("resnet18", 11_689_512, "1.814"),
    ("resnet34", 21_797_672, "3.664"),
    ("resnet18-c", 12_043_816, "1.878"),
    ("resnet34-c", 22_716_840, "3.831"),
    ("resnet50", 25_557_032, "3.858"),
    ("resnet50-v1.5", 25_557_032, "4.089"),
    ("resnet101", 44_549_160, "7.570"),
    ("resnet101-v1.5", 44_549_160, "7.801"),
    ("resnet152", 60_192_808, "11.282"),
    ("resnet152-v1.5", 60_192_808, "11.514"),
    ("resnet50-c", 40_128_552, "6.324"),
    ("vgg19", 143_667_240, "19.632"),
    ("vgg16", 138_357_544, "15.470"),
    ("vgg19-bn", 143_678_248, "19.632"),
    ("alexnet", 60_965_224, "0.724"),
    ("alexnet-2014", 61_100_840, "0.714"),
    ("nin", 7_595_176, "1.100"),
    ("googlenet-auxiliary=no", 6_998_552, "1.583"),
    ("googlenet-bn-3x3-auxiliary=no", 6_624_904, "1.498"),
    ("bn-inception", 11_285_224, "2.033"),
    ("bn-inception-bias=yes", 11_295_240, "2.033"),
)
SMALL_COUNTS = (
    ("resnet20-cifar", 269_722, "0.0406"),
    ("resnet32-cifar", 464_154, "0.0689"),
    ("resnet44-cifar", 658_586, "0.0972"),
    ("resnet56-cifar", 853_018, "0.1255"),
    ("resnet110-cifar", 1_727_962, "0.2529"),
    ("resnet1202-cifar", 19_421_274, "2.829"),
    ("plain20-cifar", 269_722, "0.0406"),
    ("plain110-cifar", 1_727_962, "0.2529"),
    ("preact164-cifar", 1_703_258, "0.2445"),
    ("preact1001-cifar", 10_327_706, "1.488"),
    ("nin-cifar", 966_986, "0.222"),
)
PARAMETERS = (
    ("resnet20-cifar-b", 272_474),
    ("resnet56-cifar-b", 855_770),
    ("resnet110-cifar-b", 1_730_714),
    ("googlenet", 13_378_280),
    ("googlenet-bn-3x3", 13_004_888),
)


def on_meta(name: str) -> Network:
    with torch.device("meta"):
        return networks.build(name)


@cache
def drawn(name: str) -> Graph:
    size = networks.parse(name)[0].size
    return graph(on_meta(name), (3, size, size))


@pytest.mark.parametrize(("name", "parameters", "billions"), PHOTOGRAPH_COUNTS + SMALL_COUNTS)
def test_counts_are_the_papers(name: str, parameters: int, billions: str) -> None:
    network = on_meta(name)
    found = drawn(name)

    assert sum(weight.numel() for weight in network.parameters()) == parameters
    assert found.parameters == parameters
    assert f"{found.multiply_adds / 1e9:.{len(billions.partition('.')[2])}f}" == billions
    assert found.nodes[-1].shape == (network.classes,)


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS)
def test_parameters_are_those_counted(name: str, parameters: int) -> None:
    assert sum(weight.numel() for weight in on_meta(name).parameters()) == parameters


def test_other_counts_of_nin_and_of_highway_layers() -> None:
    with torch.device("meta"):
        nin = networks.build("nin-cifar", 100)
        gated, plain = networks.build("highway10-fc"), networks.build("plain10-fc")

    def size(module: nn.Module) -> int:
        return sum(weight.numel() for weight in module.parameters())

    assert size(nin) == 984_356
    assert size(gated.features.stage1[0]) == 5_100
    assert size(plain.features.stage1[0]) == 5_112


@pytest.mark.parametrize(
    ("name", "pixels"),
    # The widths of the 3x3 windows, summed by hand: 1 + sum over convolutions of (k - 1) j.
    [
        ("resnet18", 435),
        ("resnet34", 899),
        ("resnet50", 483),
        ("resnet50-v1.5", 427),
        ("resnet101", 1027),
        ("resnet152", 1507),
        ("resnet20-cifar", 81),
    ],
)
def test_receptive_fields_of_the_last_feature_map(name: str, pixels: int) -> None:
    nodes = drawn(name).nodes
    last = [node for node in nodes if len(node.shape) == 3 and node.shape[1] > 1][-1]

    assert last.receptive_field == pixels
    assert last.stride == on_meta(name).stride


def test_the_receptive_field_is_what_gradients_reach() -> None:
    """An oracle: the input pixels on which one position depends, far from the border."""
    features = networks.build("resnet8-cifar").features.eval()
    x = torch.randn(1, 3, 65, 65, requires_grad=True)
    features(x)[0, :, 8, 8].sum().backward()
    assert x.grad is not None
    touched = x.grad.abs().sum((0, 1)).nonzero()

    node = next(n for n in graph(features, (3, 65, 65)).nodes[::-1] if n.operation == "relu")

    assert (touched.max(0).values - touched.min(0).values + 1).tolist() == [
        node.receptive_field
    ] * 2


def test_a_block_joins_branch_and_shortcut() -> None:
    nodes = {node.name: node for node in drawn("resnet20-cifar").nodes}
    first, later = "features.stage2.0", "features.stage2.1"

    assert nodes[f"{first}.add"].inputs == (f"{first}.branch.norm2", f"{first}.shortcut")
    assert nodes[f"{first}.shortcut"].operation == "zero pad"
    assert nodes[f"{first}.shortcut"].inputs == ("features.stage1.2.after",)
    assert nodes[f"{later}.add"].inputs == (f"{later}.branch.norm2", f"{first}.after")
    assert nodes[f"{first}.branch.conv1"].operation == "convolution 3x3/2, 32"
    assert nodes[f"{first}.branch.conv1"].shape == (32, 16, 16)


def test_edges_join_existing_nodes_and_every_result_is_used() -> None:
    found = drawn("preact164-cifar")
    names = [node.name for node in found.nodes]

    assert len(set(names)) == len(names)
    assert names[0] == "input"
    for source, target in found.edges:
        assert names.index(source) < names.index(target)
    assert set(names) - {source for source, _ in found.edges} == {"head.linear"}


def test_a_live_network_is_left_as_it_was() -> None:
    network = networks.build("resnet8-cifar", 4)
    fired: list[str] = []
    network.features.register_forward_hook(lambda *_: fired.append("features"))
    network.features.stem.conv.register_forward_hook(lambda *_: fired.append("conv"))
    before = {name: (id(value), value.clone()) for name, value in network.state_dict().items()}
    weights = [id(weight) for weight in network.parameters()]

    graph(network, (3, 16, 16))

    assert not fired
    assert network.training and all(module.training for module in network.modules())
    assert [id(weight) for weight in network.parameters()] == weights
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name][1])
    assert network(torch.zeros(1, 3, 16, 16)).shape == (1, 4)


# Networks of others.


class Other(nn.Module):
    """What people write: shared activations, functions, sizes asked of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, dilation=1)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4)
        self.relu = nn.ReLU(inplace=True)
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv1(x))
        x = F.max_pool2d(x, 2)
        y = self.relu(self.conv2(x))
        y += x * self.scale
        left, right = y.chunk(2, dim=1)
        y = torch.cat([left, right], 1)
        y = F.adaptive_avg_pool2d(y, 1).view(y.size(0), -1)
        return self.fc(y)


def by_name(network: nn.Module, shape: tuple[int, int, int]) -> dict[str, Node]:
    return {node.name: node for node in graph(network, shape).nodes}


def test_functions_attributes_and_shared_modules_are_followed() -> None:
    network = Other()
    nodes = by_name(network, (3, 12, 12))

    assert sum(node.parameters for node in nodes.values()) == sum(
        weight.numel() for weight in network.parameters()
    )
    assert {"relu", "relu:2", "max_pool2d", "add", "mul", "cat", "scale", "fc"} <= set(nodes)
    assert nodes["scale"] == Node("scale", "constant", (), (8, 1, 1), 8, 0, None, None)
    assert nodes["conv2"].operation == "convolution 3x3, 8, 4 groups"
    assert nodes["conv2"].multiply_adds == 6 * 6 * 8 * 2 * 9
    assert nodes["cat"].inputs == ("getitem", "getitem:2")
    assert nodes["getitem"].inputs == nodes["getitem:2"].inputs == ("add",)
    views = {name: nodes[name][-2:] for name in ("conv1", "max_pool2d", "conv2", "cat", "fc")}
    assert views == {
        "conv1": (3, 1),
        "max_pool2d": (4, 2),
        "conv2": (12, 2),
        "cat": (12, 2),
        "fc": (22, 12),
    }


def test_a_module_used_twice_counts_its_parameters_once_and_its_work_twice() -> None:
    conv = nn.Conv2d(4, 4, 1)
    found = graph(nn.Sequential(conv, nn.ReLU(), conv), (4, 5, 5))

    assert found.parameters == 20
    assert found.multiply_adds == 2 * 25 * 16


@pytest.mark.parametrize(
    ("layer", "multiply_adds"),
    [
        (nn.ConvTranspose2d(4, 6, 2, stride=2), 25 * 4 * 6 * 4),
        (nn.Upsample(scale_factor=2), 0),
    ],
)
def test_what_has_no_fixed_window_says_so(layer: nn.Module, multiply_adds: int) -> None:
    node = graph(nn.Sequential(layer, nn.ReLU()), (4, 5, 5)).nodes[-2]

    assert (node.multiply_adds, node.receptive_field, node.stride) == (multiply_adds, None, None)
    assert node.shape[1:] == (10, 10)


def test_functional_products_count() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = nn.Parameter(torch.zeros(6, 4, 3, 3))
            self.matrix = nn.Parameter(torch.zeros(2, 6))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(F.conv2d(x, self.kernel).mean((2, 3)), self.matrix)

    found = graph(Functional(), (4, 5, 5))

    assert found.parameters == 6 * 4 * 9 + 12
    assert found.multiply_adds == 9 * 6 * 4 * 9 + 12


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_what_cannot_be_followed_is_named() -> None:
    network = nn.Sequential(nn.ReLU(), nn.Sequential(Branching()))

    with pytest.raises(
        Refused, match=r"cannot be followed[\s\S]*where: 1\.0 \(Branching\.forward\)"
    ):
        graph(network, (3, 8, 8))


@pytest.mark.parametrize(
    ("make", "shape", "says"),
    [
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(5, 4, 3)), (3, 8, 8), "1 cannot take"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 9)), (3, 8, 8), "0 cannot take"),
        (lambda: networks.build("resnet18"), (1, 64, 64), "build it with channels=1"),
        (lambda: networks.build("resnet18"), (3, 16, 16), "too small"),
        (lambda: nn.ReLU(), (3, 0, 8), "each at least 1"),
        (lambda: nn.ReLU(), (3, 8), "channels, height and width"),
        (lambda: nn.Bilinear(2, 2, 2), (3, 8, 8), "cannot take its input|cannot be followed"),
    ],
)
def test_images_that_do_not_fit_are_refused(
    make: Callable[[], nn.Module], shape: Any, says: str
) -> None:
    with pytest.raises(Refused, match=says):
        graph(make(), shape)


# The table.


@pytest.mark.parametrize(
    "name", ["resnet50", "resnet34-a", "plain34", "resnet110-cifar", "preact164-cifar"]
)
def test_a_folded_table_fits_a_screen_and_loses_nothing(name: str) -> None:
    found = drawn(name)
    folded, flat = rows(found), rows(found, fold=False)

    assert len(folded) <= 12
    assert [row.name for row in flat] == [node.name for node in found.nodes]
    for table in (folded, flat):
        assert sum(row.parameters for row in table) == found.parameters
        assert sum(row.multiply_adds for row in table) == found.multiply_adds
        assert table[-1].receptive_field == found.nodes[-1].receptive_field


def test_like_blocks_share_a_row() -> None:
    table = [(row.name, row.count, row.operation) for row in rows(drawn("resnet50"))]

    assert table == [
        ("input", 1, "input"),
        ("stem", 1, "7x7/2 64, max pool 3x3/2"),
        ("stage1 block 1", 1, "1x1 64, 3x3 64, 1x1 256; shortcut 1x1 256"),
        ("stage1 blocks 2-3", 2, "1x1 64, 3x3 64, 1x1 256; shortcut identity"),
        ("stage2 block 1", 1, "1x1/2 128, 3x3 128, 1x1 512; shortcut 1x1/2 512"),
        ("stage2 blocks 2-4", 3, "1x1 128, 3x3 128, 1x1 512; shortcut identity"),
        ("stage3 block 1", 1, "1x1/2 256, 3x3 256, 1x1 1024; shortcut 1x1/2 1024"),
        ("stage3 blocks 2-6", 5, "1x1 256, 3x3 256, 1x1 1024; shortcut identity"),
        ("stage4 block 1", 1, "1x1/2 512, 3x3 512, 1x1 2048; shortcut 1x1/2 2048"),
        ("stage4 blocks 2-3", 2, "1x1 512, 3x3 512, 1x1 2048; shortcut identity"),
        ("head", 1, "global average pool, linear 1000"),
    ]


def test_plain_and_padded_blocks_read_well() -> None:
    plain = {row.name: row.operation for row in rows(drawn("plain20-cifar"))}
    padded = {row.name: row.operation for row in rows(drawn("resnet20-cifar"))}
    early = {row.name: row.operation for row in rows(drawn("preact164-cifar"))}

    assert plain["stage1 blocks 1-3"] == "3x3 16, 3x3 16"
    assert padded["stage2 block 1"] == "3x3/2 32, 3x3 32; shortcut zero pad"
    assert early["stem"] == "convolution 3x3, 16"
    assert early["last"] == "batch norm, relu"


def test_single_layers_keep_their_names() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, (1, 3)))

    assert [(row.name, row.operation) for row in rows(graph(network, (3, 9, 9)))] == [
        ("input", "input"),
        ("0", "convolution 3x3, 4"),
        ("1", "relu"),
        ("2", "convolution 1x3, 4"),
    ]
