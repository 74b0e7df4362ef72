"""Our networks against those of torchvision, timm and transformers: the same weights, one answer.

    make parity

Each network of theirs gets random weights and the norm statistics of random images. Loaded into
ours, they must give the same logits; renamed there and back, they must be the same bits. Where
float32 differs by more than the limit, float64 tells whether that is rounding or another network:
a blur is one filter there and two averages here, and a hundred random layers amplify it. The other
projects are installed beside the environment, not in it: a torchvision that merely lies there
breaks others.
"""

import argparse
import re
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from record import record
from torch import Tensor, nn

from residua import networks
from residua.declared import config_of
from residua.networks.elsewhere import STYLES
from residua.networks.weights import from_ours, to_ours

IMAGES, LIMIT, EXACT = 16, 1e-4, 1e-9
LIBRARIES: list[torch.library.Library] = []  # torch forgets operators whose library is gone


class Pair(NamedTuple):
    """One network under the names of both sides."""

    style: str
    ours: str
    theirs: str


class Compared(NamedTuple):
    """How far apart the two are."""

    difference: float  # the largest of any logit
    logit: float  # the largest, to see that the difference is not that of zeros
    identical: bool  # the weights, there and back
    exact: float = 0.0  # the difference in float64, where that in float32 is above the limit

    @property
    def same(self) -> bool:
        """Whether both compute the same."""
        return self.identical and (self.difference <= LIMIT or self.exact <= EXACT)


def importable() -> None:
    """Declare torchvision's operators, whose library a CPU build of torch cannot load."""
    found = find_spec("torchvision")
    if found is None or LIBRARIES:
        return
    folder = Path((found.submodule_search_locations or [""])[0])
    source = (folder / "_meta_registrations.py").read_text(encoding="utf-8")
    declared = re.findall(r'register_(?:meta|fake)\("(?:torchvision::)?(\w+)"\)', source)
    library = torch.library.Library("torchvision", "DEF")
    for name in sorted(set(declared)):
        library.define(f"{name}(Tensor x) -> Tensor")
    LIBRARIES.append(library)


def pairs() -> Iterator[Pair]:
    """Every network that both sides have, but for the families of any depth."""
    for style, table in STYLES.items():
        for ours, theirs in table.networks.items():
            if style != "cifar":
                yield Pair(style, ours, theirs)


def build(pair: Pair) -> nn.Module:
    """Their network."""
    importable()
    match pair.style:
        case "torchvision":
            from torchvision import models

            options = {"init_weights": False} if pair.theirs == "googlenet" else {}
            return models.get_model(pair.theirs, **options)
        case "timm":
            import timm

            return timm.create_model(pair.theirs)
        case "transformers":
            from transformers import ResNetConfig, ResNetForImageClassification

            config = config_of(networks.build(pair.ours), [str(n) for n in range(1000)])
            return ResNetForImageClassification(ResNetConfig(**config))
        case _:
            raise ValueError(pair.style)


def compare(pair: Pair, size: int) -> Compared:
    """Load random weights of theirs into ours, on images of `size` pixels."""
    generator = torch.Generator().manual_seed(0)
    theirs, ours = build(pair), networks.build(pair.ours)
    images = torch.randn(IMAGES, 3, size, size, generator=generator)
    randomize(theirs, images, generator)
    weights = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    ours.load_state_dict(to_ours(weights, ours))
    back = from_ours(ours.state_dict(), ours, pair.style)
    identical = back.keys() == weights.keys() and all(
        torch.equal(back[name], weights[name]) for name in weights
    )
    build(pair).load_state_dict(back, strict=True)
    expected, found = logits(theirs, images), logits(ours, images)
    difference, exact = (expected - found).abs().max().item(), 0.0
    if difference > LIMIT:
        images = images.double()
        exact = (logits(theirs.double(), images) - logits(ours.double(), images)).abs().max().item()
    return Compared(difference, expected.abs().max().item(), identical, exact)


@torch.no_grad()
def randomize(network: nn.Module, images: Tensor, generator: torch.Generator) -> None:
    """Draw all weights, and take batch norm's statistics from the images."""
    for name, weight in network.named_parameters():
        if weight.ndim > 1:
            deviation = ((2 if weight.ndim == 4 else 1) / weight[0].numel()) ** 0.5
            weight.copy_(torch.randn(weight.shape, generator=generator) * deviation)
        elif name.endswith("weight"):
            weight.copy_(0.5 + torch.rand(weight.shape, generator=generator) / 2)
        else:
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # the next batch alone
    network.train()(images[:4])


@torch.no_grad()
def logits(network: nn.Module, images: Tensor) -> Tensor:
    """(b, classes), a few images at a time."""
    answers: list[Any] = [network.eval()(part) for part in images.split(4)]
    return torch.cat([getattr(answer, "logits", answer) for answer in answers])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--only", default="", help="compare networks whose name has this")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for pair in pairs():
        if find_spec(pair.style) is None or options.only not in pair.ours:
            continue
        found = compare(pair, options.size)
        rows.append({**pair._asdict(), **found._asdict(), "same": found.same})
        print(*pair, *found, flush=True)
    styles = sorted({row["style"] for row in rows})
    measured = {
        "images": f"{IMAGES} of {options.size} x {options.size}",
        "versions": {style: version(style) for style in styles},
        "not_installed": [s for s in STYLES if s != "cifar" and s not in styles],
        "limit": LIMIT,
        "same": all(row["same"] for row in rows),
        "networks": rows,
    }
    record("parity", measured)


if __name__ == "__main__":
    main()
