"""The one door for pixels: the bytes of an image file become RGB, uint8, (height, width, 3).

Training, evaluation, prediction and serving all come through here, so one file means one picture:

    orientation   EXIF 1 to 8 is applied
    transparency  laid over white
    gray, 1-bit   repeated over the three channels
    16-bit        value / 257, rounded
    CMYK, YCCK    R = (255 - C)(255 - K) / 255, stored inverted as Adobe does; no color profiles
    animation     the first frame, or the still picture of an animated PNG

A file is what its content says; its name is not asked. Sizes are checked before any pixel is
allocated (decoding takes at most 30 bytes for each), and a file that is cut off or fails a
checksum is refused. Only PNG has checksums: damage inside others that still decodes is not seen.
"""

import math
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import (
    Image,
    ImageFile,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401  Pillow knows WebP once this is imported
)

from residua import jpeg
from residua.containers import FORMATS, container, damaged, drawing
from residua.errors import BadData, OutOfResources, Refused, suggestion

__all__ = [
    "FITS", "FORMATS", "PIXEL_LIMIT", "Header", "Preprocessing", "allowed",
    "decode", "encode_png", "file_bytes", "probe", "read", "resize",
]  # fmt: skip

Pixels = NDArray[np.uint8]  # (h, w, 3), RGB
Box = tuple[float, float, float, float]  # left, top, right, bottom

PIXEL_LIMIT = 50_000_000
SIDE_LIMIT = 65_535  # beyond it the resampling of a thin line needs more memory than a large photo
BYTE_LIMIT = 8 * PIXEL_LIMIT  # the largest sensible file: 16-bit RGBA without compression
FITS = ("crop", "pad", "squash")
LONGEST = 4  # times the width; a strip of a thousand would fill the memory at any scale


class Header(NamedTuple):
    """What an image file declares; width and height are those of the upright picture."""

    format: str
    width: int
    height: int


def probe(data: bytes, pixel_limit: int = PIXEL_LIMIT) -> Header:
    """Read the header alone; BadData when it is damaged, of no known format or too large."""
    kind, width, height, orientation = container(data)
    if width < 1 or height < 1:
        raise damaged(kind, f"its size is {width} x {height}")
    if not allowed(width, height, pixel_limit):
        raise BadData(
            f"the {kind} image is {width} x {height}; the limit is {pixel_limit / 1e6:g} million "
            f"pixels and {SIDE_LIMIT} on a side",
            fix="make it smaller",
        )
    return Header(kind, height, width) if orientation > 4 else Header(kind, width, height)


def allowed(width: int, height: int, pixel_limit: int = PIXEL_LIMIT) -> bool:
    """Whether a picture of this size may be decoded."""
    return width * height <= pixel_limit and max(width, height) <= SIDE_LIMIT


def decode(data: bytes, pixel_limit: int = PIXEL_LIMIT) -> Pixels:
    """Decode one image file to RGB (h, w, 3) as the module says; BadData for anything else."""
    header = probe(data, pixel_limit)
    orientation = container(data).orientation
    try:
        pixels = _upright(_stored(drawing(data, header.format), header.format), orientation)
    except MemoryError:
        what = f"no memory to decode an image of {header.width} x {header.height} pixels"
        raise OutOfResources(what, fix="use fewer workers or smaller images") from None
    except BadData:
        raise
    except UnidentifiedImageError:
        raise damaged(header.format, "its header cannot be read") from None
    except Exception as error:  # decoders raise whatever the damage makes them trip over
        raise damaged(header.format, str(error) or type(error).__name__) from error
    if pixels.shape != (header.height, header.width, 3):
        raise damaged(header.format, "its picture is not of the size it declares")
    return np.require(pixels, requirements=["C", "W"])  # torch shares only writable memory


def file_bytes(path: Path) -> bytes:
    """The bytes of a regular file; BadData when it is missing, special, unreadable or too large."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise BadData("not a regular file", where=str(path), fix="remove it")
            if found.st_size > BYTE_LIMIT:
                what = f"the file has {found.st_size} bytes; the limit is {BYTE_LIMIT}"
                raise BadData(what, where=str(path), fix="make the image smaller")
            return file.read(found.st_size)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        what = f"the file cannot be read: {reason}"
        raise BadData(what, where=str(path), fix="check the path and its permissions") from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe without a writer would never open


def read(path: Path, pixel_limit: int = PIXEL_LIMIT) -> Pixels:
    """Decode a file; the error names it."""
    data = file_bytes(path)
    try:
        return decode(data, pixel_limit)
    except BadData as error:
        raise BadData(error.what, where=str(path), fix=error.fix) from error


def resize(pixels: Pixels, height: int, width: int, box: Box | None = None) -> Pixels:
    """The part of a picture inside `box`, by default all of it, at another size.

    Bilinear, averaging all it covers when it shrinks: the only resampling of decoded files.
    """
    box = box or (0, 0, pixels.shape[1], pixels.shape[0])
    if pixels.shape[:2] == (height, width) and box == (0, 0, width, height):
        return pixels
    image = Image.fromarray(pixels)
    return np.array(image.resize((width, height), Image.Resampling.BILINEAR, box))


def padded(pixels: Pixels, size: int) -> Pixels:
    """The whole picture, as large as it fits into (size, size, 3), centered on black."""
    scale = size / max(pixels.shape)
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    page = np.zeros((size, size, 3), np.uint8)
    y, x = (size - height) // 2, (size - width) // 2
    page[y : y + height, x : x + width] = resize(pixels, height, width)
    return page


def encode_png(pixels: Pixels) -> bytes:
    """The picture (h, w, 3) as the bytes of a PNG file."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the network's input; stored with the weights, the same on every path.

    `mean` has 3 values, or size * size * 3 in the order of the pixels; both in 0..1.
    """

    size: int
    fit: str = "crop"
    resize: int = 0  # the shorter side before the center crop; 0 stands for `size`
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if self.resize == 0:
            object.__setattr__(self, "resize", self.size)
        if self.fit not in FITS:
            fix = suggestion(self.fit, FITS) or f"known: {', '.join(FITS)}"
            raise Refused(f'no fit named "{self.fit}"', where="fit", fix=fix)
        if not 1 <= self.size <= 4096:
            raise Refused(f"an image size of {self.size}", "size", "choose from 1 to 4096")
        if not self.size <= self.resize <= 8192:
            fix = f"choose from {self.size}, the size, to 8192"
            raise Refused(f"resizing the shorter side to {self.resize}", "resize", fix)
        if len(self.mean) not in (3, self.size**2 * 3) or not all(map(math.isfinite, self.mean)):
            fix = "give 3 finite values, or one for each of size x size x 3"
            raise Refused(f"a mean of {len(self.mean)} values, or one not finite", "mean", fix)
        if len(self.std) != 3 or not all(0 < value < math.inf for value in self.std):
            raise Refused(f"deviations of {self.std}", "std", "give 3 finite values above 0")

    def view(self, pixels: Pixels) -> Pixels:
        """What the network sees of a picture (h, w, 3): (size, size, 3); itself if already so."""
        height, width = pixels.shape[:2]
        if height == width == self.size:
            return pixels
        if self.fit == "squash":
            return resize(pixels, self.size, self.size)
        if self.fit == "pad":
            return padded(pixels, self.size)
        scale = min(height, width) / self.resize
        side = self.size * scale  # of the square that the crop covers, in pixels of the picture
        x, y = max(0.0, (width - side) / 2), max(0.0, (height - side) / 2)
        box = (x, y, min(x + side, width), min(y + side, height))
        return resize(pixels, self.size, self.size, box)

    def whole(self, pixels: Pixels, side: int) -> Pixels:
        """The whole picture, its shorter side `side` pixels, fitted as in `view` but not cropped.

        Squashed and padded pictures become squares. Of one that is longer than LONGEST times its
        width, only the middle is shown. Itself if it is already so.
        """
        height, width = pixels.shape[:2]
        if self.fit == "pad" and height != width:
            return padded(pixels, side)
        if self.fit == "squash":
            return resize(pixels, side, side)
        short = min(height, width)
        tall, wide = (min(each, LONGEST * short) for each in (height, width))
        x, y = (width - wide) / 2, (height - tall) / 2
        box = (x, y, x + wide, y + tall)
        return resize(pixels, round(side * tall / short), round(side * wide / short), box)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            **asdict(self),
            "mean": list(map(float, self.mean)),
            "std": list(map(float, self.std)),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """Read what `to_dict` wrote; BadData for a key or value that it would not write."""
        where = "preprocessing"
        names = {field.name for field in fields(cls)}
        if not isinstance(values, Mapping) or values.keys() != names:
            raise BadData("its keys are not " + ", ".join(sorted(names)), where)
        size, fit, resize, mean, std = (values[field.name] for field in fields(cls))
        if type(size) is not int or type(resize) is not int or not isinstance(fit, str):
            raise BadData("size and resize are not whole numbers, or fit is not a text", where)
        if not all(
            isinstance(row, list) and set(map(type, row)) <= {int, float} for row in (mean, std)
        ):
            raise BadData("mean and std are not lists of numbers", where)
        try:
            return cls(size, fit, resize, tuple(map(float, mean)), tuple(map(float, std)))
        except (Refused, OverflowError) as error:
            raise BadData(f"a value is out of range: {error.args[0]}", where) from error


def _open(data: bytes, kind: str) -> ImageFile.ImageFile:
    return Image.open(BytesIO(data), formats=[kind])


def _stored(data: bytes, kind: str) -> Pixels:
    pixels = jpeg.fast(data) if kind == "JPEG" else None
    return _rgb(data, kind) if pixels is None else pixels


def _rgb(data: bytes, kind: str) -> Pixels:
    """Any picture that the five formats can hold -> (h, w, 3), as stored."""
    depth, color = (data[24], data[25]) if kind == "PNG" else (8, -1)
    if depth == 16:
        return _deep(data, color)
    with _open(data, kind) as image:
        key = image.info.get("transparency")  # one gray value or color that means transparent
        if image.mode in ("1", "L"):
            samples = np.asarray(image.convert("L"))
            most = 2**depth - 1
            return _keyed(samples, None if key is None else samples == (key & most) * 255 // most)
        if image.mode == "RGB":
            samples = np.asarray(image)
            return _keyed(samples, None if key is None else samples == np.bitwise_and(key, 255))
        return _over_white(image)


def _deep(png: bytes, color: int) -> Pixels:
    """16-bit PNG. Pillow keeps the high bytes only, so the low ones are read as another kind.

    v = 256 high + low = 257 high + (low - high), hence v / 257 rounded is high, or one beside it.
    """
    with _open(png, "PNG") as image:
        key = image.info.get("transparency")
    if color == 0:  # gray
        with _open(png, "PNG") as image:
            values = np.asarray(image)
        high, low = (values >> 8).astype(np.uint8), values.astype(np.uint8)
    elif color == 4:  # gray with alpha: 4 bytes a pixel, as 8-bit RGBA
        both = _reread(png, "RGBA")
        high, low = both[..., 0::2], both[..., 1::2]
    else:
        name = {2: "RGB", 6: "RGBA"}[color]
        high, low = _reread(png, name + ";16B"), _reread(png, name + ";16L")
    samples = np.empty_like(high)
    for at in range(0, len(high), 64):  # by rows, for the sake of memory
        rows = slice(at, at + 64)
        difference = low[rows].astype(np.int16) - high[rows]
        samples[rows] = high[rows] + (difference > 128) - (difference < -128)
    if color in (4, 6):
        return _over_white(Image.fromarray(samples))
    if key is None:
        return _keyed(samples, None)
    return _keyed(samples, (high == np.right_shift(key, 8)) & (low == np.bitwise_and(key, 255)))


def _reread(png: bytes, layout: str) -> NDArray[np.uint8]:
    """Decode a PNG whose unpacked rows are taken to be of another layout, as wide in bytes."""
    with _open(png, "PNG") as image:
        image.tile = [tile._replace(args=layout) for tile in image.tile]
        return np.asarray(image)


def _keyed(samples: NDArray[np.uint8], clear: NDArray[np.bool_] | None) -> Pixels:
    """Gray (h, w) or RGB (h, w, 3) -> RGB, white where all samples of a pixel are `clear`."""
    if samples.ndim == 2:
        samples = np.repeat(samples[:, :, None], 3, axis=2)
        clear = None if clear is None else clear[:, :, None]
    if clear is None:
        return samples
    return np.where(clear.all(axis=2, keepdims=True), np.uint8(255), samples)


def _over_white(image: Image.Image) -> Pixels:
    """Palettes, alpha and CMYK."""
    if image.mode == "LA" or (image.mode == "P" and "transparency" in image.info):
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        page = Image.new("RGB", image.size, "white")
        page.paste(image, mask=image)
        return np.asarray(page)
    if image.mode not in ("P", "CMYK"):
        raise BadData(f"pixels of the kind {image.mode} are not supported", fix="convert it to PNG")
    return np.asarray(image.convert("RGB"))


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo how the camera was held: above 4 rows are columns; then either may be flipped."""
    if orientation > 4:
        pixels = pixels.swapaxes(0, 1)
    down = -1 if orientation in (3, 4, 7, 8) else 1
    right = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::down, ::right]
