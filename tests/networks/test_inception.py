"""GoogLeNet and BN-Inception: their papers' counts, table rows and heads."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from residua import networks
from residua.errors import Refused
from residua.networks.graph import graph
from residua.networks.inception import (
    BN_INCEPTION,
    GOOGLENET,
    Inception,
    Layer,
    inception,
    response_norm,
)
from residua.networks.network import Network

# (name, parameters, billions of multiply-adds)
COUNTS = (
    ("googlenet", 13_378_280, "1.583"),
    ("googlenet-auxiliary=no", 6_998_552, "1.583"),
    ("googlenet-bn-3x3", 13_004_888, "1.498"),
    ("googlenet-bn-3x3-auxiliary=no", 6_624_904, "1.498"),
    ("bn-inception", 11_285_224, "2.033"),
    ("bn-inception-bias=yes", 11_295_240, "2.033"),
)
# channels and positions at the end of each module as the papers print them
PRINTED: dict[str, dict[str, tuple[int, int]]] = {
    "googlenet": {
        "3a": (256, 28),
        "3b": (480, 28),
        "4a": (512, 14),
        "4b": (512, 14),
        "4c": (512, 14),
        "4d": (528, 14),
        "4e": (832, 14),
        "5a": (832, 7),
        "5b": (1024, 7),
    },
    "bn-inception": {
        "3a": (256, 28),
        "3b": (320, 28),
        "3c": (576, 14),
        "4a": (576, 14),
        "4b": (576, 14),
        "4c": (608, 14),
        "4d": (608, 14),
        "4e": (1056, 7),
        "5a": (1024, 7),
        "5b": (1024, 7),
    },
}


def on_meta(name: str, classes: int | None = None) -> Network:
    with torch.device("meta"):
        return networks.build(name, classes)


def parameters(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


@pytest.mark.parametrize(("name", "weights", "billions"), COUNTS)
def test_counts_are_the_papers(name: str, weights: int, billions: str) -> None:
    network = on_meta(name)
    drawn = graph(network, (3, 224, 224))

    assert parameters(network) == weights
    assert drawn.parameters == weights - parameters(network.auxiliary)
    assert f"{drawn.multiply_adds / 1e9:.3f}" == billions
    assert drawn.nodes[-1].shape == (1000,)


def test_the_auxiliary_heads_have_half_of_googlenets_parameters() -> None:
    heads = on_meta("googlenet").auxiliary

    assert parameters(heads) == 6_379_728
    assert list(heads) == ["stage4a", "stage4d"]


@pytest.mark.parametrize("name", PRINTED)
def test_modules_have_the_printed_shapes(name: str) -> None:
    network = on_meta(name).eval()
    x = network.features.stem(torch.empty(1, 3, 224, 224, device="meta"))
    assert x.shape == (1, 192, 56, 56)

    found = {}
    for stage, modules in list(network.features.named_children())[1:]:
        for child, module in modules.named_children():
            x = module(x)
            if child != "pool":
                found[stage.removeprefix("stage")[0] + child] = (x.shape[1], x.shape[2])

    assert found == PRINTED[name]


def test_the_stem_shrinks_as_table_1_says() -> None:
    stem, x = on_meta("googlenet").features.stem, torch.empty(1, 3, 224, 224, device="meta")
    positions = {name: (x := layer(x)).shape[-1] for name, layer in stem.named_children()}

    assert positions["conv1"] == 112
    assert positions["pool"] == positions["conv3"] == 56
    assert [name for name in positions if name.startswith("response")] == ["response1", "response2"]


def test_response_normalization_is_that_of_2012() -> None:
    """b_i = a_i / (2 + 1e-4 sum a_j^2)^0.75 over five neighboring channels j (section 3.3)."""
    a = 100 * torch.randn(1, 7, 2, 2, generator=torch.Generator().manual_seed(0))
    squares = F.pad(a**2, (0, 0, 0, 0, 2, 2))
    total = torch.stack([squares[:, j : j + 7] for j in range(5)]).sum(0)

    torch.testing.assert_close(response_norm()(a), a / (2 + 1e-4 * total) ** 0.75)


def test_every_level_of_a_feature_pyramid_is_there() -> None:
    for name, widths in (("googlenet", (192, 480, 832, 1024)), ("bn-inception", (192, 320, 608))):
        features = on_meta(name).features.eval()
        levels = range(2, 2 + len(widths))

        maps = features(torch.empty(1, 3, 64, 96, device="meta"), levels)

        assert [(m.shape[1], *m.shape[2:]) for m in maps] == [
            (width, 64 // 2**level, 96 // 2**level)
            for level, width in zip(levels, widths, strict=True)
        ]


def test_the_longest_path_has_22_and_34_weighted_layers() -> None:
    for name in PRINTED:
        network = on_meta(name)
        depths: dict[str, int] = {"input": 0}
        for node in graph(network, (3, 224, 224)).nodes[1:]:
            weighted = node.operation.startswith(("convolution", "linear"))
            depths[node.name] = max(depths[source] for source in node.inputs) + weighted

        assert depths["head.linear"] == network.depth == {"googlenet": 22, "bn-inception": 34}[name]


@pytest.mark.parametrize(
    ("name", "pixels"),
    # By hand, along the branch that sees most: the stem's 27 pixels with the pool after it, then
    # 4 j for each 5x5 or pair of 3x3 and 2 j for each pool and single 3x3, at strides j of 8 to 32.
    [("googlenet", 715), ("googlenet-bn-3x3", 379), ("bn-inception", 699)],
)
def test_the_receptive_field_is_that_of_the_branch_that_sees_most(name: str, pixels: int) -> None:
    network = on_meta(name)
    nodes = {node.name: node for node in graph(network, (3, 224, 224)).nodes}

    last = nodes["features.stage5.b.cat"]
    assert (last.receptive_field, last.stride) == (pixels, network.stride) == (pixels, 32)


# Modules.


def chain(x: torch.Tensor, state: dict[str, torch.Tensor], branch: str) -> torch.Tensor:
    """Apply the convolutions of a branch, with biases, in the order of their numbers."""
    for name in sorted({key.rpartition(".")[0] for key in state if key.startswith(f"{branch}.")}):
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        x = F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2).relu()
    return x


def test_a_module_concatenates_its_branches_in_the_papers_order() -> None:
    torch.manual_seed(0)
    windows = {"one": [(2, 1, 1)], "three": [(3, 1, 1), (4, 3, 1)], "five": [(1, 1, 1), (3, 5, 1)]}
    module = inception(6, windows, nn.MaxPool2d(3, 1, 1), 5, Layer(bias=True, norm=False))
    x, state = torch.randn(2, 6, 7, 5), module.state_dict()

    parts = [chain(x, state, branch) for branch in ("one", "three", "five")]
    parts.append(chain(F.max_pool2d(x, 3, 1, 1), state, "pool"))

    torch.testing.assert_close(module(x), torch.cat(parts, 1))
    assert module.width == module(x).shape[1] == 14


def test_a_module_without_projection_passes_its_input_on() -> None:
    pool = nn.MaxPool2d(3, 2, 1)
    module = inception(6, {"three": [(4, 3, 2)]}, pool, 0, Layer(bias=False, norm=True)).eval()
    x = torch.randn(2, 6, 7, 5)

    assert torch.equal(module(x)[:, 4:], pool(x))
    assert module.width == 10


@pytest.mark.parametrize("name", ["bn-inception", "googlenet-bn-3x3"])
def test_batch_norm_stands_between_every_convolution_and_its_relu(name: str) -> None:
    features = on_meta(name).features
    for sequence in features.modules():
        if not isinstance(sequence, nn.Sequential):
            continue
        names = [type(layer).__name__ for layer in sequence]
        at = [index for index, kind in enumerate(names) if kind == "Conv2d"]
        assert all(names[i + 1 : i + 3] == ["BatchNorm2d", "ReLU"] for i in at)
    assert all(layer.bias is None for layer in features.modules() if isinstance(layer, nn.Conv2d))


@pytest.mark.parametrize("filters", ["5x5", "3x3"])
def test_filters_decide_the_large_convolution_of_every_module(filters: str) -> None:
    features = on_meta(f"googlenet-{filters}").features
    modules = [module for module in features.modules() if isinstance(module, Inception)]

    assert len(modules) == len(GOOGLENET)
    for module in modules:
        branch: Any = module.get_submodule("five")
        assert branch.conv2.kernel_size == (int(filters[0]),) * 2


def test_the_strided_modules_have_neither_1x1_nor_projection() -> None:
    for module, (one, *_, pool, projection) in BN_INCEPTION.items():
        assert (one == 0) == (projection == 0) == (module in ("3c", "4e"))
        assert pool == ("max" if module in ("3c", "4e", "5b") else "average")


# Networks.


@pytest.mark.parametrize("name", ["googlenet", "googlenet-bn-3x3", "bn-inception"])
def test_gradients_of_all_outputs_reach_every_parameter(name: str) -> None:
    network = networks.build(name, 5)
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    logits = network.outputs(images)
    labels = torch.tensor([0, 4, 1, 2])
    torch.stack([F.cross_entropy(each, labels) for each in logits]).sum().backward()

    assert [tuple(each.shape) for each in logits] == [(4, 5)] * (1 + len(network.auxiliary))
    for parameter, weight in network.named_parameters():
        assert weight.grad is not None, parameter
        assert bool(weight.grad.isfinite().all()), parameter
        assert bool(weight.grad.any()), parameter


@pytest.mark.parametrize("name", ["googlenet", "bn-inception"])
def test_evaluation_is_deterministic_and_drops_nothing(name: str) -> None:
    network = networks.build(name, 5).eval()
    images = torch.randn(2, 3, 64, 64)

    with torch.no_grad():
        first, again = network.outputs(images), network.outputs(images)
        main = network(images)

    assert all(map(torch.equal, first, again))
    assert torch.equal(first[0], main)
    assert torch.equal(main, network.head(network.features(images)))


def test_the_auxiliary_pool_is_the_papers_at_14x14_positions() -> None:
    head = networks.build("googlenet", 5).auxiliary["stage4a"].eval()
    maps = torch.randn(2, 512, 14, 14)
    pooled = F.avg_pool2d(maps, 5, 3)
    assert pooled.shape[2:] == (4, 4)

    assert torch.equal(head.resize(head.pool(maps)), pooled)


@pytest.mark.parametrize(
    ("name", "smallest"),
    [
        ("googlenet", 47),
        ("googlenet-auxiliary=no", 31),
        ("googlenet-3x3-auxiliary=no", 15),
        ("bn-inception", 1),
    ],
)
def test_the_smallest_image_is_the_least_that_passes(name: str, smallest: int) -> None:
    network = on_meta(name, 5).eval()
    for size in (smallest, smallest + 1, 2 * smallest + 1):
        logits = network.outputs(torch.empty(1, 3, size, size + 3, device="meta"))
        assert {tuple(each.shape) for each in logits} == {(1, 5)}

    with pytest.raises(Refused, match="too small"):
        network(torch.empty(1, 3, smallest - 1, 300, device="meta"))
    network.smallest = 0
    with pytest.raises(RuntimeError):
        network.outputs(torch.empty(1, 3, smallest - 1, 300, device="meta"))


@pytest.mark.parametrize("size", [(33, 33), (45, 61)])
def test_branches_of_bn_inception_agree_on_odd_images(size: tuple[int, int]) -> None:
    maps = on_meta("bn-inception").features.eval()(torch.empty(1, 3, *size, device="meta"))

    assert maps.shape == (1, 1024, *(-(-side // 32) for side in size))


def test_averages_leave_the_padding_out() -> None:
    features: Any = on_meta("bn-inception").features
    pool = features.stage4.a.pool.pool

    assert torch.equal(pool(torch.ones(1, 2, 4, 4)), torch.ones(1, 2, 4, 4))
