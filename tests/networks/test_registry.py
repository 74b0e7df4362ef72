"""Every network by name: what names mean, and what every network promises."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from residua import networks
from residua.errors import Refused
from residua.networks import NETWORKS
from residua.networks.graph import graph
from residua.networks.naming import Choice, Counts, chosen, split, written
from residua.networks.network import Head, Network

# Too many layers or weights for a test that computes; these run without data only.
DEAR = ("101", "110", "152", "164", "1001", "1202", "vgg", "wide-", "wide28", "wide40", "100-fc")
CHEAP = tuple(name for name in networks.names() if not any(part in name for part in DEAR))
GIANTS = ("1202", "1001")  # nor do these, more than a few times
# Weighted layers that a paper leaves out of its depth, or counts beside the longest path.
UNCOUNTED = {"-fc": 1, "wide16-cifar": -2, "wide28-cifar": -2, "wide40-cifar": -2}


def images(network: Network, batch: int = 2) -> torch.Tensor:
    """Return small images that more than one position remains of."""
    generator = torch.Generator().manual_seed(1)
    size = max(2 * network.stride, network.smallest)
    return torch.randn(batch, network.channels, size, size, generator=generator)


def on_meta(name: str, classes: int | None = None, channels: int = 3) -> Network:
    with torch.device("meta"):
        return networks.build(name, classes, channels)


@pytest.mark.parametrize("name", CHEAP)
def test_gradients_reach_every_parameter(name: str) -> None:
    network = networks.build(name, 5)
    outputs = network.outputs(images(network))
    torch.stack(
        [nn.functional.cross_entropy(logits, torch.tensor([0, 4])) for logits in outputs]
    ).sum().backward()

    assert all(logits.shape == (2, 5) for logits in outputs)
    for parameter, weight in network.named_parameters():
        assert weight.grad is not None, parameter
        assert bool(weight.grad.isfinite().all()), parameter
        assert bool(weight.grad.any()), parameter


@pytest.mark.parametrize("name", CHEAP)
def test_training_moves_statistics_and_evaluation_moves_nothing(name: str) -> None:
    network = networks.build(name, 5)
    x = images(network, 3)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with torch.no_grad():
        network(x)
        after = {key: value.clone() for key, value in network.state_dict().items()}
        network.eval()
        whole, alone = network(x), network(x[:1])

    moved = {key for key in before if not torch.equal(before[key], after[key])}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    assert moved == {key for key in before if key.endswith(statistics)}
    assert all(torch.equal(after[key], value) for key, value in network.state_dict().items())
    torch.testing.assert_close(whole[:1], alone, rtol=1e-3, atol=1e-3 * whole.abs().max().item())


@pytest.mark.parametrize("name", CHEAP)
def test_saved_weights_make_the_same_function(name: str) -> None:
    saved, loaded = networks.build(name, 5).eval(), on_meta(name, 5).eval()
    x = images(saved)
    loaded.to_empty(device="cpu").load_state_dict(saved.state_dict())
    with torch.no_grad():
        assert torch.equal(saved(x), loaded(x))
        assert torch.equal(saved(x), saved.head(saved.features(x)))


@pytest.mark.parametrize("name", [n for n in networks.names() if not any(d in n for d in GIANTS)])
def test_every_network_is_head_of_features(name: str) -> None:
    network = on_meta(name).eval()
    size = networks.parse(name)[0].size

    features = network.features(torch.empty(2, 3, size, size, device="meta"))

    assert network.name == name
    assert network.head(features).shape == (2, network.classes)
    assert network(torch.empty(2, 3, size, size, device="meta")).shape == (2, network.classes)


@pytest.mark.parametrize("name", [n for n in networks.names() if not any(d in n for d in GIANTS)])
def test_the_smallest_image_passes_and_a_smaller_one_does_not(name: str) -> None:
    network = on_meta(name).eval()
    size = network.smallest

    assert network(torch.empty(1, 3, size, size, device="meta")).shape == (1, network.classes)
    with pytest.raises(Refused, match=f"at least {size}x{size}"):
        network(torch.empty(1, 3, size, size - 1, device="meta"))


@pytest.mark.parametrize("name", [n for n in networks.names() if not any(d in n for d in GIANTS)])
def test_levels_are_the_last_maps_of_their_strides(name: str) -> None:
    network = on_meta(name).eval()
    levels, size = list(network.features.levels()), networks.parse(name)[0].size
    x = torch.empty(2, 3, size, size, device="meta")

    maps = network.features(x, levels=levels)

    assert maps[-1].shape == network.features(x).shape
    for level, found in zip(levels, maps, strict=True):
        # Convolutions without padding, AlexNet's and NIN's first, lose a few positions.
        assert found.shape[2] == 1 or abs(size / 2**level - found.shape[2]) < 1.5


def layers_along(module: nn.Module) -> int:
    """Count the weighted layers of the longest way through a network, shortcuts left out."""
    parts = {name: layers_along(child) for name, child in module.named_children()}
    if isinstance(module, nn.Conv2d | nn.Linear):
        return 1
    if isinstance(module, nn.Sequential):
        return sum(parts.values())
    if isinstance(module, Network | Head):
        return parts.get("features", 0) + parts.get("head", 0) + parts.get("linear", 0)
    return parts.get("branch", max(parts.values(), default=0))


@pytest.mark.parametrize("name", networks.names())
def test_depth_counts_weighted_layers(name: str) -> None:
    network = on_meta(name)
    uncounted = sum(number for part, number in UNCOUNTED.items() if part in name)
    assert layers_along(network) == network.depth + uncounted


def choices() -> list[str]:
    """Name a network for every value of every option of every family."""
    named = [
        (template.format(depth=50 if "stem" in family.options else family.depths[0]), family)
        for template, family in NETWORKS.items()
    ]
    return [
        f"{name}-{option}={value}"
        for name, family in named
        for option, known in family.options.items()
        for value in known.values
    ]


@pytest.mark.parametrize("name", choices())
def test_every_option_makes_a_network_that_can_be_drawn(name: str) -> None:
    network, size = on_meta(name, 7), networks.parse(name)[0].size

    drawn = graph(network, (3, size, size))

    assert drawn.nodes[-1].shape == (7,)
    auxiliary = sum(weight.numel() for weight in network.auxiliary.parameters())
    assert drawn.parameters + auxiliary == sum(weight.numel() for weight in network.parameters())


@given(depth=st.integers(0, 130), kind=st.sampled_from(["plain", "resnet"]))
@settings(deadline=None, max_examples=40)
def test_small_image_depths_are_6n_plus_2(depth: int, kind: str) -> None:
    name = f"{kind}{depth}-cifar"
    if depth >= 8 and depth % 6 == 2:
        network = on_meta(name)
        layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        assert len(layers) == network.depth == depth
        return
    with pytest.raises(Refused) as refused:
        networks.build(name)
    assert "6n+2" in refused.value.what
    nearest = [int(word) for word in refused.value.fix.replace(",", " ").split() if word.isdigit()]
    assert all(near >= 8 and near % 6 == 2 for near in nearest)
    assert min(nearest) == max(8, (depth - 2) // 6 * 6 + 2)


@pytest.mark.parametrize(
    ("name", "same", "layers"),
    [
        ("resnet56-cifar-blocks=9.9.9", "resnet56-cifar", 56),
        ("resnet56-cifar-blocks=3.3.3", "resnet20-cifar", 20),
        ("plain20-cifar-blocks=5.5.5", "plain32-cifar", 32),
        ("resnet11-cifar-bottleneck-blocks=3.3.3", "resnet29-cifar-bottleneck", 29),
        ("preact20-cifar-blocks=18.18.18", "preact164-cifar", 164),
        ("wide16-cifar-1-blocks=4.4.4", "wide28-cifar-1", 28),
        ("resnet18-blocks=3.4.6.3", "resnet34", 34),
        ("plain34-blocks=2.2.2.2", "plain18", 18),
        ("resnet50-blocks=3.4.23.3", "resnet101", 101),
        ("resnet18-blocks=depth", "resnet18", 18),
    ],
)
def test_blocks_stand_in_for_those_of_the_depth(name: str, same: str, layers: int) -> None:
    one, other = on_meta(name), on_meta(same)

    assert str(one) == str(other)
    assert one.depth == other.depth == layers
    assert networks.fewest_layers(name) <= layers


@pytest.mark.parametrize(
    "name",
    [
        "resnet56-cifar-blocks=9.7.5",
        "plain20-cifar-blocks=1.2.3",
        "preact29-cifar-blocks=1.2.3",
        "wide16-cifar-1-blocks=2.1.3",
        "resnet50-blocks=1.2.3.1",
        "preact18-blocks=1.2.3.1",
        "resnext50-blocks=1.1.1.2",
    ],
)
def test_depth_counts_the_blocks_that_are_there(name: str) -> None:
    network = on_meta(name)
    assert layers_along(network) == network.depth + (-2 if "wide" in name else 0)
    stages = [len(stage) for key, stage in network.features.named_children() if "stage" in key]
    assert ".".join(map(str, stages)) == networks.parse(name)[2]["blocks"]
    assert networks.fewest_layers(name) <= network.depth


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("resnet50", "resnet50-v1"),
        ("resnet50-v1.5", "resnet50-stride=3x3"),
        ("resnet34-a", "resnet34-shortcut=A"),
        ("resnet20-cifar", "resnet20-cifar-a"),
        ("preact164-cifar", "preact164-cifar-bottleneck-b"),
        ("resnet50-d", "resnet50-stem=deep-shortcut=D-stride=3x3"),
        ("resnet50-d-se", "resnet50-se-d"),
        ("resnet20-cifar-d", "resnet20-cifar-shortcut=D"),
        ("resnet20-cifar-gate-bias=-3", "resnet20-cifar-join=gate-bias=-3"),
        ("resnext50", "resnet50-32x4d-v1.5"),
        ("wide-resnet50", "resnet50-1x128d-3x3"),
        ("vgg16-bn", "vgg16-norm=batch"),
        ("googlenet-bn-3x3", "googlenet-filters=3x3-norm=batch"),
        ("wide16-cifar-8", "wide16-cifar-width=8"),
    ],
)
def test_short_names_mean_the_long_ones(name: str, same: str) -> None:
    one, other = on_meta(name), on_meta(same)

    assert str(one) == str(other)
    assert (one.name, other.name) == (name, same)


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet20-cifar-b", "plain20-cifar", "preact18-c", "resnet18-d-se-gn"]
)
@pytest.mark.parametrize(("classes", "channels"), [(1, 1), (3, 4), (100, 3)])
def test_classes_and_channels_are_free(name: str, classes: int, channels: int) -> None:
    network = on_meta(name, classes, channels)
    x = torch.empty(2, channels, 33, 65, device="meta")

    assert network(x).shape == (2, classes)
    assert (network.classes, network.channels) == (classes, channels)


def test_the_papers_class_counts_are_the_default() -> None:
    assert on_meta("resnet18").classes == 1000
    assert on_meta("resnet20-cifar").classes == 10


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnt50", 'did you mean "resnet50"?'),
        ("ResNet-50", 'did you mean "resnet50"?'),
        ("resnet20-cifra", 'no option "cifra"'),
        ("resnet21-cifar", "the nearest are 20 and 26"),
        ("resnet2-cifar", "the nearest are 8 and 14"),
        ("preact163-cifar", "the nearest are 155 and 164"),
        ("resnet35", "nearest is 34"),
        ("resnet50-v3", "choose among .*stride=1x1|3x3"),
        ("resnet50-survival=0", "survival=0.05..1"),
        ("resnet50-stride=2x2", "stride=1x1|3x3"),
        ("resnet20-cifar-stride=3x3", "choose among shortcut=A.*branch=basic|bottleneck"),
        ("alexnet-bn", "this network has none"),
        ("resnet18-32x4d", "only bottlenecks have an inner width"),
        ("wide20-cifar", "the nearest are 16 and 22"),
        ("vgg17", "nearest is 16"),
        ("highway20-cifar", "nearest is 19"),
        ("resnet56-cifar-blocks=9.7", "blocks=N.N.N"),
        ("resnet56-cifar-blocks=9.7.5.3", "blocks=N.N.N"),
        ("resnet56-cifar-blocks=9.0.5", "blocks=N.N.N"),
        ("resnet56-cifar-blocks=9.1000.5", "blocks=N.N.N"),
        ("resnet18-blocks=2.2.2", "blocks=N.N.N.N"),
        ("resnet55-cifar-blocks=9.7.5", "the nearest are 50 and 56"),
        ("alexnet-blocks=1.1.1", "this network has none"),
        ("", "no network named"),
        ("resnet", "no network named"),
    ],
)
def test_impossible_names_are_refused_with_what_would_do(name: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        networks.build(name)


@pytest.mark.parametrize("numbers", [(0, 3), (10, 0), (-1, 3)])
def test_a_network_needs_a_class_and_a_channel(numbers: tuple[int, int]) -> None:
    with pytest.raises(Refused, match=f"classes={numbers[0]}, channels={numbers[1]}"):
        networks.build("resnet20-cifar", *numbers)


def test_names_are_unique_and_of_registered_families() -> None:
    names = networks.names()

    assert len(names) == len(set(names)) == sum(len(family.depths) for family in NETWORKS.values())
    assert {"resnet50", "plain34", "resnet1202-cifar", "preact1001-cifar"} <= set(names)


def counts(known: Counts) -> st.SearchStrategy[str]:
    numbers = st.lists(st.integers(1, 999), min_size=known.stages, max_size=known.stages)
    return numbers.map(lambda each: ".".join(map(str, each))) | st.just(known.default)


@given(st.data())
def test_a_written_name_reads_back(data: st.DataObject) -> None:
    template = data.draw(st.sampled_from(sorted(NETWORKS)))
    family = NETWORKS[template]
    values = {
        option: data.draw(
            st.sampled_from(known.values)
            if isinstance(known, Choice)
            else counts(known)
            if isinstance(known, Counts)
            else st.integers(1, 3).map(lambda tenth, most=known.high: str(tenth * most / 10))
        )
        for option, known in family.options.items()
    }

    name = written(template.format(depth=family.depths[-1]), values, family.options)

    parts = split(name, NETWORKS)
    assert parts is not None
    assert parts.template == template
    assert chosen(name, parts.rest, family.options) == values


def test_a_written_name_is_short() -> None:
    _, _, values = networks.parse("resnet50-attention=se-stem=deep-shortcut=D-stride=3x3")
    options = NETWORKS["resnet{depth}"].options

    assert written("resnet50", values, options) == "resnet50-d-se"


def test_an_unknown_level_is_refused_with_those_there_are() -> None:
    features = networks.build("resnet18", 3).features

    with pytest.raises(Refused, match="no level 6"):
        features(torch.zeros(1, 3, 64, 64), levels=(2, 6))


def test_levels_come_in_the_order_asked_for_and_no_further_stage_runs() -> None:
    features = networks.build("resnet18", 3).eval().features
    features.stage4 = nn.Linear(1, 1)  # would fail
    third, second = features(torch.zeros(1, 3, 64, 64), levels=(3, 2))

    assert third.shape == (1, 128, 8, 8)
    assert second.shape == (1, 64, 16, 16)
