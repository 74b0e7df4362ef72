"""A head that slides gives at the training size what the network gives, and elsewhere a map."""

import pytest
import torch
from torch import nn

from residua import networks
from residua.errors import Refused
from residua.networks.dense import dense_head

FAMILIES = (
    "resnet18 plain18 preact18 resnet50-v1.5 resnext50 resnet18-d-se-blur resnet18-gn "
    "resnet20-cifar plain20-cifar wide16-cifar-1 sprint11-cifar highway11-cifar nin-cifar nin "
    "alexnet alexnet-2014 vgg11 googlenet googlenet-bn-3x3 bn-inception"
).split()


@pytest.mark.parametrize("name", FAMILIES)
def test_at_the_training_size_there_is_one_place_and_its_scores_are_the_networks(name: str) -> None:
    network, size = networks.build(name, 7).eval(), networks.parse(name)[0].size
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))

    with torch.no_grad():
        scores = dense_head(network, size)(network.features(images))
        expected = network(images)

    assert scores.shape == (2, 7, 1, 1)
    difference = (scores[:, :, 0, 0] - expected).abs().max() / expected.abs().max()
    assert difference < 1e-5


@pytest.mark.parametrize("name", ["resnet20-cifar", "resnet18", "vgg11"])
def test_a_place_sees_what_a_crop_there_would_see(name: str) -> None:
    """Away from borders, whose padding differs, a place's features are those of the larger map."""
    network, size = networks.build(name, 3).eval(), networks.parse(name)[0].size
    head, side = dense_head(network, size), size // network.stride
    features = torch.randn(1, int(head_width(network)), side + 2, side + 3)

    with torch.no_grad():
        scores = head(features)
        crop = network.head(features[:, :, 1 : 1 + side, 2 : 2 + side])

    assert scores.shape == (1, 3, 3, 4)
    torch.testing.assert_close(scores[:, :, 1, 2], crop, rtol=1e-4, atol=1e-4)


def head_width(network: nn.Module) -> int:
    first = next(layer for layer in network.head.modules() if isinstance(layer, nn.Linear))
    return first.in_features // (49 if "vgg" in network.name else 1)


def test_the_head_is_shared_not_copied() -> None:
    network = networks.build("resnet8-cifar").eval()
    head = dense_head(network, 32)

    with torch.no_grad():
        network.head.linear.weight.zero_()
        network.head.linear.bias.fill_(3.0)

    assert bool((head(torch.randn(1, 64, 9, 9)) == 3).all())


def test_networks_of_whole_images_are_refused() -> None:
    with pytest.raises(Refused, match="highway10-fc cannot be applied densely"):
        dense_head(networks.build("highway10-fc"), 28)
    with pytest.raises(Refused, match="vgg11 cannot be applied densely"):
        dense_head(networks.build("vgg11", 3), 64)
