"""Training views: random numbers that belong to images, windows as the papers define them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from residua import augment, images

seeds = st.integers(0, 2**62)
positions = st.lists(st.integers(0, 2_000_000), min_size=1, max_size=40, unique=True)


@given(seed=seeds, epoch=st.integers(0, 10**6), indices=positions, cut=st.integers(0, 40))
def test_an_images_numbers_do_not_depend_on_its_batch(
    seed: int, epoch: int, indices: list[int], cut: int
) -> None:
    whole = augment.uniforms(seed, epoch, torch.tensor(indices), 10)
    shuffled = augment.uniforms(seed, epoch, torch.tensor(indices[::-1]), 10).flip(0)
    alone = augment.uniforms(seed, epoch, torch.tensor(indices[cut % len(indices)])[None], 10)

    assert torch.equal(whole, shuffled)
    assert torch.equal(whole[cut % len(indices)], alone[0])
    assert torch.equal(whole[:, :3], augment.uniforms(seed, epoch, torch.tensor(indices), 3))
    assert whole.min() >= 0 and whole.max() < 1


def test_numbers_are_uniform_and_independent() -> None:
    """Chi-square over 64 bins in each column, and over pairs: columns, neighbors, epochs, seeds."""
    indices = torch.arange(40_000)
    u = augment.uniforms(7, 0, indices, 4).double().numpy()
    others = {
        "column": (u[:, 0], u[:, 1]),
        "neighbor": (u[:-1, 0], u[1:, 0]),
        "epoch": (u[:, 0], augment.uniforms(7, 1, indices, 1)[:, 0].numpy()),
        "seed": (u[:, 0], augment.uniforms(8, 0, indices, 1)[:, 0].numpy()),
    }
    for column in range(4):
        counts = np.bincount((u[:, column] * 64).astype(int), minlength=64)
        assert stats.chisquare(counts).pvalue > 1e-3, column
    for name, (a, b) in others.items():
        cells = (a * 8).astype(int) * 8 + (b * 8).astype(int)
        assert stats.chisquare(np.bincount(cells, minlength=64)).pvalue > 1e-3, name
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.02, name


def test_each_image_epoch_and_seed_has_numbers_of_its_own() -> None:
    rows = [
        augment.uniforms(seed, epoch, torch.arange(50), 2) for seed in (0, 1) for epoch in (0, 1)
    ]
    assert len({tuple(row) for row in torch.cat(rows).tolist()}) == 200


def pictures(b: int, h: int, w: int) -> Tensor:
    return torch.arange(b * h * w * 3).reshape(b, h, w, 3).remainder(251).to(torch.uint8)


@given(
    b=st.integers(1, 4),
    h=st.integers(1, 9),
    w=st.integers(1, 9),
    padding=st.integers(0, 5),
    data=st.data(),
)
def test_pad_crop_equals_a_naive_loop(
    b: int, h: int, w: int, padding: int, data: st.DataObject
) -> None:
    images = pictures(b, h, w)
    share = st.floats(0, 1 - 2**-24, width=32)
    u = torch.tensor(data.draw(st.lists(st.tuples(share, share), min_size=b, max_size=b)))
    expected = torch.zeros_like(images)
    for index in range(b):
        top, left = (math.floor(float(value) * (2 * padding + 1)) - padding for value in u[index])
        for y in range(h):
            for x in range(w):
                if 0 <= y + top < h and 0 <= x + left < w:
                    expected[index, y, x] = images[index, y + top, x + left]
    assert torch.equal(augment.pad_crop(images, u, padding), expected)


def test_pad_crop_reaches_every_window_equally() -> None:
    """9 x 9 windows (2016a, section 4.2: 4 pixels padded on each side)."""
    image = pictures(1, 12, 12).expand(4050, -1, -1, -1) + 1
    u = augment.uniforms(0, 0, torch.arange(4050), 2)
    seen = torch.unique(augment.pad_crop(image, u).flatten(1), dim=0, return_counts=True)[1]
    assert len(seen) == 81
    assert stats.chisquare(seen.numpy()).pvalue > 1e-3


def test_flip_mirrors_half_left_to_right() -> None:
    images = pictures(4, 3, 5)
    flipped = augment.flip(images, torch.tensor([0.0, 0.49, 0.5, 0.99]))
    for index, mirrored in enumerate((True, True, False, False)):
        expected = images[index].flip(1) if mirrored else images[index]
        assert torch.equal(flipped[index], expected)


sides = st.integers(1, 5_000)
draws = st.lists(st.floats(0, 1 - 2**-24), min_size=4, max_size=4)


@given(width=sides, height=sides, u=draws)
def test_area_box_lies_inside_the_picture(width: int, height: int, u: list[float]) -> None:
    left, top, right, bottom = augment.area_box(width, height, u)
    assert 0 <= left < right <= width * (1 + 1e-12)
    assert 0 <= top < bottom <= height * (1 + 1e-12)
    assert (right - left) * (bottom - top) <= width * height * (1 + 1e-9)


def test_area_box_keeps_the_papers_area_and_aspect() -> None:
    """8 % to 100 % of the area, aspect 3/4 to 4/3 (Szegedy et al. 2014, section 6)."""
    for u, area, aspect in (((0, 0), 0.08, 3 / 4), ((0, 1), 0.08, 4 / 3), ((0.5, 0.5), 0.54, 1)):
        left, top, right, bottom = augment.area_box(400, 400, [*u, 0.3, 0.6])
        assert (right - left) * (bottom - top) == pytest.approx(area * 400**2)
        assert (right - left) / (bottom - top) == pytest.approx(aspect)


@given(width=sides, height=sides, size=st.integers(1, 512), u=draws)
def test_scale_box_lies_inside_the_picture(
    width: int, height: int, size: int, u: list[float]
) -> None:
    left, top, right, bottom = augment.scale_box(width, height, size, u)
    assert -1e-9 <= left < right <= width * (1 + 1e-12)
    assert -1e-9 <= top < bottom <= height * (1 + 1e-12)
    assert right - left == pytest.approx(bottom - top)


@given(width=st.integers(100, 3_000), height=st.integers(100, 3_000), u=draws)
def test_scale_box_is_the_papers_crop(width: int, height: int, u: list[float]) -> None:
    """Shorter side resized to S in [256, 480], then a 224 crop of it (2016a, section 3.4)."""
    left, top, right, _ = augment.scale_box(width, height, 224, u)
    side = 224 * min(width, height) / (right - left)
    assert 256 <= round(side) <= 480
    assert side == pytest.approx(round(side))
    scale = round(side) / min(width, height)  # of the resized picture, in which the crop lies
    assert left * scale == pytest.approx(u[2] * (width * scale - 224), abs=1e-6)
    assert top * scale == pytest.approx(u[3] * (height * scale - 224), abs=1e-6)


def test_scale_box_draws_every_shorter_side_equally() -> None:
    u = augment.uniforms(0, 0, torch.arange(22_500), 1)[:, 0].tolist()
    boxes = (augment.scale_box(1_000, 1_000, 224, [value, 0, 0, 0]) for value in u)
    sides_ = [round(224 * 1_000 / (right - left)) for left, _, right, _ in boxes]
    counts = np.bincount(sides_, minlength=481)[256:481]
    assert len(counts) == 225
    assert stats.chisquare(counts).pvalue > 1e-3


def test_pca_adds_the_papers_color_noise() -> None:
    """Covariance V diag((0.1 l)^2) V' over the channels (Krizhevsky et al. 2012, section 4.1)."""
    vectors = torch.tensor(augment.PCA_VECTORS, dtype=torch.float64)
    assert torch.allclose(vectors.T @ vectors, torch.eye(3, dtype=torch.float64), atol=1e-3)
    u = augment.uniforms(0, 0, torch.arange(40_000), 3)
    images = torch.full((40_000, 2, 1, 3), 0.5)
    noise = augment.pca_color(images, u) - 0.5
    assert torch.equal(noise[:, 0], noise[:, 1])  # one color for the whole picture
    lengths = 0.1 * torch.tensor(augment.PCA_VALUES, dtype=torch.float64)
    expected = vectors @ torch.diag(lengths**2) @ vectors.T
    found = torch.cov(noise[:, 0, 0].double().T)
    assert torch.allclose(found, expected, atol=3e-5)
    assert torch.allclose(noise.mean((0, 1, 2)), torch.zeros(3), atol=5e-4)
    assert augment.pca_color(images[:2], torch.tensor([[0.0] * 3, [1.0] * 3])).isfinite().all()


def test_jitter_scales_brightness_contrast_and_saturation() -> None:
    images = torch.rand(3, 4, 4, 3, generator=torch.Generator().manual_seed(0)) / 2
    assert torch.allclose(augment.jitter(images, torch.full((3, 3), 0.5)), images, atol=1e-6)
    u = torch.tensor([[0.75, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
    bright, flat, gray = augment.jitter(images, u)
    assert torch.allclose(bright, images[0] * 1.2, atol=1e-6)
    assert flat.std() == pytest.approx(0.6 * images[1].std().item(), rel=1e-4)
    spread = gray.std(2).mean() / images[2].std(2).mean()
    assert spread == pytest.approx(0.6, rel=1e-4)


@settings(max_examples=30)
@given(u=st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_jitter_stays_in_range(u: list[float]) -> None:
    images = pictures(1, 5, 5).float() / 255
    out = augment.jitter(images, torch.tensor([u]))
    assert out.min() >= 0 and out.max() <= 1 and out.isfinite().all()


def test_mixup_blends_with_the_mirror_of_the_batch() -> None:
    images = torch.arange(3.0)[:, None, None, None].expand(3, 1, 2, 2)
    assert torch.allclose(augment.mixup(images, 0.75)[:, 0, 0, 0], torch.tensor([0.5, 1.0, 1.5]))
    assert torch.equal(augment.mixup(images, 1.0), images)


def test_normalize_shows_the_network_its_input() -> None:
    images = torch.rand(2, 4, 4, 3)
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1.0, 2.0, 4.0])
    out = augment.normalize(images, mean, std)
    assert out.shape == (2, 3, 4, 4) and out.is_contiguous(memory_format=torch.channels_last)
    assert out[1, 2, 0, 3] == pytest.approx((images[1, 0, 3, 2].item() - 0.3) / 4)
    by_pixel = augment.normalize(images, images[0], torch.ones(3))
    assert torch.equal(by_pixel[0], torch.zeros(3, 4, 4))


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    size=st.integers(1, 40),
    u=draws,
    seed=st.integers(0, 9),
)
def test_resized_is_the_plain_resize_of_whole_pixels_within_two_levels(
    height: int, width: int, size: int, u: list[float], seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    box = augment.area_box(width, height, u)
    left, top, right, bottom = map(round, box)
    left, top = min(left, width - 1), min(top, height - 1)
    part = pixels[top : max(bottom, top + 1), left : max(right, left + 1)]
    found = augment.resized(pixels, size, box)
    assert found.dtype == np.uint8 and found.flags.c_contiguous
    expected = images.resize(part, size, size).astype(int)
    assert np.abs(found - expected).max() <= 2


@given(st.lists(st.floats(0.01, 1), max_size=5), st.integers(4, 512), st.floats(0, 1))
def test_sizes_take_turns_and_never_exceed_the_size(
    shares: list[float], size: int, progress: float
) -> None:
    found = augment.size_at(shares, size, progress)
    assert 4 <= found <= size and (found == size or found % 4 == 0)
    for turn, share in enumerate(shares):
        middle = augment.size_at(shares, size, (turn + 0.5) / len(shares))
        assert abs(middle - max(4, share * size)) <= 2 + size % 4
    if not shares or shares[-1] == 1:
        assert augment.size_at(shares, size, 1.0) == size


def test_sizes_of_the_recipe_fast() -> None:
    assert [augment.size_at((0.75, 1.0), 32, at) for at in (0, 0.49, 0.5, 1)] == [24, 24, 32, 32]
    assert [augment.size_at((0.5, 0.75, 1.0), 224, at) for at in (0, 0.4, 0.9)] == [112, 168, 224]


def test_shrinking_keeps_the_mean_and_averages_what_a_pixel_covers() -> None:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = images.contiguous(memory_format=torch.channels_last)
    small = augment.shrink(images, 24)

    assert small.shape == (2, 3, 24, 24)
    assert small.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(small.mean((2, 3)), images.mean((2, 3)), atol=0.02, rtol=0)
    assert augment.shrink(images, 32) is images
    flat = augment.shrink(torch.full((1, 3, 32, 32), 0.7), 20)
    torch.testing.assert_close(flat, torch.full((1, 3, 20, 20), 0.7))
    checks = (
        torch.arange(32).view(1, 1, 1, 32) % 2 * torch.ones(1, 3, 32, 1)
    )  # finer than 16 pixels
    assert (augment.shrink(checks, 16)[..., 2:-2] - 0.5).abs().max() < 0.1


@given(b=st.integers(0, 4), h=st.integers(1, 7), w=st.integers(1, 7), each_pixel=st.booleans())
def test_normalize_has_the_bits_of_its_formula(b: int, h: int, w: int, each_pixel: bool) -> None:
    images_ = pictures(b, h, w)
    mean = torch.rand(h, w, 3) if each_pixel else torch.rand(3)
    std = torch.rand(3) + 0.1
    floats = images_.float() / 255
    expected = ((floats - mean) / std).permute(0, 3, 1, 2)
    before = floats.clone()
    for given_ in (images_, floats):
        found = augment.normalize(given_, mean, std)
        assert torch.equal(found, expected)
        assert found.permute(0, 2, 3, 1).is_contiguous()
    assert torch.equal(floats, before)


@given(seeds, st.integers(3, 9), st.integers(3, 9), st.integers(0, 2))
def test_shifting_shows_the_image_between_its_mirror_images(
    seed: int, h: int, w: int, reach: int
) -> None:
    """As numpy's reflecting border, at every offset."""
    generator = torch.Generator().manual_seed(seed % 2**32)
    images = torch.randint(0, 256, (4, h, w, 3), generator=generator, dtype=torch.uint8)
    u = torch.rand(4, 2, generator=generator)
    border = ((0, 0), (reach, reach), (reach, reach), (0, 0))
    padded = np.pad(images.numpy(), border, mode="reflect")
    shifted = augment.shift(images, u, reach)

    for index, (top, left) in enumerate((u * (2 * reach + 1)).long().tolist()):
        assert np.array_equal(shifted[index], padded[index, top : top + h, left : left + w])


def test_a_picture_of_one_pixel_can_be_shifted() -> None:
    assert augment.shift(torch.full((1, 1, 1, 3), 7), torch.rand(1, 2)).tolist() == [[[[7, 7, 7]]]]


@given(st.integers(0, 1000))
def test_of_a_pair_of_epochs_each_image_is_mirrored_in_one(pair: int) -> None:
    u = augment.uniforms(3, 2 * pair, torch.arange(50), 1)[:, 0]
    images = torch.arange(50 * 2).view(50, 1, 2, 1)
    views = [
        augment.flip(images, augment.alternated(u, epoch)) for epoch in (2 * pair, 2 * pair + 1)
    ]
    assert torch.equal(views[0] + views[1], images + images.flip(2))
    edge = torch.tensor([0.5, 0.5 - 2**-24, 0.0, 1 - 2**-24])
    assert torch.equal(augment.alternated(edge, 1) < 0.5, edge >= 0.5)
