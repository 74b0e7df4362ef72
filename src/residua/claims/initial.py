"""Claims about gradients before training: C1, C2, C3, C12.

Networks see noise, so that no data decides. Medians over seeds.
"""

import math
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn

from residua import networks
from residua.claims import CONFIRMED, NOT_RUN, REFUTED, Finding
from residua.claims.evidence import Evidence
from residua.networks.network import Network
from residua.probes.flow import Flow, carried, gradient_flow
from residua.studies.gradient_flow import saturate
from residua.verdicts import error
from residua.words import percent

SEEDS = range(3)
IMAGES, CLASSES = 8, 10
SHALLOW, DEEP = 20, 56
GONE = 1e-6  # of the last layer's gradient: nothing that SGD could follow
LARGE = 1e3  # times the last layer's


def noise(seed: int) -> tuple[Tensor, Tensor]:
    """Images (b, 3, 32, 32) and labels (b)."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(IMAGES, 3, 32, 32, generator=generator)
    return images, torch.randint(0, CLASSES, (IMAGES,), generator=generator)


def flows(name: str, change: Callable[[Network], object] = lambda network: None) -> list[Flow]:
    """Gradients of a network, changed or not, of several seeds."""
    found = []
    for seed in SEEDS:
        network = networks.build(name, CLASSES, seed=seed)
        change(network)
        found.append(gradient_flow(network, *noise(seed)))
    return found


def scaled(factor: float) -> Callable[[Network], None]:
    """Multiply the weights of all convolutions."""

    @torch.no_grad()
    def change(network: Network) -> None:
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight *= factor

    return change


def first(found: list[Flow]) -> float:
    """The first layer's gradient norm."""
    return median(flow.gradients[0] for flow in found)


def ratio(found: list[Flow]) -> float:
    """The first layer's gradient norm beside that of the last convolution."""
    return median(flow.gradients[0] / max(flow.gradients[-2], 1e-300) for flow in found)


def vanishes(evidence: Evidence) -> Finding:
    """C1: with sigmoids, and with ReLUs whose weights are half as large as He's."""
    bare = "plain{}-cifar-norm=none"
    sigmoid = [first(flows(bare.format(depth), saturate)) for depth in (SHALLOW, DEEP)]
    halved = [first(flows(bare.format(depth), scaled(0.5))) for depth in (SHALLOW, DEEP)]
    words = (
        f"Norm of the first layer's gradient at {SHALLOW} and {DEEP} layers, without norms: "
        f"{sigmoid[0]:.1g} and {sigmoid[1]:.1g} with sigmoids, {halved[0]:.1g} and {halved[1]:.1g} "
        "with ReLUs and weights half as large as usual."
    )
    fades = all(deep <= GONE * shallow for shallow, deep in (sigmoid, halved))
    return Finding(CONFIRMED if fades else REFUTED, words)


def explodes(evidence: Evidence) -> Finding:
    """C2: with ReLUs whose weights are twice as large, and with batch norm as it is."""
    bare = "plain{}-cifar-norm=none"
    doubled = [first(flows(bare.format(depth), scaled(2.0))) for depth in (SHALLOW, DEEP)]
    normed = ratio(flows(f"plain{DEEP}-cifar"))
    words = (
        f"Weights twice as large take the norm of the first layer's gradient from {doubled[0]:.1g} "
        f"at {SHALLOW} layers to {doubled[1]:.1g} at {DEEP}. With batch norm and usual weights it "
        f"is {normed:.1g} times the last convolution's at {DEEP} layers."
    )
    grows = doubled[1] >= LARGE * doubled[0] and normed >= LARGE
    return Finding(CONFIRMED if grows else REFUTED, words)


def vanishes_with_norms(evidence: Evidence) -> Finding:
    """C3: which way the gradients of batch-normalized plain networks go."""
    ratios = [ratio(flows(f"plain{depth}-cifar")) for depth in (SHALLOW, DEEP)]
    words = (
        f"With batch norm the first layer's gradient is {ratios[0]:.2g} times the last "
        f"convolution's at {SHALLOW} layers and {ratios[1]:.2g} times at {DEEP}, before training: "
        + ("it does not vanish, it explodes" if ratios[1] > 1 else "it fades")
        + " toward the input."
    )
    known = evidence.found.get("degradation")
    if known is not None:
        deep = [row for row in known.rows if row["family"] == "plain"]
        most = max((row["depth"] for row in deep), default=0)
        ends = [error(row, "train") for row in deep if row["depth"] == most]
        words += f" Training error of plain networks of {most} layers: {percent(median(ends), 1)}."
    status = CONFIRMED if ratios[1] < GONE else REFUTED if min(ratios) >= 1 else NOT_RUN
    return Finding(status, words, known.folder if known else "")


def identity_carries(evidence: Evidence) -> Finding:
    """C12: the gradient at the first block of ResNet-56 with every branch cut."""
    shares = {}
    for kind in ("resnet", "plain"):
        found = []
        for seed in SEEDS:
            network = networks.build(f"{kind}{DEEP}-cifar", CLASSES, seed=seed)
            whole, past = carried(network, *noise(seed))
            found.append(past / whole if whole else math.nan)
        shares[kind] = median(found)
    share = shares["resnet"]
    words = (
        f"With the way through every branch cut, the gradient at the first block of ResNet-{DEEP} "
        f"keeps {100 * share:.2g} % of its norm, that of its plain twin "
        f"{100 * shares['plain']:.2g} %."
    )
    return Finding(CONFIRMED if share > 1e-3 else REFUTED, words)
