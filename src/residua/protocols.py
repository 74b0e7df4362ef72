"""How a network is asked about a picture: which views of it, and how their scores combine.

    single          one view, as the preprocessing shows it
    mirrored        that view and its mirror image (Krizhevsky et al. 2012, section 4.1, without
                    their crops)
    ten-crop        four corners and the center, and their mirror images (Krizhevsky et al. 2012,
                    section 4.1)
    multi-scale     the whole picture at several scales, the classifier applied at every place
                    (Simonyan & Zisserman 2014, section 3.2; He et al. 2016a, section 3.4)

A view gives logits; those of many places are averaged. The scores of several views are averaged
after the softmax, as the authors of the residual networks did, or before it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from residua.errors import Refused, unknown
from residua.images import Preprocessing

Pixels = NDArray[np.uint8]  # (h, w, 3)
AVERAGES = ("softmax", "logits")
SMALL = 64  # pixels up to which an image is taken whole, and crops reach over its border
# Shorter sides relative to the training size: 224, 256, 384, 480, 640 (He et al. 2016a, 3.4).
# Networks for small images never saw other scales in training, and are asked at closer ones.
SCALES = (1, 8 / 7, 12 / 7, 15 / 7, 20 / 7)
SMALL_SCALES = (1, 9 / 8, 5 / 4)


@dataclass(frozen=True)
class Protocol:
    """What decides a number besides the network and the images."""

    name: str = "single"
    average: str = "softmax"  # over views: "softmax" or "logits"
    scales: tuple[int, ...] = ()  # shorter sides in pixels, of multi-scale; none: `usual_scales`
    mirror: bool = True  # show mirror images too, in multi-scale

    def __post_init__(self) -> None:
        if self.name not in PROTOCOLS:
            raise unknown("protocol", self.name, PROTOCOLS)
        if self.average not in AVERAGES:
            raise unknown("average", self.average, AVERAGES)
        if self.name != "multi-scale" and (self.scales or not self.mirror):
            raise Refused(
                "scales, and whether to mirror, are of the protocol multi-scale",
                where=f"received the protocol {self.name}",
            )
        if not all(1 <= scale <= 8192 for scale in self.scales):
            raise Refused(
                "a scale is a number of pixels from 1 to 8192",
                where=f"received scales {', '.join(map(str, self.scales))}",
            )

    @property
    def slug(self) -> str:
        """A file name that no other protocol has."""
        parts = [self.name, *map(str, self.scales)]
        parts += ["logits"] * (self.average == "logits" and self.name != "single")
        parts += ["unmirrored"] * (not self.mirror)
        return "-".join(parts)

    @property
    def dense(self) -> bool:
        """Whether the classifier is applied at every place of a view."""
        return PROTOCOLS[self.name].dense

    def views(self, pixels: Pixels, preprocessing: Preprocessing) -> list[Pixels]:
        """Every view (h, w, 3) of a picture of any size."""
        return PROTOCOLS[self.name].views(pixels, preprocessing, self)

    def words(self) -> str:
        """The protocol in a sentence's words."""
        return PROTOCOLS[self.name].words(self)


def scales_of(protocol: Protocol, preprocessing: Preprocessing) -> tuple[int, ...]:
    """The scales of multi-scale, the usual ones where none are given."""
    return protocol.scales or usual_scales(preprocessing)


def usual_scales(preprocessing: Preprocessing) -> tuple[int, ...]:
    """The scales of multi-scale where none are given."""
    ratios = SMALL_SCALES if preprocessing.size <= SMALL else SCALES
    return tuple(round(preprocessing.size * ratio) for ratio in ratios)


def single(pixels: Pixels, preprocessing: Preprocessing, protocol: Protocol) -> list[Pixels]:
    return [preprocessing.view(pixels)]


def with_mirror(pixels: Pixels, preprocessing: Preprocessing, protocol: Protocol) -> list[Pixels]:
    view = preprocessing.view(pixels)
    return [view, mirrored(view)]


def ten_crop(pixels: Pixels, preprocessing: Preprocessing, protocol: Protocol) -> list[Pixels]:
    """Crops of the picture with its shorter side at `resize`, 256 for 224.

    Where `resize` is the size itself, as for small images, the crops are of the image within a
    black border of an eighth of its size, as in the training views of He et al. 2016a, section 4.2.
    """
    size = preprocessing.size
    whole = preprocessing.whole(pixels, preprocessing.resize)
    if preprocessing.resize == size:
        border = max(1, size // 8)
        whole = np.pad(whole, ((border, border), (border, border), (0, 0)))
    bottom, right = whole.shape[0] - size, whole.shape[1] - size
    corners = ((0, 0), (0, right), (bottom, 0), (bottom, right))
    places = (*corners, (round(bottom / 2), round(right / 2)))
    crops = [whole[y : y + size, x : x + size] for y, x in places]
    return [*crops, *map(mirrored, crops)]


def multi_scale(pixels: Pixels, preprocessing: Preprocessing, protocol: Protocol) -> list[Pixels]:
    """The whole picture with its shorter side at each of the scales."""
    scales = scales_of(protocol, preprocessing)
    views = [preprocessing.whole(pixels, scale) for scale in scales]
    return [*views, *map(mirrored, views)] if protocol.mirror else views


def mirrored(pixels: Pixels) -> Pixels:
    return pixels[:, ::-1]


class Asking(NamedTuple):
    """A row of the registry."""

    views: Callable[[Pixels, Preprocessing, Protocol], list[Pixels]]
    dense: bool
    about: str
    words: Callable[[Protocol], str]


def several(protocol: Protocol) -> str:
    given = ", ".join(map(str, protocol.scales))
    where = f"at {given} pixels" if given else "at several scales"
    mirrored = " and mirrored" * protocol.mirror
    return f"dense, {where}{mirrored}, {protocol.average} averaged"


PROTOCOLS: dict[str, Asking] = {
    "single": Asking(
        single, False, "one view, as the preprocessing shows it", lambda protocol: "single view"
    ),
    "mirrored": Asking(
        with_mirror,
        False,
        "one view and its mirror image",
        lambda protocol: f"a view and its mirror image, {protocol.average} averaged",
    ),
    "ten-crop": Asking(
        ten_crop,
        False,
        "four corners and the center, and their mirror images",
        lambda protocol: f"10 crops, {protocol.average} averaged",
    ),
    "multi-scale": Asking(
        multi_scale, True, "the whole picture at several scales, the head at every place", several
    ),
}
