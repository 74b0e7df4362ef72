"""Which network tensors are of, where stages have other numbers of blocks than the tables."""

import pytest
import torch

from residua import networks
from residua.networks.recognize import network_for
from residua.networks.renaming import places


def shapes(name: str, style: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        network = networks.build(name, 7)
    return {place.name: place.shape for place in places(network, style).values()}


@pytest.mark.parametrize(
    ("name", "style"),
    [
        ("resnet56-cifar-blocks=9.7.5", "cifar"),
        ("resnet20-cifar-b-blocks=1.3.2", "cifar"),
        ("resnet56-cifar", "cifar"),
        ("resnet18-blocks=2.1.2.1", "torchvision"),
        ("resnet34-blocks=3.4.5.3", "torchvision"),
        ("resnet50-v1.5-blocks=2.2.2.2", "torchvision"),
        ("resnet101-v1.5-blocks=3.4.9.3", "torchvision"),
        ("resnet152-v1.5-blocks=3.9.36.3", "torchvision"),
        ("resnet50-v1.5", "torchvision"),
        ("resnet34", "torchvision"),
    ],
)
def test_other_numbers_of_blocks_are_counted(name: str, style: str) -> None:
    found = network_for(shapes(name, style)).split(" with ")[0]
    assert networks.parse(found) == networks.parse(name)


def test_more_blocks_than_a_name_may_have_are_of_no_network() -> None:
    given = shapes("resnet8-cifar", "cifar")
    block = {name: shape for name, shape in given.items() if name.startswith("layer1.0.")}
    for index in range(1, 1001):
        given |= {name.replace(".0.", f".{index}.", 1): shape for name, shape in block.items()}
    assert network_for(given) == ""
