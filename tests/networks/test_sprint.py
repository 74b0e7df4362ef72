"""The network of ours: residual blocks behind each maximum, sizes down to its smallest image."""

import pytest
import torch
from torch import nn

from residua import networks
from residua.errors import Refused
from residua.networks.graph import graph
from residua.networks.residual import Residual, branches
from residua.networks.sprint import SMALLEST


@pytest.mark.parametrize(("depth", "blocks"), [(11, 1), (17, 2), (29, 4)])
def test_its_depth_counts_every_weighted_layer_once(depth: int, blocks: int) -> None:
    with torch.device("meta"):
        network = networks.build(f"sprint{depth}-cifar")
    layers = [each for each in network.modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth
    assert len(branches(network)) == 3 * blocks


@pytest.mark.parametrize(
    ("depth", "near"), [(12, "11 and 17"), (5, "11 and 17"), (22, "17 and 23")]
)
def test_other_depths_are_refused_with_the_nearest(depth: int, near: str) -> None:
    with pytest.raises(Refused, match="6n") as refused:
        networks.build(f"sprint{depth}-cifar")
    assert near in str(refused.value.fix)


def test_it_halves_the_image_three_times_and_widens() -> None:
    with torch.device("meta"):
        network = networks.build("sprint11-cifar-2")
    shapes = {node.name: node.shape for node in graph(network, (3, 32, 32)).nodes}
    ends = [shapes[f"features.stage{stage}.1.after"] for stage in (1, 2, 3)]
    assert ends == [(128, 15, 15), (256, 7, 7), (512, 3, 3)]


def test_every_block_is_the_identity_where_its_branch_is_silent() -> None:
    network = networks.build("sprint11-cifar", zero_init=True).eval()
    x = network.features.stem(torch.rand(2, 3, 32, 32))
    for stage in list(network.features)[1:]:
        down, *blocks = stage
        x = down(x)
        for block in blocks:
            assert isinstance(block, Residual)
            assert torch.equal(block(x), x)  # x is no longer negative anywhere


def test_the_smallest_image_passes_and_a_smaller_one_is_refused() -> None:
    network = networks.build("sprint11-cifar").eval()
    assert network(torch.zeros(1, 3, SMALLEST, SMALLEST)).shape == (1, 10)
    with pytest.raises(Refused, match="too small"):
        network(torch.zeros(1, 3, SMALLEST - 1, SMALLEST - 1))
