"""The loss around trained weights: along lines, in planes, and how sharply it bends.

    directions   random, each filter scaled to the norm of the filter      Li et al. 2018, section 4
    surface      loss and error at weights + a d1 + b d2                   section 3, equation 1
    path         the plane that holds most of a training's way             section 7.2
    sharpness    the largest eigenvalue of the Hessian, by power iteration

Weights that norms follow have no scale: twice the weights compute the same. A step of fixed length
is thus long for one network and short for another, and neither slopes nor eigenvalues compare,
unless steps are measured in the filters' own norms, as all of these can. Norms and biases stay as
they are, and batch norm keeps the statistics of the trained weights throughout.

arXiv:1712.09913. Nothing here changes the network that it is given.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from residua.batches import Batch, evaluation
from residua.datasets.dataset import Split
from residua.errors import Refused
from residua.images import Preprocessing

Direction = Mapping[str, Tensor]  # a step for each weight, by its name
PIXELS = 2**15  # in a batch: second derivatives take memory
CLOSE = 1e-3  # relative change of an eigenvalue below which it is taken as found


def weights(network: nn.Module) -> dict[str, Tensor]:
    """The weights of convolutions and linear layers, copied: what moves in a landscape."""
    found = network.named_parameters()
    return {name: value.detach().clone() for name, value in found if value.dim() > 1}


def norms(network: nn.Module) -> dict[str, Tensor]:
    """The norm of each filter, or of each row of a linear layer, shaped to multiply its weights."""
    return {
        name: torch.linalg.vector_norm(value, dim=tuple(range(1, value.dim())), keepdim=True)
        for name, value in weights(network).items()
    }


def directions(network: nn.Module, seed: int, count: int = 2) -> list[dict[str, Tensor]]:
    """Random directions in which every filter has the norm of the network's filter."""
    generator, lengths = torch.Generator().manual_seed(seed), norms(network)
    found = []
    for _ in range(count):
        direction = {}
        for name, value in weights(network).items():
            drawn = torch.randn(value.shape, generator=generator).to(value)
            own = torch.linalg.vector_norm(drawn, dim=tuple(range(1, value.dim())), keepdim=True)
            direction[name] = drawn * lengths[name] / own.clamp_min(1e-12)
        found.append(direction)
    return found


def sample(
    split: Split, preprocessing: Preprocessing, count: int, device: torch.device
) -> list[Batch]:
    """Images from all over a split, without augmentation, to average a loss over."""
    batch = max(1, PIXELS // preprocessing.size**2)
    return list(evaluation(split.evenly(count), preprocessing, batch, device))


class Loss(NamedTuple):
    """Over a sample of images: the mean cross-entropy, and the share that is wrong."""

    loss: float  # not finite far from trained weights
    error: float


@contextmanager
def still(network: nn.Module) -> Iterator[None]:
    """Hold every module in evaluation mode until the block ends."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@torch.no_grad()
def surface(
    network: nn.Module,
    axes: Sequence[Direction],
    points: Sequence[Sequence[float]],
    shown: Sequence[Batch],
) -> list[Loss]:
    """The loss at weights + sum of coordinate times axis, for each of `points`.

    Args:
        axes: one for a line, two for a plane.
        points: coordinates, as many as there are axes.
        shown: images and labels, the same for all points.
    """
    base, found = weights(network), []
    with still(network):
        for point in points:
            moved = {
                name: torch.stack([at * axis[name] for at, axis in zip(point, axes, strict=True)])
                .sum(0)
                .add_(value)
                for name, value in base.items()
            }
            found.append(loss(network, moved, shown))
    return found


def loss(network: nn.Module, values: Mapping[str, Tensor], shown: Sequence[Batch]) -> Loss:
    """The loss of a network with other weights."""
    total, wrong, count = 0.0, 0, 0
    for batch in shown:
        logits = functional_call(network, dict(values), (batch.images,)).float()
        total += float(F.cross_entropy(logits, batch.labels, reduction="sum"))
        wrong += int((logits.argmax(1) != batch.labels).sum())
        count += len(batch.labels)
    return Loss(total / count, wrong / count)


class Path(NamedTuple):
    """A training's way, seen in the plane that holds most of it; its end is the origin."""

    axes: tuple[dict[str, Tensor], dict[str, Tensor]]  # each of length 1
    points: list[tuple[float, float]]  # coordinates of each snapshot, then of the end
    shares: tuple[float, float]  # of the squared way that each axis holds


def path(snapshots: Sequence[Direction], end: Direction) -> Path:
    """The plane through the end of a training in which most of its way lies.

    The axes are the first two right singular vectors of the differences between earlier weights and
    the last, so that the plane holds the trained weights themselves (section 7.2; there is no
    centering, which would lay it through the mean).

    Args:
        snapshots: the weights from time to time, at least two.
        end: the trained weights.

    Raises:
        Refused: a single snapshot makes no plane.
    """
    if len(snapshots) < 2:
        raise Refused("a way takes two snapshots at least", where=f"received {len(snapshots)}")
    names = list(end)
    rows = torch.stack([flat(each, names) - flat(end, names) for each in snapshots]).double()
    _, lengths, vectors = torch.linalg.svd(rows, full_matrices=False)
    # A singular vector's sign is arbitrary: the way starts in the upper right.
    signs = torch.where((rows[0] @ vectors[:2].T) < 0, -1.0, 1.0)
    vectors = vectors[:2] * signs[:, None]
    places = [(float(x), float(y)) for x, y in rows @ vectors.T]
    squares = lengths.square() / lengths.square().sum().clamp_min(1e-30)
    first, second = (shaped(vector, end) for vector in vectors)
    return Path((first, second), [*places, (0.0, 0.0)], (float(squares[0]), float(squares[1])))


def span(values: Sequence[float], count: int) -> list[float]:
    """Coordinates from a little below the least to a little above the greatest."""
    low, high = min(values), max(values)
    margin = 0.15 * (high - low) or 1.0
    return [
        float(value)
        for value in torch.linspace(low - margin, high + margin, count, dtype=torch.float64)
    ]


def flat(direction: Direction, names: Sequence[str]) -> Tensor:
    return torch.cat([direction[name].flatten() for name in names])


def shaped(vector: Tensor, like: Direction) -> dict[str, Tensor]:
    """A long vector as tensors of the shapes of `like`."""
    parts = vector.split([value.numel() for value in like.values()])
    return {
        name: part.view(value.shape).to(value)
        for (name, value), part in zip(like.items(), parts, strict=True)
    }


class Sharpness(NamedTuple):
    """The eigenvalue of the Hessian that is largest in size, and how well it is known."""

    eigenvalue: float
    residual: float  # |H v - eigenvalue v| / |eigenvalue| for the unit vector v that was found
    steps: int


def sharpness(
    network: nn.Module,
    shown: Sequence[Batch],
    seed: int = 0,
    *,
    steps: int = 100,
    filters: bool = True,
) -> Sharpness:
    """Find the largest eigenvalue of the loss's Hessian at the network's weights.

    Args:
        shown: images and labels that the loss is averaged over.
        seed: of the vector to start from.
        steps: most Hessian-vector products.
        filters: in units of each filter's norm, so that networks compare; else in the weights' own.
    """
    base = weights(network)
    units = norms(network) if filters else {name: torch.ones_like(v) for name, v in base.items()}
    generator = torch.Generator().manual_seed(seed)
    vector = unit({n: torch.randn(v.shape, generator=generator).to(v) for n, v in base.items()})
    found, before = Sharpness(0.0, math.inf, 0), math.inf
    for step in range(1, steps + 1):
        image = curvature(network, base, vector, units, shown)
        value = inner(vector, image)
        rest = {name: image[name] - value * vector[name] for name in vector}
        residual = math.sqrt(inner(rest, rest)) / max(abs(value), 1e-30)
        found = Sharpness(value, residual, step)
        if not math.isfinite(value) or abs(value - before) <= CLOSE * abs(value):
            break
        vector, before = unit(image), value
    return found


def curvature(
    network: nn.Module,
    base: Direction,
    vector: Direction,
    units: Direction,
    shown: Sequence[Batch],
) -> dict[str, Tensor]:
    """The Hessian of the mean loss times a vector, both in `units`: D H D v (Pearlmutter 1994)."""
    count = sum(len(batch.labels) for batch in shown)
    total = {name: torch.zeros_like(value) for name, value in base.items()}
    for batch in shown:
        values = {name: value.clone().requires_grad_() for name, value in base.items()}
        with still(network):
            logits = functional_call(network, values, (batch.images,)).float()
        mean = F.cross_entropy(logits, batch.labels, reduction="sum") / count
        slopes = torch.autograd.grad(mean, list(values.values()), create_graph=True)
        along = sum(
            (slope * units[name] * vector[name]).sum()
            for name, slope in zip(values, slopes, strict=True)
        )
        bends = torch.autograd.grad(along, list(values.values()), materialize_grads=True)  # type: ignore[arg-type]
        for name, bend in zip(values, bends, strict=True):
            total[name] += units[name] * bend
    return total


def inner(one: Direction, other: Direction) -> float:
    """The inner product of two directions."""
    return float(sum((one[name].double() * other[name].double()).sum() for name in one))


def unit(direction: Direction) -> dict[str, Tensor]:
    """A direction scaled to length 1."""
    length = max(math.sqrt(inner(direction, direction)), 1e-30)
    return {name: value / length for name, value in direction.items()}
