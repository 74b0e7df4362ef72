"""One reading of each image of a split: what it leaves behind is small, its pixels are not kept.

Beside the digest, which only equal pixels share, it can leave a sketch, which copies nearly share:
the luminance at 32 x 32 and two color differences at 4 x 4, 1,056 bytes. `duplicates` compares
them. Every picture is squashed to a square, so width and height do not matter.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from residua import containers, images
from residua.datasets.dataset import Pixels, Split, digest
from residua.errors import BadData

BLOCK = 32  # images a worker takes at a time
SIDE = 32  # of the luminance in a sketch
GRAIN = 4  # side of its color differences
LUMINANCE = (0.299, 0.587, 0.114)  # of R, G and B, as in JPEG

EXTENSIONS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".mpo": "JPEG",
    ".png": "PNG", ".apng": "PNG", ".webp": "WEBP", ".gif": "GIF", ".bmp": "BMP", ".dib": "BMP",
}  # fmt: skip


class Look(NamedTuple):
    """The digest of the pixels, or the kind of fault that kept them from being read."""

    digest: bytes = b""
    size: tuple[int, int] = (0, 0)  # height, width
    constant: bool = False  # a single color
    fault: str = ""
    note: str = ""  # about the fault, or that the content is not what the extension announces
    sketch: bytes = b""  # of what is to be compared, where asked for


def looks(split: Split, workers: int = 1, sketched: bool = False) -> Iterator[Look]:
    """Yield a look at every image, in order, reading files in `workers` threads.

    With `sketched` every image that can be read leaves a sketch as well.
    """
    if isinstance(split.images, Tensor):
        return _tensor_looks(split.images, sketched)
    return _file_looks(split.images, workers, sketched)


def sketches(pixels: Pixels) -> NDArray[np.uint8]:
    """The sketches (n, 1056) of pictures (n, h, w, 3)."""
    if pixels.shape[1:3] != (SIDE, SIDE):
        small = [images.resize(picture, SIDE, SIDE) for picture in pixels]
        pixels = np.stack(small) if small else np.empty((0, SIDE, SIDE, 3), np.uint8)
    values = pixels.astype(np.float32)  # (n, 32, 32, 3)
    light = values @ np.array(LUMINANCE, np.float32)  # (n, 32, 32)
    cells = values - light[..., None]
    cells = cells.reshape(-1, GRAIN, SIDE // GRAIN, GRAIN, SIDE // GRAIN, 3).mean(axis=(2, 4))
    color = cells[..., [0, 2]] / 2 + 128  # (n, 4, 4, 2): R - Y and B - Y, within 0 and 255
    parts = (light.reshape(len(pixels), SIDE**2), color.reshape(len(pixels), 2 * GRAIN**2))
    return np.rint(np.concatenate(parts, axis=1)).astype(np.uint8)


def _tensor_looks(pixels: Tensor, sketched: bool) -> Iterator[Look]:
    """Images in memory, uint8 (n, h, w, 3): nothing can be damaged, so only digests are taken."""
    height, width = pixels.shape[1:3]
    for block in pixels.split(1000):
        constant = (block == block[:, :1, :1]).flatten(1).all(dim=1).tolist()
        drawn = sketches(block.numpy()) if sketched else np.empty((len(block), 0), np.uint8)
        for image, same, sketch in zip(block.numpy(), constant, drawn, strict=True):
            yield Look(digest(image), (height, width), same, sketch=sketch.tobytes())


def _file_looks(paths: Sequence[Path], workers: int, sketched: bool) -> Iterator[Look]:
    blocks = [paths[at : at + BLOCK] for at in range(0, len(paths), BLOCK)]

    def seen(block: Sequence[Path]) -> list[Look]:
        return [_look(path, sketched) for path in block]

    with ThreadPoolExecutor(max(1, workers)) as pool:
        yield from chain.from_iterable(pool.map(seen, blocks))


def _look(path: Path, sketched: bool) -> Look:
    """Read and decode one file, and say what kind of fault it has if it has one."""
    try:
        data = images.file_bytes(path)
    except BadData as error:
        return Look(fault="unreadable", note=error.what)
    kind = containers.sniff(data)
    if not data:
        return Look(fault="empty", note="0 bytes")
    if kind is None:
        return Look(fault="not-an-image", note=containers.likeness(data))
    try:
        declared = containers.container(data)
        if not images.allowed(declared.width, declared.height):
            return Look(fault="too-large", note=f"{declared.width} x {declared.height} pixels")
        pixels = images.decode(data)
    except BadData as error:
        return Look(fault="corrupt", note=error.what)
    announced = EXTENSIONS.get(path.suffix.lower(), kind)
    first = pixels[0, 0]
    return Look(
        digest(pixels),
        (pixels.shape[0], pixels.shape[1]),
        bool((pixels[0] == first).all() and (pixels == first).all()),  # the first row tells most
        note="" if announced == kind else f"its content is {kind}",
        sketch=sketches(pixels[None])[0].tobytes() if sketched else b"",
    )
