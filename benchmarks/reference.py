"""What people do today, in plain PyTorch: what our speed is measured against.

CIFAR: the residual network with zero-padding shortcuts in float32 as torch lays images out, SGD
with momentum, batches of 128, torch's own number of threads; each image loaded, cropped, mirrored
and normalized alone. 224 pixels: torchvision's network where it can be imported, else one with the
same layers. Nothing here uses Residua.
"""

import random
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from itertools import islice
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
WARM = 2  # steps that are not timed


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; where the shape changes, a strided identity padded with zeros."""

    def __init__(self, width_in: int, width: int, stride: int, project: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.missing = stride, width - width_in
        self.down = projection(width_in, width, stride) if project else None

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.down is not None:
            x = self.down(x)
        elif self.missing or self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
            x = F.pad(x, (0, 0, 0, 0, self.missing // 2, self.missing - self.missing // 2))
        return F.relu(out + x)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, the 3x3 strided as torchvision does it."""

    def __init__(self, width_in: int, width: int, stride: int, project: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.down = projection(width_in, 4 * width, stride) if project else None

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + (x if self.down is None else self.down(x)))


def projection(width_in: int, width: int, stride: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))


def stack(block: Any, width_in: int, stages: Any, growth: int, project: bool) -> list[nn.Module]:
    """The blocks of (width, count) stages, each later stage at half the size."""
    blocks: list[nn.Module] = []
    for stage, (width, count) in enumerate(stages):
        for index in range(count):
            stride = 2 if stage and not index else 1
            changes = stride > 1 or width_in != width * growth
            blocks.append(block(width_in, width, stride, project and changes))
            width_in = width * growth
    return blocks


def cifar_resnet(depth: int, width: int = 16) -> nn.Module:
    """ResNet of 6n + 2 layers for images of 32 pixels (He et al. 2016a, section 4.2)."""
    count = (depth - 2) // 6
    stages = [(width, count), (2 * width, count), (4 * width, count)]
    first = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    body = stack(BasicBlock, width, stages, 1, project=False)
    last = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 10)]
    return nn.Sequential(*first, *body, *last)


def large_resnet(depth: int) -> nn.Module:
    """ResNet-18 or -50 for 224 pixels, with torchvision's layers."""
    block, growth, counts = {
        18: (BasicBlock, 1, (2, 2, 2, 2)),
        50: (Bottleneck, 4, (3, 4, 6, 3)),
    }[depth]
    stages = list(zip((64, 128, 256, 512), counts, strict=True))
    first = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    body = stack(block, 64, stages, growth, project=True)
    last = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512 * growth, 1000)]
    return nn.Sequential(*first, nn.MaxPool2d(3, 2, 1), *body, *last)


def build(name: str) -> tuple[nn.Module, str]:
    """A network by our name for it, and whose it is."""
    if name.startswith("resnet") and name.endswith("-cifar"):
        return cifar_resnet(
            int(name.removeprefix("resnet").removesuffix("-cifar"))
        ), "plain PyTorch"
    if name.startswith("wide16-cifar-"):
        raise ValueError(f"{name} has no plain twin here")
    if find_spec("torchvision") is not None:
        from parity import importable

        importable()
        from torchvision import models

        return models.get_model(name), "torchvision"
    return large_resnet(int(name.removeprefix("resnet"))), "plain PyTorch, torchvision's layers"


def sgd(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, weight_decay=1e-4)


def careful(device: str) -> AbstractContextManager[Any]:
    """Autocast to bf16, what a careful person adds together with channels_last."""
    return torch.autocast(device, torch.bfloat16)


def step_times(network: nn.Module, batch: int, size: int, steps: int, care: bool) -> list[float]:
    """Seconds of each step of the usual loop on one batch that is already loaded.

    Args:
        network: to train.
        batch: images.
        size: of an image, in pixels.
        steps: to time, after WARM.
        care: with autocast and channels_last.
    """
    images, labels = torch.randn(batch, 3, size, size), torch.randint(0, 10, (batch,))
    if care:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = images.to(memory_format=torch.channels_last)
    optimizer, times = sgd(network.train()), []
    for _ in range(WARM + steps):
        began = time.monotonic()
        learn(network, optimizer, images, labels, care)
        times.append(time.monotonic() - began)
    return times[WARM:]


def learn(
    network: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, care: bool
) -> float:
    """One step, its loss read as everyone's progress bar does."""
    with careful("cpu") if care else nullcontext():
        loss = F.cross_entropy(network(images).float(), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


class Samples(Dataset[tuple[Tensor, int]]):
    """Pictures one at a time: pad by 4 and crop, mirror, to a tensor, normalize."""

    def __init__(self, pixels: Any, labels: list[int]) -> None:
        self.pixels, self.labels = pixels, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture = Image.fromarray(self.pixels[index])
        side = picture.width
        padded = Image.new("RGB", (side + 8, side + 8))
        padded.paste(picture, (4, 4))
        left, top = random.randint(0, 8), random.randint(0, 8)
        picture = padded.crop((left, top, left + side, top + side))
        if random.random() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        tensor = torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().float().div(255)
        mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
        return tensor.sub_(mean).div_(std), self.labels[index]


def epoch_seconds(network: nn.Module, samples: Samples, batch: int, workers: int) -> float:
    """An epoch of the usual loop, after a few steps that warm up."""
    loader = DataLoader(samples, batch, shuffle=True, num_workers=workers, drop_last=True)
    optimizer = sgd(network.train())

    def run(batches: Iterator[Any]) -> None:
        for images, labels in batches:
            learn(network, optimizer, images, labels, care=False)

    run(islice(iter(loader), WARM))
    began = time.monotonic()
    run(iter(loader))
    return time.monotonic() - began
