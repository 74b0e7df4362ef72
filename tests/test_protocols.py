"""What a protocol shows of a picture, by hand; and what names, numbers and words it accepts."""

import itertools

import numpy as np
import pytest
from faults import photo
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from residua.errors import Refused
from residua.images import Pixels, Preprocessing
from residua.protocols import PROTOCOLS, Protocol, scales_of, usual_scales

LOOK = Preprocessing(16, "crop", 20)


def shorter(pixels: Pixels, side: int) -> Pixels:
    """The whole picture with its shorter side at `side`."""
    height, width = pixels.shape[:2]
    scale = side / min(height, width)
    size = (round(width * scale), round(height * scale))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))


def ten(whole: Pixels, size: int) -> list[Pixels]:
    """Four corners and the center, then the same mirrored."""
    spare_y, spare_x = whole.shape[0] - size, whole.shape[1] - size
    crops = []
    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5)):
        top, left = round(spare_y * y), round(spare_x * x)
        crops.append(whole[top : top + size, left : left + size])
    return crops + [np.flip(crop, axis=1) for crop in crops]


def same(views: list[Pixels], expected: list[Pixels]) -> bool:
    return len(views) == len(expected) and all(map(np.array_equal, views, expected))


@pytest.mark.parametrize("shape", [(30, 41), (57, 33), (20, 20), (16, 16), (16, 23), (9, 12)])
def test_ten_crops_are_corners_and_center_of_the_resized_picture_and_mirrored(
    shape: tuple[int, int],
) -> None:
    pixels = photo(*shape, 1)
    views = Protocol("ten-crop").views(pixels, LOOK)
    assert same(views, ten(shorter(pixels, 20), 16))
    assert len({view.tobytes() for view in views}) == 10


@pytest.mark.parametrize("fit", ["pad", "squash"])
def test_ten_crops_of_pictures_that_are_padded_or_squashed(fit: str) -> None:
    pixels = photo(30, 60, 2)
    if fit == "squash":
        whole = np.asarray(Image.fromarray(pixels).resize((20, 20), Image.Resampling.BILINEAR))
    else:
        inner = Image.fromarray(pixels).resize((20, 10), Image.Resampling.BILINEAR)
        whole = np.pad(np.asarray(inner), ((5, 5), (0, 0), (0, 0)))
    views = Protocol("ten-crop").views(pixels, Preprocessing(16, fit, 20))
    assert same(views, ten(whole, 16))


@pytest.mark.parametrize("shape", [(16, 16), (16, 24), (8, 8), (40, 40)])
def test_ten_crops_of_a_small_image_reach_over_its_border(shape: tuple[int, int]) -> None:
    """By an eighth of the size; the center is the image itself."""
    pixels = photo(*shape, 3)
    views = Protocol("ten-crop").views(pixels, Preprocessing(16))
    whole = shorter(pixels, 16)
    assert same(views, ten(np.pad(whole, ((2, 2), (2, 2), (0, 0))), 16))
    assert (views[0][:2] == 0).all() and (views[0][:, :2] == 0).all()
    assert np.array_equal(views[0][2:, 2:], whole[:14, :14])
    if shape == (16, 16):
        assert np.array_equal(views[4], pixels) and np.array_equal(views[9], pixels[:, ::-1])


def test_a_tiny_image_has_a_border_too() -> None:
    assert len(Protocol("ten-crop").views(photo(4, 4, 0), Preprocessing(4))) == 10


@pytest.mark.parametrize("shape", [(30, 41), (57, 33), (16, 16)])
@pytest.mark.parametrize("mirror", [True, False])
def test_multi_scale_shows_the_whole_picture_at_every_scale(
    shape: tuple[int, int], mirror: bool
) -> None:
    pixels = photo(*shape, 4)
    views = Protocol("multi-scale", scales=(16, 18, 40), mirror=mirror).views(pixels, LOOK)
    expected = [shorter(pixels, scale) for scale in (16, 18, 40)]
    mirrored = [np.flip(view, axis=1) for view in expected]
    assert same(views, expected + mirrored * mirror)


def test_a_single_view_is_that_of_the_preprocessing() -> None:
    pixels = photo(30, 41, 5)
    assert same(Protocol().views(pixels, LOOK), [LOOK.view(pixels)])


@pytest.mark.parametrize("shape", [(30, 41), (16, 16)])
def test_mirrored_is_the_single_view_and_its_mirror_image(shape: tuple[int, int]) -> None:
    pixels = photo(*shape, 6)
    view = LOOK.view(pixels)
    assert same(Protocol("mirrored").views(pixels, LOOK), [view, view[:, ::-1]])


def test_usual_scales_are_those_of_the_paper_and_closer_ones_for_small_images() -> None:
    """He et al. 2016a, section 3.4."""
    assert usual_scales(Preprocessing(224, "crop", 256)) == (224, 256, 384, 480, 640)
    assert usual_scales(Preprocessing(32)) == (32, 36, 40)
    assert scales_of(Protocol("multi-scale"), Preprocessing(32)) == (32, 36, 40)
    assert scales_of(Protocol("multi-scale", scales=(50,)), Preprocessing(32)) == (50,)


@given(st.integers(1, 4096))
def test_usual_scales_begin_at_the_size_and_grow(size: int) -> None:
    scales = usual_scales(Preprocessing(size))
    assert scales[0] == size and list(scales) == sorted(scales)


PROTOCOLS_OF_ALL_KINDS = st.one_of(
    st.builds(Protocol, st.sampled_from(["single", "mirrored", "ten-crop"]), st.just("softmax")),
    st.builds(Protocol, st.sampled_from(["mirrored", "ten-crop"]), st.just("logits")),
    st.builds(
        Protocol,
        st.just("multi-scale"),
        st.sampled_from(["softmax", "logits"]),
        st.lists(st.integers(1, 8192), max_size=4).map(tuple),
        st.booleans(),
    ),
)


@given(PROTOCOLS_OF_ALL_KINDS, PROTOCOLS_OF_ALL_KINDS)
def test_different_protocols_have_different_slugs_and_words(one: Protocol, other: Protocol) -> None:
    assert (one == other) == (one.slug == other.slug) == (one.words() == other.words())
    assert set(one.slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_all_settings_have_slugs_of_their_own() -> None:
    several = itertools.product(("mirrored", "ten-crop"), ("softmax", "logits"))
    grid = [Protocol(), *(Protocol(*each) for each in several)]
    scales = [(), (32,), (32, 36), (36, 32), (3236,)]
    for average, sizes, mirror in itertools.product(("softmax", "logits"), scales, (True, False)):
        grid.append(Protocol("multi-scale", average, sizes, mirror))
    assert len({protocol.slug for protocol in grid}) == len(grid) == 25
    assert len({protocol.words() for protocol in grid}) == len(grid)


def test_an_average_of_one_view_is_the_same_either_way() -> None:
    assert Protocol("single", "logits").slug == Protocol("single").slug == "single"


def test_words() -> None:
    assert Protocol().words() == "single view"
    assert Protocol("mirrored").words() == "a view and its mirror image, softmax averaged"
    assert Protocol("ten-crop", "logits").words() == "10 crops, logits averaged"
    one = Protocol("multi-scale", scales=(32,), mirror=False)
    assert one.words() == "dense, at 32 pixels, softmax averaged"
    two = Protocol("multi-scale", scales=(32, 40))
    assert two.words() == "dense, at 32, 40 pixels and mirrored, softmax averaged"
    usual = Protocol("multi-scale", "logits")
    assert usual.words() == "dense, at several scales and mirrored, logits averaged"
    for name in PROTOCOLS:
        assert Protocol(name).dense == (name == "multi-scale")


def test_misspelled_names_bring_a_suggestion() -> None:
    with pytest.raises(Refused, match='did you mean "ten-crop"') as refused:
        Protocol("tencrop")
    assert "protocol" in refused.value.what
    with pytest.raises(Refused, match='did you mean "logits"'):
        Protocol("ten-crop", "logit")
    with pytest.raises(Refused, match="known: single, mirrored, ten-crop, multi-scale"):
        Protocol("?")


@pytest.mark.parametrize("name", ["single", "mirrored", "ten-crop"])
def test_only_multi_scale_has_scales_and_mirroring_to_choose(name: str) -> None:
    for settings in ({"scales": (32,)}, {"mirror": False}):
        with pytest.raises(Refused, match="of the protocol multi-scale"):
            Protocol(name, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [0, -3, 8193])
def test_scales_are_numbers_of_pixels(scale: int) -> None:
    with pytest.raises(Refused, match="1 to 8192") as refused:
        Protocol("multi-scale", scales=(32, scale))
    assert str(scale) in refused.value.where
