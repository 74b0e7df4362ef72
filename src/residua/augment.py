"""Training views: pure functions of a batch and of its random numbers.

Every random number belongs to one image in one epoch: `uniforms(seed, epoch, indices, count)` is a
hash of these, not a stream. A view therefore does not depend on the batch an image falls into, on
how many workers decode, or on where a run was interrupted.

Axes in comments: b batch; h, w height and width of a picture; c channels (3, red green blue).
"""

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

PAD_CROP = 4  # pixels of zeros on each side (He et al. 2016a, section 4.2)
AREA = (0.08, 1.0)  # share of the picture that `area_box` keeps (Szegedy et al. 2014, section 6)
ASPECT = (3 / 4, 4 / 3)
SHORTER_SIDE = (256, 480)  # for a view of 224 pixels (He et al. 2016a, section 3.4)

# Eigenvectors and deviations of ImageNet's colors, in 0..1 (Krizhevsky et al. 2012, section 4.1).
PCA_VECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)
PCA_VALUES = (0.2175, 0.0188, 0.0045)

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels of the picture


def uniforms(seed: int, epoch: int, indices: Tensor, count: int) -> Tensor:
    """Draw `count` numbers in [0, 1) for each image of one epoch.

    Args:
        seed, epoch: what the draw belongs to besides the image.
        indices: positions of the images in their split, int64 (b).
        count: numbers for each image.

    Returns:
        float32 (b, count), the same for an image in whatever batch it is asked for.
    """
    key = hashlib.sha256(f"{seed}/{epoch}".encode()).digest()[:8]
    start = int.from_bytes(key, "big", signed=True)
    columns = torch.arange(count, device=indices.device)
    counter = indices[:, None] * 1_048_583 + columns  # (b, count); no image needs a million numbers
    mixed = mix(mix(counter + start) ^ start)
    return (mixed >> 40 & 0xFFFFFF).float() / 2**24


def mix(z: Tensor) -> Tensor:
    """The finalizer of SplitMix64 (Steele et al. 2014) on int64, whose products wrap around."""
    z = (z ^ (z >> 30 & 0x3FFFFFFFF)) * -4658895280553007687
    z = (z ^ (z >> 27 & 0x1FFFFFFFFF)) * -7723592293110705685
    return z ^ (z >> 31 & 0x1FFFFFFFF)


def pad_crop(images: Tensor, u: Tensor, padding: int = PAD_CROP) -> Tensor:
    """Pad with zeros and take a random window of the original size.

    Args:
        images: (b, h, w, c) of any type.
        u: (b, 2) in [0, 1): where the window lies.
    """
    padded = F.pad(images, (0, 0, padding, padding, padding, padding)).contiguous()
    return windows(padded, (u * (2 * padding + 1)).long(), images.shape[1], images.shape[2])


def shift(images: Tensor, u: Tensor, reach: int = 2) -> Tensor:
    """Move each image by up to `reach` pixels; what comes in from outside is mirrored.

    As `pad_crop`, but nothing black comes in: what short trainings learn more from (Jordan 2024,
    arXiv:2404.00498, section 3).
    """
    h, w = images.shape[1:3]
    rows, columns = (bounced(side, reach).to(images.device) for side in (h, w))
    padded = images.index_select(1, rows).index_select(2, columns)
    return windows(padded, (u * (2 * reach + 1)).long(), h, w)


def bounced(side: int, reach: int) -> Tensor:
    """The positions -reach to side + reach - 1, those outside mirrored at the outermost pixel."""
    last = side - 1
    at = torch.arange(-reach, side + reach).abs()
    return (last - (last - at).abs()).clamp(0, last)


def windows(padded: Tensor, first: Tensor, h: int, w: int) -> Tensor:
    """The part (b, h, w, c) of each picture that starts at `first` (b, 2): row, column."""
    b, tall, wide, c = padded.shape
    picture = torch.arange(b, device=padded.device)
    start = ((picture * tall + first[:, 0]) * wide + first[:, 1]) * c
    # Seen through strides that overlap, every possible window is one row of a matrix. One indexed
    # read then copies whole lines, 30 times as fast as an index for every pixel.
    count = max(0, padded.numel() - ((h - 1) * wide + w) * c + 1)
    every = padded.as_strided((count, h, w * c), (1, wide * c, 1))
    return every.index_select(0, start).view(b, h, w, c)


def flip(images: Tensor, u: Tensor) -> Tensor:
    """Mirror the images (b, h, w, c) whose u (b) is below one half."""
    b = len(images)
    both = torch.stack((images, images.flip(2))).flatten(0, 1)  # copies lines; `where` goes by byte
    return both.index_select(0, torch.arange(b, device=images.device) + b * (u < 0.5))


def alternated(u: Tensor, epoch: int) -> Tensor:
    """Numbers u (b) of a pair of epochs for `flip`: of two epochs, each image is mirrored in one.

    Both views are then seen equally often (Jordan 2024, arXiv:2404.00498, section 3.6).
    """
    return 1 - 2**-24 - u if epoch % 2 else u


def jitter(images: Tensor, u: Tensor, strength: float = 0.4) -> Tensor:
    """Scale brightness, contrast, saturation of (b, h, w, c) in 0..1 by 1 +- strength, u (b, 3)."""
    factors = 1 + strength * (2 * u - 1)
    brightness, contrast, saturation = factors[:, :, None, None, None].unbind(1)
    images = images * brightness
    images = torch.lerp(images.mean((1, 2, 3), keepdim=True), images, contrast)
    return torch.lerp(images.mean(3, keepdim=True), images, saturation).clamp(0, 1)


def pca_color(images: Tensor, u: Tensor, deviation: float = 0.1) -> Tensor:
    """Add a random color to each image (b, h, w, 3) in 0..1 (Krizhevsky et al. 2012), u (b, 3)."""
    vectors, values = images.new_tensor(PCA_VECTORS), images.new_tensor(PCA_VALUES)
    normal = math.sqrt(2) * torch.erfinv((2 * u - 1).clamp(-0.999999, 0.999999))
    shift = (normal * deviation * values) @ vectors.T  # (b, 3)
    return images + shift[:, None, None, :]


def mixup(images: Tensor, share: float) -> Tensor:
    """Blend each image (b, c, h, w) with another, keeping `share` of itself (arXiv:1710.09412)."""
    return torch.lerp(images.flip(0), images, share)


def area_box(width: int, height: int, u: Sequence[float]) -> Box:
    """A window of random area and aspect ratio, u (4) (Szegedy et al. 2014, section 6)."""
    low, high = (math.log(ratio) for ratio in ASPECT)
    aspect = math.exp(low + (high - low) * u[1])
    area = width * height * (AREA[0] + (AREA[1] - AREA[0]) * u[0])
    w = min(width, math.sqrt(area * aspect))
    h = min(height, math.sqrt(area / aspect))
    left, top = u[2] * (width - w), u[3] * (height - h)
    return left, top, left + w, top + h


def scale_box(width: int, height: int, size: int, u: Sequence[float]) -> Box:
    """The window that `size` pixels fill after the shorter side becomes 256 to 480 (for 224)."""
    low, high = (side * size / 224 for side in SHORTER_SIDE)
    side = math.floor(low + (high - low + 1) * u[0])
    window = size * min(width, height) / side
    left, top = u[2] * (width - window), u[3] * (height - window)
    return left, top, left + window, top + window


def resized(pixels: NDArray[np.uint8], size: int, box: Box) -> NDArray[np.uint8]:
    """The whole pixels of a picture (h, w, 3) nearest to `box`, as (size, size, 3).

    Bilinear, averaging what it covers, as `images.resize` and within 2 gray levels of it, but five
    times as fast: for random views, whose bits are nobody's reference.
    """
    left, top, right, bottom = map(round, box)
    top, left = min(top, len(pixels) - 1), min(left, pixels.shape[1] - 1)
    part = pixels[top : max(bottom, top + 1), left : max(right, left + 1)]
    # Only what torch recognizes as channels_last takes the vectorized path.
    image = torch.from_numpy(np.array(part))[None].permute(0, 3, 1, 2)
    image = F.interpolate(image, (size, size), mode="bilinear", antialias=True)
    return image.permute(0, 2, 3, 1)[0].contiguous().numpy()


def size_at(shares: Sequence[float], size: int, progress: float) -> int:
    """The size of training images at `progress`, 0 to 1, where each share of `size` has its turn.

    Rounded to whole fours, so that strides divide it; without shares it is `size`.
    """
    share = shares[min(int(progress * len(shares)), len(shares) - 1)] if shares else 1
    return size if share == 1 else min(size, max(4, 4 * round(share * size / 4)))


def shrink(images: Tensor, size: int) -> Tensor:
    """Images (b, c, h, w) at `size` x `size` pixels, each the mean of what it covers.

    Small images first, large ones last, cost less for the same accuracy (Howard 2018, fast.ai's
    entry to DAWNBench).
    """
    if images.shape[2:] == (size, size):
        return images
    small = F.interpolate(images, (size, size), mode="bilinear", antialias=True)
    return small.contiguous(memory_format=torch.channels_last)


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Turn images into the network's input, (b, c, h, w) in channels_last memory.

    Args:
        images: (b, h, w, c), uint8 or floats in 0..1.
        mean: (c) or (h, w, c); std: (c).
    """
    # One value for each of a line: loops over 3 channels would cost four times as much.
    line = images.shape[2:] if mean.ndim == 1 else images.shape[1:]
    mean, std = (values.expand(line).flatten() for values in (mean, std))
    result = torch.empty(images.shape, device=images.device)
    lines = result.view(-1, len(mean)).copy_(images.reshape(-1, len(mean)))
    if images.dtype == torch.uint8:
        lines.div_(255)
    lines.sub_(mean).div_(std)
    return result.permute(0, 3, 1, 2)
