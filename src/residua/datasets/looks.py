"""One reading of each image of a split: what it leaves behind is small, its pixels are not kept."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from residua import containers, images
from residua.datasets.dataset import Split, digest
from residua.errors import BadData

BLOCK = 32  # images a worker takes at a time

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


def looks(split: Split, workers: int = 1) -> Iterator[Look]:
    """Yield a look at every image, in order, reading files in `workers` threads."""
    if isinstance(split.images, Tensor):
        return _tensor_looks(split.images)
    return _file_looks(split.images, workers)


def _tensor_looks(pixels: Tensor) -> Iterator[Look]:
    """Images in memory, uint8 (n, h, w, 3): nothing can be damaged, so only digests are taken."""
    height, width = pixels.shape[1:3]
    for block in pixels.split(1000):
        constant = (block == block[:, :1, :1]).flatten(1).all(dim=1).tolist()
        for image, same in zip(block.numpy(), constant, strict=True):
            yield Look(digest(image), (height, width), same)


def _file_looks(paths: Sequence[Path], workers: int) -> Iterator[Look]:
    blocks = [paths[at : at + BLOCK] for at in range(0, len(paths), BLOCK)]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        yield from chain.from_iterable(pool.map(lambda block: list(map(_look, block)), blocks))


def _look(path: Path) -> Look:
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
    )
