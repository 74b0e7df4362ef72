"""Count every network and put the table into docs/networks.md, between its two marks.

python benchmarks/networks.py
"""

from collections.abc import Iterator
from pathlib import Path

import torch

from residua import networks
from residua.networks.graph import graph

PAGE = Path(__file__).resolve().parent.parent / "docs" / "networks.md"
BEGIN, END = "<!-- counts: python benchmarks/networks.py -->", "<!-- end of counts -->"
# With options, besides every network that a paper names.
VARIANTS = (
    "resnet18-a resnet34-a resnet34-c resnet50-c resnet50-v1.5 resnet50-d resnet50-se "
    "resnet50-blur resnet50-gn resnet50-fixup resnext101-32x8d preact50-v1.5 "
    "resnet20-cifar-b resnet110-cifar-b resnet110-cifar-c resnet110-cifar-gate "
    "wide16-cifar-8 wide40-cifar-4 vgg16-bn vgg19-bn googlenet-bn-3x3 bn-inception-bias=yes"
).split()
# What the papers print: millions of parameters, billions of multiply-adds.
PRINTED = {
    "plain18": "1.8 G",
    "plain34": "3.6 G",
    "resnet34-a": "3.6 G",
    "resnet50": "3.8 G",
    "resnet101": "7.6 G",
    "resnet152": "11.3 G",
    "resnet20-cifar": "0.27 M",
    "resnet32-cifar": "0.46 M",
    "resnet44-cifar": "0.66 M",
    "resnet56-cifar": "0.85 M",
    "resnet110-cifar": "1.7 M",
    "resnet1202-cifar": "19.4 M",
    "preact164-cifar": "1.7 M",
    "preact1001-cifar": "10.2 M",
    "resnext50": "25.0 M, 4.2 G",
    "wide-resnet50": "68.9 M",
    "wide28-cifar": "36.5 M",
    "wide40-cifar-4": "8.9 M",
    "wide16-cifar-8": "11.0 M",
    "highway11-cifar": "0.236 M",
    "highway19-cifar": "2.3 M",
    "highway32-cifar": "1.25 M",
    "alexnet": "60 M",
    "vgg11": "133 M",
    "vgg13": "133 M",
    "vgg16": "138 M",
    "vgg19": "144 M, 19.6 G",
    "nin-cifar": "0.97 M",
    "googlenet": "1.5 G",
    "bn-inception": "13.6 M",
}


def listed() -> Iterator[str]:
    """Every network in the order of the registry, variants behind their family."""
    waiting = dict.fromkeys(VARIANTS)
    for template, family in networks.NETWORKS.items():
        yield from (template.format(depth=depth) for depth in family.depths)
        for name in [name for name in waiting if networks.parse(name)[0] is family]:
            del waiting[name]
            yield name


def row(name: str) -> str:
    """A line of the table, counted on tensors without data."""
    size = networks.parse(name)[0].size
    with torch.device("meta"):
        network = networks.build(name)
    drawn = graph(network, (3, size, size))
    extra = sum(weight.numel() for weight in network.auxiliary.parameters())
    parameters = f"{drawn.parameters:,}" + (f" (+ {extra:,} in auxiliary heads)" if extra else "")
    return (
        f"| `{name}` | {size} | {network.smallest} | {parameters} | {drawn.multiply_adds:,} "
        f"| {PRINTED.get(name, '')} |"
    )


def table() -> str:
    """The block for the page."""
    return "\n".join(
        [
            "| network | pixels | at least | parameters | multiply-adds | the paper prints |",
            "|---|---:|---:|---:|---:|---|",
            *map(row, listed()),
        ]
    )


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
