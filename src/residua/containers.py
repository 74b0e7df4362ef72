"""The image containers: what a file says of itself before any pixel is decoded.

Two things must happen before a decoder sees a stranger's file. Its size must be known and allowed,
because decoders allocate first and fail later. And everything that does not draw the first picture
must be gone: texts, color profiles, EXIF, thumbnails and later frames are where compression bombs
and parser faults live. So the five formats are walked here by the rules of their specifications,
in steps bounded by constants, and `drawing` hands on only the parts that make pixels.

    JPEG  ITU T.81, annex B         PNG  W3C PNG third edition, section 5
    WebP  RFC 9649                  GIF  GIF89a, section 11         BMP  BITMAPINFOHEADER
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from residua.errors import BadData

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")

PART_LIMIT = 10_000  # segments of a JPEG, chunks of a WebP; real files have fewer than 2,000
BLOCK_LIMIT = 200_000  # chunks of a PNG, sub-blocks before the first frame of a GIF
SCAN_LIMIT = 100  # of a progressive JPEG; encoders write about 10, an attack 1,000
RLE_PIXEL_LIMIT = 4_000_000  # run-length coded BMP is decoded in Python, so a large one is slow

_JPEG_KEPT = {*range(0xC0, 0xD0), 0xDB, 0xDD, 0xE0, 0xEE} - {0xC8}  # tables, frame, JFIF, Adobe
_JPEG_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BETWEEN = {0xC4, 0xCC, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)}  # after a scan
_JPEG_MARKER = re.compile(rb"\xff+([^\xff\x00])", re.DOTALL)  # fill bytes may precede it
_JPEG_SCAN_END = re.compile(rb"\xff([^\xff\x00\xd0-\xd7])", re.DOTALL)
_PNG_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_PNG_START = b"\x89PNG\r\n\x1a\n"

_LIKENESSES = (  # (first bytes, offset, what it is)
    (b"%PDF", 0, "a PDF document"),
    (b"II*\x00", 0, "a TIFF image"),
    (b"MM\x00*", 0, "a TIFF image"),
    (b"8BPS", 0, "a Photoshop document"),
    (b"SIMPLE  =", 0, "a FITS file"),
    (b"\x00\x00\x01\x00", 0, "a Windows icon"),
    (b"ftypavi", 4, "an AVIF image"),
    (b"ftyphei", 4, "a HEIC image"),
    (b"ftypmif1", 4, "a HEIC image"),
    (b"ftyp", 4, "an MP4 or QuickTime video"),
    (b"\x00\x00\x00\x0cjP", 0, "a JPEG 2000 image"),
    (b"\xff\x0a", 0, "a JPEG XL image"),
    (b"PK\x03\x04", 0, "a ZIP archive or an office document"),
    (b"\x1f\x8b", 0, "a gzip archive"),
    (b"version https://git-lfs", 0, "a Git LFS pointer, not the file it stands for"),
)


class Container(NamedTuple):
    """What a file declares: its format, its size as stored, and how to turn it upright."""

    format: str
    width: int
    height: int
    orientation: int = 1  # EXIF, 1 to 8


def sniff(data: bytes) -> str | None:
    """Return which of FORMATS the first bytes announce, whatever the name says; None for others."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(_PNG_START):
        return "PNG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith(b"BM") and data[15:18] == b"\0\0\0":  # the size of its header, 12 to 124
        return "BMP"
    return None


def likeness(data: bytes) -> str:
    """Return in words what data that is none of FORMATS looks like."""
    for start, offset, words in _LIKENESSES:
        if data.startswith(start, offset):
            return words
    if not data.strip(b"\0"):
        return "nothing but zero bytes"
    text = data[:1024].decode("utf-8", "replace").strip("\ufeff \t\r\n").lower()
    if "<svg" in text:
        return "an SVG drawing"
    if text.startswith("<!doctype html") or "<html" in text or "<body" in text:
        return "an HTML page"
    printable = sum((c.isprintable() or c.isspace()) and c != "\ufffd" for c in text)
    return "a text file" if printable > 0.95 * len(text) else "of no known image format"


def container(data: bytes) -> Container:
    """Return what the container declares; BadData when it is damaged or not one of FORMATS."""
    if not data:
        raise BadData("the file is empty", fix="remove it or copy it again")
    kind = sniff(data)
    if kind is None:
        raise BadData(
            f"not an image that can be read: it is {likeness(data)}",
            fix=f"remove it or convert it to one of {', '.join(FORMATS)}",
        )
    try:
        return _HEADERS[kind](data)
    except (struct.error, IndexError):
        raise cut_off(kind) from None


def drawing(data: bytes, kind: str) -> bytes:
    """Return a file of the same format with nothing but what draws the first picture."""
    try:
        if kind == "JPEG":
            return _jpeg_drawing(data)
        if kind == "PNG":
            return _png_drawing(data)
        if kind == "GIF":
            return _gif_drawing(data)
    except (struct.error, IndexError):
        raise cut_off(kind) from None
    return data  # BMP and WebP decoders parse nothing else


def damaged(kind: str, how: str) -> BadData:
    """Return the error for a file whose bytes are not what its format prescribes."""
    return BadData(f"the {kind} image is damaged: {how}", fix="remove it or copy it again")


def cut_off(kind: str) -> BadData:
    """Return the error for a file that ends too early."""
    return damaged(kind, "the file is cut off")


def _orientation(exif: bytes) -> int:
    """The orientation in an EXIF block; damaged metadata does not spoil the picture, it gives 1."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        (first,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, first)
        for entry in range(first + 2, first + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, entry)
            if tag == 0x0112:
                return value if kind == 3 and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start of the segment, end) up to and including the first start of scan."""
    at = 2
    for _ in range(PART_LIMIT):
        found = _JPEG_MARKER.match(data, at)
        if found is None:
            raise cut_off("JPEG") if at >= len(data) - 1 else damaged("JPEG", "a marker is missing")
        marker, start = found[1][0], found.end() - 2
        if marker == 0xD9:
            raise damaged("JPEG", "it has no picture")
        length = 0 if marker == 0x01 or 0xD0 <= marker <= 0xD8 else _u16(data, found.end())
        at = found.end() + length
        if at > len(data):
            raise cut_off("JPEG")
        yield marker, start, at
        if marker == 0xDA:
            return
    raise damaged("JPEG", f"it has more than {PART_LIMIT} segments")


def _jpeg(data: bytes) -> Container:
    frames, orientation = [], 0
    for marker, start, end in _jpeg_segments(data):
        if marker in _JPEG_FRAMES:
            frames.append(struct.unpack_from(">HH", data, start + 5))
        elif marker == 0xE1 and not orientation and data[start + 4 : end].startswith(b"Exif\0\0"):
            orientation = _orientation(data[start + 4 : end])
    if len(frames) != 1:
        raise damaged("JPEG", f"it has {len(frames)} frame headers")
    return Container("JPEG", frames[0][1], frames[0][0], orientation or 1)


def _jpeg_drawing(data: bytes) -> bytes:
    """The tables, the frame and all scans up to the end marker, which must be there."""
    parts, at = [b"\xff\xd8"], 0
    for marker, start, end in _jpeg_segments(data):
        at = end
        if marker in _JPEG_KEPT or marker == 0xDA:
            parts.append(data[start:end])
    scans, scan = 1, at
    for _ in range(PART_LIMIT):
        found = _JPEG_SCAN_END.search(data, at)
        if found is None:
            raise cut_off("JPEG")
        marker = found[1][0]
        if marker == 0xD9:
            return b"".join((*parts, data[scan : found.end()]))
        if marker not in _JPEG_BETWEEN:
            raise damaged("JPEG", f"marker {marker:02X} inside the picture")
        scans += marker == 0xDA
        if scans > SCAN_LIMIT:
            raise damaged("JPEG", f"it has more than {SCAN_LIMIT} scans")
        at = found.end() + _u16(data, found.end())
    raise damaged("JPEG", f"it has more than {PART_LIMIT} segments")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, start of the type, end of the contents) of each chunk."""
    at = len(_PNG_START)
    for _ in range(BLOCK_LIMIT):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            raise cut_off("PNG")
        yield kind, at + 4, end
        if kind == b"IEND":
            return
        at = end + 4
    raise damaged("PNG", f"it has more than {BLOCK_LIMIT} chunks")


def _png(data: bytes) -> Container:
    if data[8:16] != b"\0\0\0\x0dIHDR":
        raise damaged("PNG", "it does not begin with its header")
    width, height = struct.unpack_from(">II", data, 16)
    exif = next((data[at + 4 : end] for kind, at, end in _png_chunks(data) if kind == b"eXIf"), b"")
    return Container("PNG", width, height, _orientation(exif))


def _png_drawing(data: bytes) -> bytes:
    """The header, palette, transparency and image data, each with its checksum verified."""
    head, body = [_PNG_START], []
    for kind, at, end in _png_chunks(data):
        if kind not in _PNG_CRITICAL and kind != b"tRNS":
            if not kind[0] & 0x20:  # an upper-case first letter: cannot be ignored
                raise damaged("PNG", f"unknown chunk {kind!r}")
            continue
        if zlib.crc32(data[at:end]) != struct.unpack_from(">I", data, end)[0]:
            raise damaged("PNG", f"the checksum of its {kind.decode()} chunk does not match")
        if kind == b"IDAT":
            body.append(data[at + 4 : end])
        elif kind != b"IEND":
            head.append(data[at - 4 : end + 4])
    parts = (*head, _png_chunk(b"IDAT" + b"".join(body)), _png_chunk(b"IEND"))
    return b"".join(parts)


def _png_chunk(contents: bytes) -> bytes:
    return struct.pack(">I", len(contents) - 4) + contents + struct.pack(">I", zlib.crc32(contents))


def _gif_frame(data: bytes) -> tuple[int, int, bytes]:
    """(end of the global palette, start of the first frame, its graphic control block)."""
    palette_end = at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    control, blocks = b"", 0
    while data[at] == 0x21:  # an extension
        start, at = at, at + 2
        while data[at]:
            at += 1 + data[at]
            blocks += 1
            if blocks > BLOCK_LIMIT:
                raise damaged("GIF", f"it has more than {BLOCK_LIMIT} blocks before its picture")
        at += 1
        if data[start + 1] == 0xF9:
            control = data[start:at]
    if data[at] != 0x2C:
        raise damaged("GIF", "it has no picture")
    return palette_end, at, control


def _gif(data: bytes) -> Container:
    screen = struct.unpack_from("<HH", data, 6)
    x, y, width, height = struct.unpack_from("<HHHH", data, _gif_frame(data)[1] + 1)
    return Container("GIF", max(screen[0], x + width), max(screen[1], y + height))


def _gif_drawing(data: bytes) -> bytes:
    palette_end, frame, control = _gif_frame(data)
    return data[:palette_end] + control + data[frame:]


def _webp(data: bytes) -> Container:
    size, orientation = _webp_size(data), 1
    at = 12
    for _ in range(PART_LIMIT):
        if at + 8 > len(data):
            return Container("WEBP", *size, orientation)
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind == b"EXIF":
            orientation = _orientation(data[at + 8 : at + 8 + length])
        at += 8 + length + length % 2
    return Container("WEBP", *size, orientation)  # 10,000 frames: only the first is drawn


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        low_w, high_w, low_h, high_h = struct.unpack_from("<HBHB", data, 24)
        return (high_w << 16 | low_w) + 1, (high_h << 16 | low_h) + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise damaged("WEBP", "it has no picture")


def _bmp(data: bytes) -> Container:
    if data[14] == 12:
        return Container("BMP", *struct.unpack_from("<HH", data, 18))
    width, height, _, _, compression = struct.unpack_from("<iiHHI", data, 18)
    if compression in (1, 2) and width * abs(height) > RLE_PIXEL_LIMIT:
        raise BadData("a run-length coded BMP of this size is too slow to decode", fix="use PNG")
    return Container("BMP", width, abs(height))


def _u16(data: bytes, at: int) -> int:
    return struct.unpack_from(">H", data, at)[0]


_HEADERS = {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp, "GIF": _gif, "BMP": _bmp}
