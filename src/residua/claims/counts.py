"""Claims that are settled by counting or by algebra: C7, C9, C13, C17's cost, C18, C19."""

from collections.abc import Sequence

import torch
from torch import nn

from residua import networks
from residua.claims import CONFIRMED, NOT_RUN, REFUTED, Finding
from residua.claims.evidence import Evidence, both
from residua.errors import Refused
from residua.networks import weightless
from residua.networks.deepened import deepened, difference
from residua.networks.graph import Graph, graph
from residua.networks.residual import Gated, Residual, basic
from residua.networks.shortcuts import pixel_gate
from residua.seeds import mean, paired
from residua.verdicts import by_seed, points
from residua.words import count, listed

SMALL, LARGE = (3, 32, 32), (3, 224, 224)
TWINS = tuple(
    [(f"plain{depth}-cifar", f"resnet{depth}-cifar") for depth in (20, 32, 44, 56, 110)]
    + [(f"plain{depth}", f"resnet{depth}-shortcut=A") for depth in (18, 34)]
)
LOST = 0.02  # of the error: more is "losing much"


def drawn(name: str, shape: tuple[int, int, int]) -> Graph:
    return graph(weightless(name), shape)


def parameters(evidence: Evidence) -> Finding:
    """C7: parameters of residual networks with shortcut A and of their plain twins."""
    rows = []
    for twins in TWINS:
        plain, residual = (sum(p.numel() for p in weightless(n).parameters()) for n in twins)
        rows.append((twins[1], plain, residual))
    odd = [f"{name}: {ours:,} against {plain:,}" for name, plain, ours in rows if ours > plain]
    if odd:
        return Finding(REFUTED, f"More parameters: {listed(odd)}.")
    told = ", ".join(f"{ours:,} in {name}" for name, _, ours in rows[3:6:2])
    return Finding(CONFIRMED, f"Equal in {len(rows)} pairs of twins: {told}.")


@torch.no_grad()
def does_nothing(evidence: Evidence) -> Finding:
    """C9: logits of networks of 20 layers and of those of 56 that are built from them."""
    images = torch.randn(8, *SMALL, generator=torch.Generator().manual_seed(0))
    worst, told = 0.0, []
    for kind in ("plain", "resnet"):
        shallow = networks.build(f"{kind}20-cifar").train()
        shallow(images)  # norms have seen a batch
        try:
            deep = deepened(shallow.eval(), 56)
        except Refused as error:
            return Finding(REFUTED, f"{kind}20 cannot be deepened: {error.what}.")
        apart = difference(shallow, deep, images)
        worst = max(worst, apart)
        told.append(f"{kind} 20 to 56 layers: {apart:g}")
    status = CONFIRMED if worst == 0 else REFUTED
    return Finding(status, f"Largest difference of logits in evaluation mode, {'; '.join(told)}.")


HOPS = 3  # blocks ahead


def feeds_directly(evidence: Evidence) -> Finding:
    """C13: how many blocks a block's output reaches without passing a weight."""
    found = {}
    for kind in ("resnet", "plain"):
        network = weightless(f"{kind}20-cifar")
        blocks = [f"features.{path}" for path in block_paths(network.features)]
        found[kind] = reached(graph(network, SMALL), blocks)
    hops = found["resnet"]
    wanted = [min(HOPS, len(hops) - place) for place in range(len(hops))]
    status = CONFIRMED if all(map(int.__ge__, hops, wanted)) else REFUTED
    words = (
        f"Without passing a weight, the output of the first block of ResNet-20 reaches {hops[0]} "
        f"of the {len(hops)} later blocks, that of a plain network {found['plain'][0]}."
    )
    return Finding(status, words)


def block_paths(features: nn.Module) -> list[str]:
    """The paths of a network's blocks, which stand in numbered sequences."""
    return [
        path
        for path, _ in features.named_modules()
        if path.count(".") == 1 and path.rpartition(".")[2].isdigit()
    ]


def reached(drawing: Graph, blocks: Sequence[str]) -> list[int]:
    """For each block but the last, how many later ones see its output before any weight."""
    nodes = {node.name: node for node in drawing.nodes}
    behind: dict[str, list[str]] = {}
    for start, end in drawing.edges:
        behind.setdefault(start, []).append(end)
    owners = {name: next((b for b in blocks if name.startswith(b + ".")), "") for name in nodes}
    outputs = {block: [n for n in nodes if owners[n] == block][-1] for block in blocks}
    counts = []
    for block in blocks[:-1]:
        seen, todo = set[str](), list(behind.get(outputs[block], ()))
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += behind.get(name, ()) if not nodes[name].parameters else ()
        touched = {owners[name] for name in seen if nodes[name].parameters} - {"", block}
        counts.append(len(touched))
    return counts


def bottlenecks(evidence: Evidence) -> Finding:
    """C17: what a bottleneck computes beside two 3x3 of the same width, and what it gets wrong."""
    large = {name: drawn(name, LARGE).multiply_adds for name in ("resnet34", "resnet50")}
    channels = 256
    two = 2 * 9 * channels**2
    three = channels * 64 + 9 * 64 * 64 + 64 * channels
    words = (
        f"At {channels} channels a bottleneck takes {three:,} multiply-adds for each position, two "
        f"3x3 convolutions {two:,}: {two / three:.0f} times as many. ResNet-50 has "
        f"{count(large['resnet50'])}, ResNet-34 {count(large['resnet34'])}."
    )
    cost = Finding(CONFIRMED if three < two else REFUTED, words)
    known = evidence.found.get("bottlenecks")
    if known is None:
        return Finding(NOT_RUN, f"{words} Their errors at equal cost are not measured.")
    kinds = ("bottleneck", "basic")
    apart = paired(*(by_seed(known.rows, "test", label=kind) for kind in kinds))
    gap = mean(apart.values())
    told = (
        f"At equal cost their test error is {points(gap)} beside that of basic blocks "
        f"({len(apart)} seeds)."
    )
    status = CONFIRMED if gap.high < LOST else REFUTED if gap.low > LOST else NOT_RUN
    return both(cost, Finding(status, told, known.folder))


def reductions(evidence: Evidence) -> Finding:
    """C18: multiply-adds of GoogLeNet's 3x3 and 5x5 with their reductions, and without."""
    network = weightless("googlenet-auxiliary=no")
    costs = {node.name: node.multiply_adds for node in graph(network, LARGE).nodes}
    reduced = direct = 0
    for path, sequence in network.named_modules():
        layers = [
            (f"{path}.{name}", layer)
            for name, layer in sequence.named_children()
            if isinstance(sequence, nn.Sequential) and isinstance(layer, nn.Conv2d)
        ]
        if len(layers) == 2 and layers[0][1].kernel_size == (1, 1):
            (narrow, first), (wide, second) = layers
            reduced += costs[narrow] + costs[wide]
            direct += costs[wide] * first.in_channels // second.in_channels
    words = (
        f"GoogLeNet's 3x3 and 5x5 convolutions take {count(reduced)} multiply-adds with the 1x1 "
        f"before them, and would take {count(direct)} without: {direct / reduced:.1f} times."
    )
    return Finding(CONFIRMED if 0 < reduced < direct else REFUTED, words)


@torch.no_grad()
def contained(evidence: Evidence) -> Finding:
    """C19: how near a gated block comes to a residual one, over all values of the gate.

    y = T F(x) + (1 - T) x is F(x) + x only if T = 1 and T = 0 at once.
    """
    generator = torch.Generator().manual_seed(0)
    branch = basic(8, 8, 1)
    for weight in branch.parameters():
        weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2)
    gate = pixel_gate(8)
    residual = Residual(branch, nn.Identity(), nn.Identity(), nn.Identity()).eval()
    highway = Gated(branch, nn.Identity(), gate, nn.Identity()).eval()
    x = torch.randn(4, 8, 6, 6, generator=generator)
    wanted = residual(x)
    nn.init.zeros_(gate.layer.weight)
    apart = []
    for bias in torch.linspace(-12, 12, 97).tolist():
        nn.init.constant_(gate.layer.bias, bias)  # type: ignore[arg-type]
        apart.append(float((highway(x) - wanted).norm() / wanted.norm()))
    nn.init.zeros_(gate.layer.bias)  # type: ignore[arg-type]
    half = float((2 * highway(x) - wanted).abs().max())
    words = (
        f"Gates are coupled: over T from 0 to 1 the output is never nearer than "
        f"{100 * min(apart):.0f} % of the residual block's. At T = 1/2 it is half of it (twice it "
        f"differs by {half:.1g}), so that they contain residual networks up to a factor for each "
        "block only."
    )
    return Finding(CONFIRMED if min(apart) < 1e-6 else REFUTED, words)
