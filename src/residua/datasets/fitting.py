"""How well two pictures agree once one is shifted and stretched onto the other.

Both are sketches (`looks.sketches`): luminance 32 x 32, of which lengths are in pixels.
"""

import torch
from torch import Tensor

from residua.datasets.looks import GRAIN, SIDE

NOISE = 2.0  # of an encoder, in gray levels: weaker detail counts for less
REACH = 3.0  # how far a side is shifted to fit, in 1/32 of the picture
COARSE, FINE = 3.0, 0.8  # Gaussian blurs between which detail is
TILES = 4  # in each direction


def light(sketches: Tensor) -> Tensor:
    """The luminance (n, 32, 32) of sketches (n, 1056)."""
    return sketches[:, : SIDE**2].float().view(-1, SIDE, SIDE)


def tints(ours: Tensor, theirs: Tensor, mirrored: Tensor) -> tuple[Tensor, Tensor]:
    """How far the colors of pairs of sketches are apart, and whether exactly one is gray."""
    a, b = (
        2 * sketches[:, SIDE**2 :].float().view(-1, GRAIN, GRAIN, 2) - 256
        for sketches in (ours, theirs)
    )
    b = torch.where(mirrored[:, None, None, None], b.flip(2), b)
    gray = (a.abs().amax(dim=(1, 2, 3)) <= 2) ^ (b.abs().amax(dim=(1, 2, 3)) <= 2)
    return (a - b).square().mean(dim=(1, 2, 3)).sqrt(), gray


def exposures(a: Tensor, b: Tensor) -> Tensor:
    """Whether brightness or contrast of pairs of pictures differ by more than an encoder does."""
    width = torch.tensor([COARSE])
    contrast = (_blurred(a, width).std(dim=(1, 2)) / _blurred(b, width).std(dim=(1, 2))).log()
    return ((a - b).mean(dim=(1, 2)).abs() > 5) | (contrast.abs() > 0.1)


def _blurred(pictures: Tensor, width: Tensor) -> Tensor:
    """Pictures (n, 32, 32) under Gaussians of these widths, (n,) or (1,)."""
    step = torch.arange(SIDE, dtype=torch.float32)
    weights = torch.exp(-((step[:, None] - step) ** 2) / (2 * width[:, None, None] ** 2))
    weights = weights / weights.sum(dim=2, keepdim=True)
    return weights @ pictures @ weights.mT


def _detail(pictures: Tensor, fine: Tensor) -> Tensor:
    """What lies between two blurs of pictures (n, 32, 32), the finer one of widths (n,).

    First their slope is taken away: at the edges, where blurs see one side only, it would remain.
    """
    t = _across() / _across().square().sum() ** 0.5 / SIDE**0.5
    across, down = t.expand(SIDE, SIDE), t[:, None].expand(SIDE, SIDE)
    for slope in (across, down):
        pictures = pictures - (pictures * slope).sum(dim=(1, 2), keepdim=True) * slope
    return _blurred(pictures, fine) - _blurred(pictures, torch.tensor([COARSE]))


def roughness(pictures: Tensor) -> Tensor:
    """The deviation (n,) of the Laplacian of pictures (n, 32, 32) at half their size."""
    half = pictures.view(-1, SIDE // 2, 2, SIDE // 2, 2).mean(dim=(2, 4))
    inner = half[:, 1:-1, 1:-1]
    around = half[:, :-2, 1:-1] + half[:, 2:, 1:-1] + half[:, 1:-1, :-2] + half[:, 1:-1, 2:]
    return (4 * inner - around).square().mean(dim=(1, 2)).sqrt()


def _moved(pictures: Tensor, move: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures (n, 32, 32) shifted and stretched by (n, 4), bilinear, and where they reach (1)."""
    step = torch.arange(SIDE, dtype=torch.float32)
    at = step + move[:, 0::2, None] + move[:, 1::2, None] * _across()  # (n, 2, 32): across, down
    reach = ((at > -0.5) & (at < SIDE - 0.5)).float()
    taken = (1 - (at.clamp(0, SIDE - 1)[..., None] - step).abs()).clamp(min=0)  # (n, 2, 32, 32)
    moved = taken[:, 1] @ pictures @ taken[:, 0].mT
    return moved, reach[:, 1, :, None] * reach[:, 0, None, :]


def _across() -> Tensor:
    """Positions from -1 to 1."""
    return (torch.arange(SIDE) - (SIDE - 1) / 2) / ((SIDE - 1) / 2)


def fitted(a: Tensor, b: Tensor) -> Tensor:
    """The move (n, 4) (shift and stretch across, the same down) that lays b onto a.

    Gauss-Newton on a = gain b(moved) + offset, from coarse to fine; a ridge keeps what the
    pictures do not determine at rest.
    """
    count, t = len(a), _across()
    move = torch.zeros(count, 4)
    ridge = torch.diag(torch.tensor([0.0, 0, 1, 1, 1, 1]))
    for width in (2.0, 2.0, 1.0, 1.0):
        target = _blurred(a, torch.tensor([width]))
        moved, reach = _moved(_blurred(b, torch.tensor([width])), move)
        down, across = torch.gradient(moved, dim=(1, 2))
        terms = [moved, torch.ones_like(moved), across, across * t, down, down * t[:, None]]
        design = torch.stack(terms, dim=1).view(count, 6, -1)
        inside = design * reach.view(count, 1, -1)
        normal = inside @ design.mT
        weight = 1e-3 * normal.diagonal(dim1=1, dim2=2)[:, 2:].sum(dim=1) + 1e-3
        normal = normal + weight[:, None, None] * ridge + 1e-3 * torch.eye(6)
        solved = torch.linalg.solve(normal, inside @ target.view(count, -1, 1))[..., 0]
        steps = (solved[:, 2:] / solved[:, :1].clamp(min=0.2)).clamp(-1.5, 1.5)
        move = (move + steps).clamp(-REACH, REACH)
    return move


def agreement(a: Tensor, b: Tensor, move: Tensor, sides: Tensor) -> Tensor:
    """The correlation (n,) of the detail of a and of b moved, tile by tile, then averaged.

    Tiles count by their contrast, so that a frame or one strong edge cannot decide alone. `sides`
    (n,) are the shortest of the original pictures: what the smaller one cannot hold is left out.
    """
    moved, reach = _moved(b, move)
    fine = FINE * (SIDE / sides).clamp(min=1)
    a, b = _detail(a, fine) * reach, _detail(moved, fine) * reach
    gain = (a.square().mean(dim=(1, 2)) / b.square().mean(dim=(1, 2)).clamp(min=1e-6)).sqrt()
    b = b * gain.clamp(0.25, 4)[:, None, None]
    both = _tile_means(a * b)
    power = _tile_means(a.square() + b.square()) / 2
    weight = power**1.5 / (power + NOISE**2)
    return (weight * both / power.clamp(min=1e-6)).sum(1) / weight.sum(1).clamp(min=1e-6)


def _tile_means(values: Tensor) -> Tensor:
    """The means (n, 16) over the tiles of (n, 32, 32)."""
    tiles = values.view(-1, TILES, SIDE // TILES, TILES, SIDE // TILES)
    return tiles.mean(dim=(2, 4)).view(-1, TILES**2)
