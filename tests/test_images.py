"""Pixels: every kind of file becomes the picture that it shows, or one BadData says why not."""

import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from faults import bomb, chunk, deep_png, encoded, photo, png, scans
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from residua import containers, images
from residua.errors import BadData, Refused
from residua.images import Pixels, Preprocessing, decode, encode_png, probe, read, resize

LOSSLESS = {"PNG": {}, "BMP": {}, "WEBP": {"lossless": True}}
PHOTO = photo(40, 56, 1)
SMALL = {
    "JPEG": encoded(PHOTO, "JPEG"),
    "JPEG progressive": encoded(PHOTO, "JPEG", progressive=True),
    "PNG": encoded(PHOTO, "PNG"),
    "PNG 16": deep_png(PHOTO.astype(np.uint16) * 257),
    "WEBP": encoded(PHOTO, "WEBP"),
    "WEBP lossless": encoded(PHOTO, "WEBP", lossless=True),
    "GIF": encoded(PHOTO, "GIF"),
    "BMP": encoded(PHOTO, "BMP"),
}


def distance(pixels: Pixels, expected: object) -> float:
    return float(np.abs(pixels.astype(float) - np.asarray(expected, float)).max())


def refusal(data: bytes) -> str:
    with pytest.raises(BadData) as caught:
        decode(data)
    assert caught.value.fix
    return caught.value.what


# What a picture is.


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_files_give_their_pixels(kind: str) -> None:
    data = encoded(PHOTO, kind, **LOSSLESS[kind])
    assert probe(data) == (kind, 56, 40)
    pixels = decode(data)
    assert pixels.dtype == np.uint8 and pixels.flags.writeable and pixels.flags.c_contiguous
    assert np.array_equal(pixels, PHOTO)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpeg_is_decoded_as_it_was_before_its_metadata_was_dropped(options: dict) -> None:
    data = encoded(PHOTO, "JPEG", comment=b"text", icc_profile=b"profile" * 50_000, **options)
    with Image.open(BytesIO(data)) as image:
        assert distance(decode(data), image) == 0


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_orientation_is_applied(kind: str, turn: int) -> None:
    data = encoded(PHOTO, kind, turn=turn, **LOSSLESS.get(kind, {}))
    with Image.open(BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    assert probe(data)[1:] == upright.size
    assert distance(decode(data), upright) == 0


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0",  # orientation 9
        b"Exif\0\0II*\0\xff\xff\xff\xff",  # a directory outside of the block
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\0" * 40,  # 65,535 entries, 3 present
        b"Exif\0\0XX*\0\x08\0\0\0",
        b"Exif\0\0",
    ],
)
def test_damaged_metadata_does_not_spoil_the_picture(exif: bytes) -> None:
    data = encoded(PHOTO, "JPEG", exif=exif)
    assert np.array_equal(decode(data), decode(SMALL["JPEG"]))


def test_gray_and_one_bit() -> None:
    gray = PHOTO[..., 0]
    bits = Image.fromarray(gray > 128)
    for kind in ("PNG", "BMP"):
        assert distance(decode(encoded(gray, kind)), np.repeat(gray[..., None], 3, 2)) == 0
        expected = np.repeat((gray > 128)[..., None] * 255, 3, 2)
        assert distance(decode(encoded(bits, kind)), expected) == 0
    assert distance(decode(encoded(gray, "JPEG")), np.repeat(gray[..., None], 3, 2)) < 20


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_are_divided_by_257_and_rounded(channels: int) -> None:
    samples = np.random.default_rng(0).integers(0, 65536, (40, 50, channels)).astype(np.uint16)
    edge = [0, 127, 128, 129, 255, 256, 257, 385, 386, 32767, 32768, 65278, 65407, 65534, 65535]
    samples[0, : len(edge), 0] = edge
    if channels in (2, 4):
        samples[..., -1] = 65535
    expected = np.rint(samples[..., : 3 if channels > 2 else 1] / 257)
    assert distance(decode(deep_png(samples)), np.broadcast_to(expected, (40, 50, 3))) == 0


@pytest.mark.parametrize("mode", ["LA", "RGBA", "16-bit LA", "16-bit RGBA", "WEBP"])
def test_transparency_is_laid_over_white(mode: str) -> None:
    random = np.random.default_rng(0)
    channels = 2 if "LA" in mode and "RGB" not in mode else 4
    samples = random.integers(0, 256, (30, 40, channels), dtype=np.uint8)
    samples[:5, ..., -1] = 0
    if "16" in mode:
        data = deep_png(samples.astype(np.uint16) * 257)
    elif mode == "WEBP":
        data = encoded(samples, "WEBP", lossless=True, exact=True)
    else:
        data = encoded(samples, "PNG")
    alpha = samples[..., -1:] / 255
    expected = np.broadcast_to(samples[..., :-1] * alpha + 255 * (1 - alpha), (30, 40, 3))
    assert distance(decode(data), expected) <= 1
    assert (decode(data)[:5] == 255).all()


def test_palettes_with_and_without_transparency() -> None:
    palette = photo(1, 16, 3)
    index = np.random.default_rng(0).integers(0, 16, (20, 30), dtype=np.uint8)
    image = Image.fromarray(index)
    image.putpalette(palette.tobytes())
    expected = palette[0][index].astype(float)
    assert distance(decode(encoded(image, "PNG")), expected) == 0
    assert distance(decode(encoded(image, "GIF")), expected) == 0
    assert distance(decode(encoded(image, "BMP")), expected) == 0
    one = expected.copy()
    one[index == 5] = 255
    assert distance(decode(encoded(image, "PNG", transparency=5)), one) == 0
    assert distance(decode(encoded(image, "GIF", transparency=5)), one) == 0
    alpha = np.arange(16)[index][..., None] * 17 / 255
    data = encoded(image, "PNG", transparency=bytes(range(0, 256, 17)))
    assert distance(decode(data), expected * alpha + 255 * (1 - alpha)) <= 1


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_one_transparent_gray(depth: int) -> None:
    values = np.arange(8).reshape(1, 8).repeat(3, 0) * 31 % 2**depth
    clear = int(values[0, 2])  # neither black nor white where there is a choice
    bits = (values[..., None] >> np.arange(depth)[::-1]) & 1
    rows = [np.packbits(row.reshape(-1)).tobytes() for row in bits]
    data = png((3, 8), depth, 0, rows, chunk(b"tRNS", struct.pack(">H", clear)))
    expected = np.where(values == clear, 255, np.rint(values * 255 / (2**depth - 1)))
    assert distance(decode(data), expected[..., None].repeat(3, 2)) == 0


@pytest.mark.parametrize("depth", [8, 16])
def test_one_transparent_color(depth: int) -> None:
    samples = np.random.default_rng(0).integers(0, 2, (9, 9, 3)) * (2**depth - 1)
    samples[0, 0] = samples[0, 1] + [0, 0, 1 if samples[0, 1, 2] == 0 else -1]  # nearly the color
    clear = samples[0, 1]
    rows = [row.astype(">u2" if depth == 16 else np.uint8).tobytes() for row in samples]
    data = png((9, 9), depth, 2, rows, chunk(b"tRNS", struct.pack(">3H", *clear)))
    expected = np.rint(samples * 255 / (2**depth - 1))
    expected[(samples == clear).all(-1)] = 255
    assert distance(decode(data), expected) == 0


INKS = {  # cyan, magenta, yellow, black -> red, green, blue
    (0, 0, 0, 0): (255, 255, 255),
    (255, 0, 0, 0): (0, 255, 255),
    (0, 255, 255, 0): (255, 0, 0),
    (0, 0, 0, 255): (0, 0, 0),
    (100, 50, 0, 100): (94, 125, 155),
}


@pytest.mark.parametrize("inks", INKS)
def test_cmyk_as_adobe_stores_it(inks: tuple[int, ...]) -> None:
    data = encoded(Image.new("CMYK", (32, 32), inks), "JPEG", quality=100)
    assert b"Adobe" in data
    assert distance(decode(data), np.broadcast_to(INKS[inks], (32, 32, 3))) <= 2


@pytest.mark.parametrize("inks", INKS)
def test_ycck_as_adobe_stores_it(inks: tuple[int, ...]) -> None:
    """The first three planes are the YCbCr of the inks, K is inverted; the marker says 2."""
    mixed = Image.new("RGB", (32, 32), inks[:3]).convert("YCbCr")
    planes = [*mixed.split(), Image.new("L", (32, 32), 255 - inks[3])]
    given = Image.merge("CMYK", [plane.point(lambda v: 255 - v) for plane in planes])
    data = bytearray(encoded(given, "JPEG", quality=100))  # which stores each plane inverted
    data[data.index(b"Adobe") + 11] = 2
    assert distance(decode(bytes(data)), np.broadcast_to(INKS[inks], (32, 32, 3))) <= 3


def test_only_the_first_picture_counts() -> None:
    frames = [photo(30, 40, seed) for seed in range(4)]
    rest = [Image.fromarray(frame) for frame in frames[1:]]
    for kind, options in (("WEBP", {"lossless": True}), ("PNG", {})):
        data = encoded(frames[0], kind, save_all=True, append_images=rest, **options)
        assert np.array_equal(decode(data), frames[0])
    pair = encoded(frames[0], "MPO", save_all=True, append_images=rest)
    assert probe(pair).format == "JPEG"
    with Image.open(BytesIO(pair)) as image:
        assert image.n_frames == 4
        assert distance(decode(pair), image) == 0
    animated = encoded(frames[0], "GIF", save_all=True, append_images=rest)
    assert np.array_equal(decode(animated), decode(encoded(frames[0], "GIF")))


def test_a_frame_of_a_gif_may_be_smaller_or_larger_than_its_screen() -> None:
    data = bytearray(encoded(PHOTO, "GIF"))
    data[6:10] = struct.pack("<HH", 8, 8)
    assert probe(bytes(data))[1:] == (56, 40)
    assert np.array_equal(decode(bytes(data)), decode(SMALL["GIF"]))
    data[6:10] = struct.pack("<HH", 100, 60)
    assert decode(bytes(data)).shape == (60, 100, 3)


def test_the_name_is_not_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(SMALL["PNG"])
    assert np.array_equal(read(path), PHOTO)


# What is refused, and how it is said.

LIKENESSES = {
    b"": "empty",
    b"<!DOCTYPE html><html>": "an HTML page",
    b"\n <HTML><body>": "an HTML page",
    b"<?xml version='1.0'?><svg xmlns='...'>": "an SVG drawing",
    b"%PDF-1.7": "a PDF document",
    b"II*\0\x08\0\0\0": "a TIFF image",
    b"\0\0\0\x1cftypavif": "an AVIF image",
    b"\0\0\0\x1cftypheic": "a HEIC image",
    b"8BPS": "a Photoshop document",
    b"SIMPLE  =                    T": "a FITS file",
    b"PK\x03\x04": "a ZIP archive",
    b"\0" * 5000: "zero bytes",
    b"version https://git-lfs.github.com/spec/v1": "a Git LFS pointer",
    b"label,path\n": "a text file",
    bytes(range(128, 256)): "no known image format",
}


@pytest.mark.parametrize("data", LIKENESSES, ids=lambda data: repr(data[:12]))
def test_the_error_says_what_it_is(data: bytes) -> None:
    assert LIKENESSES[data] in refusal(data)


def test_pillow_would_read_these_and_we_do_not() -> None:
    for kind in ("TIFF", "PPM", "TGA", "PCX", "ICO", "JPEG2000", "AVIF"):
        assert "not an image that can be read" in refusal(encoded(PHOTO, kind))
    floating = Image.fromarray(PHOTO[..., 0].astype(np.float32))
    assert "TIFF" in refusal(encoded(floating, "TIFF"))


@pytest.mark.parametrize("kind", SMALL)
def test_every_cut_is_refused(kind: str) -> None:
    data = SMALL[kind]
    near_end = range(len(data) - (3 if kind == "GIF" else 1), len(data) - 40, -1)
    for size in (*range(0, len(data), 61), *near_end):  # a GIF without its trailer is whole
        refusal(data[:size])
    with_zeros = data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
    if kind not in ("BMP", "GIF", "WEBP", "WEBP lossless"):  # those have no checksum
        refusal(with_zeros)


@pytest.mark.parametrize("place", range(0, len(SMALL["PNG"]), 97))
def test_every_flipped_bit_of_a_png_is_found(place: int) -> None:
    data = bytearray(SMALL["PNG"])
    data[place] ^= 4
    refusal(bytes(data))


HUGE = {
    "PNG": bomb(),
    "PNG, 1 bit": png((13_000, 13_000), 1, 0, [b"\0" * 1625] * 13_000),
    "PNG, thin": bomb(1_000_000, 1),
    "JPEG": SMALL["JPEG"].replace(struct.pack(">HH", 40, 56), struct.pack(">HH", 65_500, 65_500)),
    "GIF": b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + b"," + b"\0" * 20,
    "GIF frame": b"GIF89a" + b"\1\0\1\0\0\0\0," + struct.pack("<4H", 65_000, 65_000, 400, 400),
    "BMP": SMALL["BMP"].replace(struct.pack("<ii", 56, 40), struct.pack("<ii", 60_000, -60_000)),
    "WEBP": b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0" + b"\0" * 4 + b"\xff\x3f\0" * 2,
    "WEBP lossless": b"RIFF\x16\0\0\0WEBPVP8L\x0a\0\0\0/" + b"\xff\xff\xff\x0f" + b"\0" * 9,
}


@pytest.mark.parametrize("kind", HUGE)
def test_size_is_refused_before_a_decoder_sees_it(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the decoder was called")

    monkeypatch.setattr(Image, "open", never)
    assert "the limit is 50 million" in refusal(HUGE[kind])


def test_the_limit_can_be_set_and_zero_is_no_size() -> None:
    assert decode(SMALL["PNG"], pixel_limit=40 * 56).shape == (40, 56, 3)
    with pytest.raises(BadData, match="limit"):
        decode(SMALL["PNG"], pixel_limit=40 * 56 - 1)
    assert "0 x 5" in refusal(png((5, 0), 8, 2, [b""]))


def test_compressed_metadata_is_not_expanded() -> None:
    """Pillow refuses the first file as a bomb and would give the second 64 MB."""
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**8)))
    profile = chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(10**8)))
    body = SMALL["PNG"][33:]
    for extra in (text, profile, text * 50):
        started = time.perf_counter()
        assert np.array_equal(decode(SMALL["PNG"][:33] + extra + body), PHOTO)
        assert time.perf_counter() - started < 1


def test_endless_parts_are_bounded() -> None:
    frame = SMALL["GIF"].rindex(b"!\xf9") if b"!\xf9" in SMALL["GIF"] else 13 + 768
    parts = {
        "JPEG segments": SMALL["JPEG"][:2] + b"\xff\xfe\0\2" * 2_000_000,
        "JPEG fill": SMALL["JPEG"][:2] + b"\xff" * 20_000_000,
        "JPEG restarts": SMALL["JPEG"][:-2] + b"\xff\xd0" * 5_000_000,
        "JPEG fill in the picture": SMALL["JPEG"][:-2] + b"\xff" * 20_000_000,
        "PNG chunks": SMALL["PNG"][:33] + chunk(b"IDAT", b"") * 1_000_000,
        "GIF comments": SMALL["GIF"][:frame] + b"!\xfe\1a\0" * 2_000_000,
        "WEBP chunks": SMALL["WEBP"] + b"EXIF\0\0\0\0" * 1_000_000,
    }
    for name, data in parts.items():
        started = time.perf_counter()
        if name == "WEBP chunks":  # beyond the end that the file declares
            assert probe(data).format == "WEBP"
        else:
            refusal(data)
        assert time.perf_counter() - started < 2, name


def test_scans_of_a_jpeg_are_counted() -> None:
    assert decode(scans(20)).shape == (40, 56, 3)
    assert "more than 100 scans" in refusal(scans(1000))


def test_many_frames_are_not_read() -> None:
    one = SMALL["GIF"]
    header = 13 + 768
    many = one[:header] + one[header:-1] * 5_000 + b";"
    started = time.perf_counter()
    assert np.array_equal(decode(many), decode(one))
    assert time.perf_counter() - started < 1


def test_large_run_length_coded_bmp_is_refused() -> None:
    header = struct.pack("<IiiHHIIiiII", 40, 5_000, 5_000, 1, 8, 1, 0, 0, 0, 256, 0)
    data = b"BM" + struct.pack("<IHHI", 0, 0, 0, 1078) + header + bytes(1024) + b"\xff\0" * 1000
    assert "run-length" in refusal(data)


FUZZ = settings(
    max_examples=250, deadline=2_000, suppress_health_check=[HealthCheck.too_slow], database=None
)


@pytest.mark.parametrize("kind", SMALL)
@FUZZ
@given(
    edits=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255), st.integers(0, 2)),
        min_size=1,
        max_size=12,
    )
)
def test_mutants_give_a_picture_or_bad_data(kind: str, edits: list[tuple[float, int, int]]) -> None:
    data = bytearray(SMALL[kind])
    for where, value, action in edits:
        at = int(where**2 * len(data))  # headers, at the beginning, are hit more often
        if action == 0:
            data[at] = value
        elif action == 1:
            del data[at : at + value]
        else:
            data[at:at] = data[at : at + value]
        data = data or bytearray(b"\0")
    try:
        pixels = decode(bytes(data), pixel_limit=1_000_000)
    except BadData as error:
        assert error.what
    else:
        header = probe(bytes(data))
        assert pixels.shape == (header.height, header.width, 3)


@FUZZ
@given(start=st.sampled_from([data[:30] for data in SMALL.values()]), rest=st.binary())
def test_headers_followed_by_anything(start: bytes, rest: bytes) -> None:
    try:
        decode(start + rest, pixel_limit=1_000_000)
    except BadData as error:
        assert error.what


# Files.


@pytest.mark.timeout(20)
def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "link.jpg")
    names = ["pipe.jpg", "missing.jpg", "link.jpg", "", "nul\0.jpg", "x" * 300]
    before = len(os.listdir("/proc/self/fd"))
    for path in (*(tmp_path / name for name in names), Path("/dev/zero")):
        with pytest.raises(BadData) as caught:
            read(path)
        assert caught.value.where == str(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_error_names_the_file(tmp_path: Path) -> None:
    for name in (
        "a b.jpg",
        "-rf.jpg",
        "%00.jpg",
        "\u202egpj.exe.jpg",
        "'\"<script>.jpg",
        "=c().jpg",
    ):
        path = tmp_path / name
        path.write_bytes(b"<html>")
        with pytest.raises(BadData, match="HTML") as caught:
            read(path)
        assert caught.value.where == str(path)
        path.write_bytes(SMALL["PNG"])
        assert np.array_equal(read(path), PHOTO)


def test_threads_decode_the_same() -> None:
    files = list(SMALL.values()) * 10
    with ThreadPoolExecutor(8) as pool:
        for one, other in zip(pool.map(decode, files), map(decode, files), strict=True):
            assert np.array_equal(one, other)


def test_import_changes_nothing_in_pillow_and_loads_no_torch() -> None:
    code = (
        "import sys; from PIL import Image, ImageFile\n"
        "before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES\n"
        "import residua.images\n"
        "assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Sizes and views.


def test_resize_is_a_mean_when_it_shrinks_and_keeps_flat_colors() -> None:
    flat = np.full((37, 53, 3), (3, 100, 250), np.uint8)
    for height, width in ((1, 1), (5, 90), (200, 11)):
        assert np.array_equal(
            resize(flat, height, width), np.broadcast_to(flat[0, 0], (height, width, 3))
        )
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert distance(resize(noise, 1, 1), noise.mean((0, 1))) < 12
    assert resize(noise, 16, 16).std() < noise.std() / 2  # without averaging it would stay
    assert resize(PHOTO, 40, 56) is PHOTO


def test_encode_png_is_undone_by_decode() -> None:
    assert np.array_equal(decode(encode_png(PHOTO)), PHOTO)


@settings(max_examples=80, deadline=None, database=None)
@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(1, 40),
    st.integers(0, 20), st.sampled_from(images.FITS),
)  # fmt: skip
def test_a_view_has_its_size_and_is_its_own_view(
    height: int, width: int, size: int, more: int, fit: str
) -> None:
    preprocessing = Preprocessing(size, fit, size + more)
    view = preprocessing.view(photo(height, width, 0))
    assert view.shape == (size, size, 3) and view.dtype == np.uint8
    assert preprocessing.view(view) is view


@pytest.mark.parametrize("shape", [(64, 96), (96, 64), (100, 77), (31, 400)])
def test_crop_is_the_center_of_the_resized_picture(shape: tuple[int, int]) -> None:
    pixels = photo(*shape, 0)
    short = min(shape)
    height, width = (round(side * 48 / short) for side in shape)
    whole = resize(pixels, height, width)
    y, x = (height - 32) / 2, (width - 32) / 2
    cut = whole[int(y) : int(y) + 32, int(x) : int(x) + 32]
    view = Preprocessing(32, "crop", 48).view(pixels)
    assert np.abs(view.astype(float) - cut).mean() < 6  # half a pixel apart at most


def test_crop_of_whole_pixels_is_exact() -> None:
    pixels = photo(64, 96, 0)
    expected = resize(pixels, 32, 48)[4:28, 12:36]
    assert distance(Preprocessing(24, "crop", 32).view(pixels), expected) == 0


def test_pad_keeps_everything_and_squash_too() -> None:
    white = np.full((20, 40, 3), 255, np.uint8)
    view = Preprocessing(20, "pad").view(white)
    assert (view[5:15] == 255).all() and (view[:5] == 0).all() and (view[15:] == 0).all()
    assert (Preprocessing(20, "squash").view(white) == 255).all()
    assert Preprocessing(8, "pad").view(photo(1, 900, 0)).shape == (8, 8, 3)


@pytest.mark.timeout(20)
def test_a_thin_picture_needs_no_memory() -> None:
    line = photo(1, images.SIDE_LIMIT, 0)
    for fit in images.FITS:
        assert Preprocessing(224, fit, 256).view(line).shape == (224, 224, 3)


@settings(max_examples=80, deadline=None, database=None)
@given(
    st.integers(1, 60), st.integers(1, 60), st.integers(1, 50), st.sampled_from(images.FITS)
)  # fmt: skip
def test_the_whole_picture_has_its_side_and_is_its_own_whole(
    height: int, width: int, side: int, fit: str
) -> None:
    preprocessing = Preprocessing(8, fit)
    whole = preprocessing.whole(photo(height, width, 0), side)
    assert whole.dtype == np.uint8 and min(whole.shape[:2]) == side
    if fit != "crop":
        assert whole.shape == (side, side, 3)
    else:
        longest = min(max(height, width), images.LONGEST * min(height, width))
        assert max(whole.shape[:2]) == round(side * longest / min(height, width))
        assert (whole.shape[0] - whole.shape[1]) * (height - width) >= 0
    assert preprocessing.whole(whole, side) is whole


def test_the_whole_picture_is_not_cropped() -> None:
    pixels = photo(40, 60, 1)
    assert distance(Preprocessing(8).whole(pixels, 20), resize(pixels, 20, 30)) == 0
    assert distance(Preprocessing(8, "squash").whole(pixels, 20), resize(pixels, 20, 20)) == 0
    assert distance(Preprocessing(8, "pad").whole(pixels, 20), images.padded(pixels, 20)) == 0


@pytest.mark.parametrize("fit", images.FITS)
def test_the_whole_of_a_square_is_its_view(fit: str) -> None:
    pixels = photo(40, 40, 1)
    preprocessing = Preprocessing(24, fit)
    assert distance(preprocessing.whole(pixels, 24), preprocessing.view(pixels)) == 0


def test_of_a_long_picture_only_the_middle_is_shown() -> None:
    """So that a strip does not fill the memory."""
    strip = photo(10, 100, 2)
    expected = resize(strip[:, 30:70], 20, 80)
    whole = Preprocessing(8).whole(strip, 20)
    inside = slice(2, -2)  # its ends are resampled with what lies beyond
    assert whole.shape == expected.shape
    assert distance(whole[:, inside], expected[:, inside]) == 0
    turned = Preprocessing(8).whole(strip.transpose(1, 0, 2), 20)
    assert distance(turned, whole.transpose(1, 0, 2)) <= 1
    line = photo(1, images.SIDE_LIMIT, 0)
    assert Preprocessing(224, "crop", 256).whole(line, 640).shape == (640, 2560, 3)


# Preprocessing as stored with the weights.


def test_preprocessing_goes_both_ways() -> None:
    for one in (
        Preprocessing(224, "crop", 256, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        Preprocessing(4, "pad", mean=tuple(np.linspace(0, 1, 48)), std=(1.0, 1.0, 1.0)),
    ):
        assert Preprocessing.from_dict(one.to_dict()) == one
    assert Preprocessing(32).resize == 32


STORED = Preprocessing(32).to_dict()
ILL = {
    "a key too many": lambda d: d | {"colour": 1},
    "a key missing": lambda d: {k: d[k] for k in d if k != "std"},
    "not a dict": lambda d: [d],
    "size a float": lambda d: d | {"size": 32.0},
    "size a bool": lambda d: d | {"size": True},
    "size 0": lambda d: d | {"size": 0},
    "size 10^6": lambda d: d | {"size": 10**6, "resize": 10**6},
    "resize below size": lambda d: d | {"resize": 16},
    "fit": lambda d: d | {"fit": "stretch"},
    "fit a list": lambda d: d | {"fit": ["crop"]},
    "mean of 2": lambda d: d | {"mean": [0.0, 0.0]},
    "mean nan": lambda d: d | {"mean": [0.0, 0.0, float("nan")]},
    "mean a text": lambda d: d | {"mean": "abc"},
    "mean of texts": lambda d: d | {"mean": ["0", "0", "0"]},
    "mean of bools": lambda d: d | {"mean": [True, True, True]},
    "std 0": lambda d: d | {"std": [1.0, 1.0, 0.0]},
    "std negative": lambda d: d | {"std": [1.0, 1.0, -1.0]},
    "std infinite": lambda d: d | {"std": [1.0, 1.0, float("inf")]},
    "std too great": lambda d: d | {"std": [1, 1, 10**400]},
    "std none": lambda d: d | {"std": None},
}


@pytest.mark.parametrize("change", ILL.values(), ids=ILL)
def test_stored_values_that_we_would_not_write_are_refused(
    change: Callable[[dict], dict],
) -> None:
    with pytest.raises(BadData) as caught:
        Preprocessing.from_dict(change(dict(STORED)))
    assert caught.value.where == "preprocessing"


def test_flags_are_refused_by_name() -> None:
    with pytest.raises(Refused) as caught:
        Preprocessing(32, "corp")
    assert caught.value.fix == 'did you mean "crop"?'


def test_formats_are_those_of_the_containers() -> None:
    assert images.FORMATS is containers.FORMATS
    assert {containers.sniff(data) for data in SMALL.values()} == set(images.FORMATS)
