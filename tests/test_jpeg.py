"""JPEG by simplejpeg: exactly Pillow's pixels, and every doubt left to Pillow."""

from io import BytesIO

import numpy as np
import pytest
from faults import encoded, photo
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from residua import containers, images, jpeg
from residua.errors import BadData

needed = pytest.mark.skipif(jpeg.simplejpeg() is None, reason="simplejpeg is not installed")

# Of sides that are no multiple of a block, and of one pixel.
PHOTOS = [photo(40, 56, 1), photo(37, 51, 2), photo(1, 1, 3), photo(9, 130, 4)]
PLAIN = [
    {"quality": quality, "subsampling": subsampling, "progressive": progressive}
    for quality in (30, 92)
    for subsampling in ("4:4:4", "4:2:2", "4:2:0")
    for progressive in (False, True)
]


def drawn(data: bytes) -> bytes:
    return containers.drawing(data, "JPEG")


def by_pillow(data: bytes) -> images.Pixels:
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@needed
@pytest.mark.parametrize("options", PLAIN, ids=str)
def test_pixels_are_those_of_pillow(options: dict[str, object]) -> None:
    for pixels in PHOTOS:
        for picture in (pixels, pixels[..., 0]):  # in color and gray
            data = encoded(picture, "JPEG", **options)
            fast = jpeg.fast(drawn(data))
            assert fast is not None and fast.flags.writeable
            assert np.array_equal(fast, by_pillow(data))


@needed
def test_restart_markers_and_optimized_tables_change_nothing() -> None:
    for options in ({"restart_marker_blocks": 2}, {"optimize": True}, {"keep_rgb": False}):
        data = encoded(PHOTOS[0], "JPEG", **options)
        fast = jpeg.fast(drawn(data))
        assert fast is not None and np.array_equal(fast, by_pillow(data))


def frame(data: bytes) -> int:
    """Where the marker of the baseline frame lies."""
    return data.index(b"\xff\xc0")


@needed
def test_unusual_files_are_left_to_pillow() -> None:
    plain = encoded(PHOTOS[0], "JPEG")
    inks = encoded(Image.new("CMYK", (16, 16), (1, 2, 3, 4)), "JPEG")
    assert jpeg.fast(drawn(inks)) is None
    assert jpeg.fast(drawn(encoded(PHOTOS[0], "JPEG", keep_rgb=True))) is None
    at = frame(plain)
    twelve_bits = plain[: at + 4] + b"\x0c" + plain[at + 5 :]
    for odd in (twelve_bits, *(plain.replace(b"\xff\xc0", bytes((0xFF, m))) for m in (0xC3, 0xC9))):
        assert not jpeg.plain(drawn(odd))
    assert not jpeg.plain(b"") and not jpeg.plain(plain[:20])


@needed
@settings(max_examples=150)
@given(
    kind=st.sampled_from([{}, {"progressive": True}, {"restart_marker_blocks": 1}]),
    at=st.floats(0, 1, exclude_max=True),
    value=st.integers(0, 255),
    cut=st.booleans(),
)
def test_damage_has_the_outcome_that_it_has_without_simplejpeg(
    kind: dict[str, object], at: float, value: int, cut: bool
) -> None:
    data = bytearray(encoded(PHOTOS[0], "JPEG", **kind))
    place = int(at * len(data))
    data[place] = value
    if cut:
        del data[place:]
        data += b"\xff\xd9"

    def outcome() -> object:
        try:
            return images.decode(bytes(data)).tobytes()
        except BadData as error:
            return str(error)

    with pytest.MonkeyPatch.context() as without:
        without.setattr(jpeg, "simplejpeg", lambda: None)
        expected = outcome()
    assert outcome() == expected


def test_without_simplejpeg_pillow_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(PHOTOS[0], "JPEG")
    with_or_without = images.decode(data)
    monkeypatch.setattr(jpeg, "simplejpeg", lambda: None)
    assert jpeg.fast(drawn(data)) is None
    assert np.array_equal(images.decode(data), with_or_without)
