"""Pictures for tests: of every kind that is read, and with every fault that is looked for.

mixed(root)           a sound folder: three classes, two splits, twelve kinds of file
plant(root)           twelve faults into such a folder; returns what `inspect` must name
"""

import struct
import zlib
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

CLASSES = ("cat", "dog", "owl")


def photo(height: int, width: int, seed: int) -> Pixels:
    """A smooth picture with a little noise, (height, width, 3); no two seeds give the same."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    noisy = smooth + random.integers(-6, 7, (height, width, 3))
    return noisy.clip(0, 255).astype(np.uint8)


def encoded(
    image: Image.Image | Pixels, kind: str, turn: int = 0, quality: int = 95, **options: object
) -> bytes:
    """The bytes of an image file; `turn` is an EXIF orientation."""
    if turn:
        exif = Image.Exif()
        exif[0x0112] = turn
        options["exif"] = exif
    if kind in ("JPEG", "WEBP"):
        options["quality"] = quality
    file = BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, contents: bytes) -> bytes:
    """One chunk of a PNG file."""
    check = struct.pack(">I", zlib.crc32(kind + contents))
    return struct.pack(">I", len(contents)) + kind + contents + check


def png(
    size: tuple[int, int], depth: int, color: int, rows: Sequence[bytes], extra: bytes = b""
) -> bytes:
    """A PNG file of rows that are already packed; `size` is (height, width)."""
    header = struct.pack(">IIBBBBB", size[1], size[0], depth, color, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
    return start + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def deep_png(samples: NDArray[np.uint16], extra: bytes = b"") -> bytes:
    """A 16-bit PNG of (h, w, channels): gray, gray and alpha, RGB or RGBA."""
    height, width, channels = samples.shape
    color = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    return png((height, width), 16, color, [row.astype(">u2").tobytes() for row in samples], extra)


def bomb(width: int = 20_000, height: int = 20_000) -> bytes:
    """A small PNG that declares a huge picture."""
    return png((height, width), 8, 2, [b"\0" * 100])


def scans(count: int) -> bytes:
    """A progressive JPEG with its last scan repeated `count` times."""
    data = encoded(photo(40, 56, 0), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + b"\xff\xd9"


def _cmyk(pixels: Pixels) -> bytes:
    return encoded(Image.fromarray(pixels).convert("CMYK"), "JPEG")


def _with_alpha(pixels: Pixels) -> bytes:
    alpha = np.linspace(0, 255, pixels.shape[1], dtype=np.uint8)
    alpha = np.broadcast_to(alpha[None, :, None], (*pixels.shape[:2], 1))
    return encoded(np.concatenate([pixels, alpha], axis=2), "PNG")


KINDS: tuple[tuple[str, Callable[[Pixels], bytes]], ...] = (
    (".jpg", lambda p: encoded(p, "JPEG", quality=85)),
    (".png", lambda p: encoded(p, "PNG")),
    (".webp", lambda p: encoded(p, "WEBP")),
    (".JPEG", lambda p: encoded(p[..., 0], "JPEG")),  # gray
    (".png", _with_alpha),
    (".jpg", _cmyk),
    (".jpg", lambda p: encoded(p, "JPEG", turn=6)),  # held upright
    (".jpeg", lambda p: encoded(p, "JPEG", progressive=True)),
    (".png", lambda p: deep_png(p.astype(np.uint16) * 257)),
    (".png", lambda p: encoded(Image.fromarray(p).quantize(32), "PNG")),  # palette
    (".bmp", lambda p: encoded(p, "BMP")),
    (".gif", lambda p: encoded(p, "GIF")),
)


def mixed(root: Path, train: int = 14, test: int = 5) -> None:
    """Write a folder without faults: all KINDS, all of odd sizes, no two images alike."""
    seed = 0
    for role, count in (("train", train), ("test", test)):
        for label in CLASSES:
            for index in range(count):
                suffix, write = KINDS[seed % len(KINDS)]
                pixels = photo(41 + 2 * (seed % 17), 45 + 2 * (seed % 13), seed)
                place(root, f"{role}/{label}/{index:03d}{suffix}", write(pixels))
                seed += 1


def place(root: Path, name: str, data: bytes) -> str:
    """Write one file below `root`, making its folders; returns its name."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return name


def plant(root: Path) -> dict[str, set[str]]:
    """Put twelve faults into a folder of `mixed`; returns kind -> names of what has it.

    The first four kinds are errors, the others warnings.
    """
    fresh = iter(range(10_000, 20_000))

    def some() -> Pixels:
        return photo(61, 47, next(fresh))

    jpeg, flipped = encoded(some(), "JPEG"), bytearray(encoded(some(), "PNG"))
    flipped[len(flipped) // 2] ^= 0x10
    page = b"<!DOCTYPE html><html><body>404 not found</body></html>"
    twin, contested, leaked = some(), some(), some()
    flat = np.full((51, 49, 3), (200, 30, 90), np.uint8)
    for label, pixels in (("cat", twin), ("owl", contested), ("cat", leaked)):
        place(root, f"train/{label}/original-{next(fresh)}.png", encoded(pixels, "PNG"))
    for index in range(12):
        place(root, f"train/yak/{index}.png", encoded(some(), "PNG"))
    contested_twin = next((root / "train/owl").glob("original-*.png")).relative_to(root)
    return {
        "corrupt": {
            place(root, "train/cat/cut.jpg", jpeg[: len(jpeg) * 2 // 3]),
            place(root, "train/dog/flipped.png", bytes(flipped)),
        },
        "empty": {place(root, "train/dog/empty.jpg", b"")},
        "not-an-image": {
            place(root, "train/dog/page.jpg", page),
            place(root, "test/owl/tiff.png", encoded(some(), "TIFF")),
        },
        "too-large": {place(root, "train/owl/bomb.png", bomb())},
        "wrong-format": {place(root, "train/owl/png.jpg", encoded(some(), "PNG"))},
        "duplicate": {place(root, "train/cat/twin.bmp", encoded(twin, "BMP"))},
        "conflict": {
            place(root, "train/dog/contested.bmp", encoded(contested, "BMP")),
            str(contested_twin),
        },
        "leak": {place(root, "test/cat/leaked.webp", encoded(leaked, "WEBP", lossless=True))},
        "constant": {place(root, "train/cat/flat.png", encoded(flat, "PNG"))},
        "class-mismatch": {"yak"},
    }
