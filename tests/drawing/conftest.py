"""Graphs to draw: networks by name, other people's modules, and arbitrary ones."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from residua import networks
from residua.networks.graph import Graph, graph

Find = Callable[[str], Graph]


class Block(nn.Module):
    """What people write: a residual block with a functional add."""

    def __init__(self, c: int, d: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c, d, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(d)
        self.conv2 = nn.Conv2d(d, d, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(d)
        self.downsample = nn.Conv2d(c, d, 1, stride) if c != d else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class UNet(nn.Module):
    """Long ways from encoder to decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.middle = (nn.Conv2d(c, 8, 3, 1, 1) for c in (3, 8, 8))
        self.up2, self.up1 = (nn.ConvTranspose2d(8, 8, 2, 2) for _ in range(2))
        self.out2, self.out1 = (nn.Conv2d(16, 8, 3, 1, 1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.down1(x))
        b = F.relu(self.down2(F.max_pool2d(a, 2)))
        y = self.middle(F.max_pool2d(b, 2))
        y = self.out2(torch.cat([self.up2(y), b], 1))
        return self.out1(torch.cat([self.up1(y), a], 1))


class TwoBranches(nn.Module):
    """Branches that meet, and two results."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1))
        self.right = nn.Sequential(nn.Conv2d(3, 8, 5, 1, 2), nn.ReLU(), nn.Conv2d(8, 8, 5, 1, 2))
        self.classify, self.locate = nn.Linear(8, 10), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = (self.left(x) + self.right(x)).mean((2, 3))
        return self.classify(y), self.locate(y)


class Dense(nn.Module):
    """Every layer sees all before it: the ways cross."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3 + 4 * i, 4, 3, 1, 1) for i in range(5))

    def forward(self, x: Tensor) -> Tensor:
        found = [x]
        for layer in self.layers:
            found.append(F.relu(layer(torch.cat(found, 1))))
        return torch.cat(found, 1)


STRANGERS: dict[str, Callable[[], nn.Module]] = {
    "theirs": lambda: nn.Sequential(Block(3, 8), Block(8, 8), Block(8, 8), Block(8, 16, 2)),
    "unet": UNet,
    "branches": TwoBranches,
    "dense": Dense,
    "one": lambda: nn.ReLU(),
}


@cache
def find(name: str) -> Graph:
    with torch.device("meta"):
        if name in STRANGERS:
            return graph(STRANGERS[name](), (3, 32, 32))
        size = networks.parse(name)[0].size
        return graph(networks.build(name), (3, size, size))


@pytest.fixture(scope="session")
def found() -> Find:
    """Graphs by name."""
    return find
