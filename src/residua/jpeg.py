"""JPEG by simplejpeg where it is installed: Pillow's pixels, bit for bit, in less time.

Both stand on libjpeg-turbo; simplejpeg writes straight into the array, Pillow goes by pieces and
copies. Only the plain kinds are given to it: 8 bits, baseline or progressive, gray or YCbCr. It is
strict, so that a file it has any doubt about goes to Pillow, whose judgment and words stay the
only ones.
"""

from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of a frame header
PLAIN = (0xC0, 0xC2)  # baseline and progressive, with Huffman codes


def fast(data: bytes) -> NDArray[np.uint8] | None:
    """Decode to RGB (h, w, 3), or None for what is left to Pillow.

    Args:
        data: a file that holds nothing but what draws the picture (`containers.drawing`).
    """
    decoder = simplejpeg()
    if decoder is None or not plain(data):
        return None
    try:
        if decoder.decode_jpeg_header(data)[2] not in ("YCbCr", "Gray"):
            return None
        pixels: NDArray[np.uint8] = decoder.decode_jpeg(data, "RGB")
    except ValueError:
        return None
    return pixels


def plain(data: bytes) -> bool:
    """Whether the frame header says 8 bits, one or three components, of a usual coding."""
    at = 2
    while at + 10 <= len(data):
        marker = data[at + 1]
        if marker in FRAMES:
            return marker in PLAIN and data[at + 4] == 8 and data[at + 9] in (1, 3)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


@cache
def simplejpeg() -> Any:
    """The package, or None where it is not installed (`pip install residua[fast]`)."""
    try:
        return import_module("simplejpeg")
    except ImportError:
        return None
