"""Images a second on one core, from where they lie to the tensors that a network takes.

    python benchmarks/loading.py

Three ways to feed a network, each against the plain way that is common:

    memory   50,000 images of 32 pixels: pad, crop, mirror, normalize, in batches
    files    JPEG files of 500 x 375: decode, cut a random area, resize to 224 pixels, mirror
    cache    the same pictures, decoded once

Every row runs in a fresh process on one core, in turn with the others, three times. The plain rows
are reference loops of Pillow and torch calls for one image at a time.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from record import record
from sklearn.datasets import load_sample_images
from torch import Tensor

from residua import augment, images, jpeg
from residua.batches import Batch, training
from residua.datasets.cache import cached, side
from residua.datasets.dataset import Split
from residua.images import Preprocessing
from residua.recipes import Recipe

CPU = torch.device("cpu")
LOOK = {
    32: Preprocessing(32, mean=(0.49, 0.48, 0.45), std=(0.25, 0.24, 0.26)),
    224: Preprocessing(224, "crop", 256, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
SMALL, PHOTOS = 50_000, 128
QUALITY = 95  # about 100 kB a file, as ImageNet's


def small() -> Split:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (SMALL, 32, 32, 3), dtype=torch.uint8, generator=generator)
    return Split(pixels, torch.arange(SMALL) % 10)


def photos(place: Path) -> Split:
    """JPEG files of parts of the two photographs that come with scikit-learn."""
    draw, paths = random.Random(0), []
    for number in range(PHOTOS):
        whole = load_sample_images().images[number % 2]
        y, x = draw.randrange(whole.shape[0] - 374), draw.randrange(whole.shape[1] - 499)
        paths.append(place / f"{number:03d}.jpg")
        if not paths[-1].exists():
            file = BytesIO()
            Image.fromarray(whole[y : y + 375, x : x + 500]).save(file, "JPEG", quality=QUALITY)
            paths[-1].write_bytes(file.getvalue())
    return Split(tuple(paths), torch.arange(PHOTOS) % 10)


def batches(split: Split, size: int, batch: int, crop: str) -> Iterator[Batch]:
    recipe = Recipe(batch=batch, crop=crop, flip=True, workers=0)  # type: ignore[arg-type]
    epoch = 0
    while True:
        yield from training(split, LOOK[size], recipe, epoch, CPU)
        epoch += 1


def memory(batch: int) -> Iterator[int]:
    for found in batches(small(), 32, batch, "pad"):
        yield len(found.labels)


def gathered(batch: int) -> Iterator[int]:
    """Without the normalization: what reading, cropping and mirroring cost."""
    split = small()
    assert isinstance(split.images, Tensor)
    while True:
        indices = torch.randint(0, SMALL, (batch,))
        u = torch.rand(batch, 3)
        pixels = split.images.index_select(0, indices)
        augment.flip(augment.pad_crop(pixels, u[:, :2]), u[:, 2])
        yield batch


def indexed(batch: int) -> Iterator[int]:
    """The same with an index for every pixel, and `where` for the mirrored."""
    split = small()
    assert isinstance(split.images, Tensor)
    line, image = torch.arange(32), torch.arange(batch)[:, None, None]
    while True:
        indices = torch.randint(0, SMALL, (batch,))
        u = torch.rand(batch, 3)
        padded = torch.nn.functional.pad(split.images[indices], (0, 0, 4, 4, 4, 4))
        at = (u[:, :2] * 9).long()
        rows, columns = at[:, 0, None] + line, at[:, 1, None] + line
        pixels = padded[image, rows[:, :, None], columns[:, None, :]]
        torch.where((u[:, 2] < 0.5)[:, None, None, None], pixels.flip(2), pixels)
        yield batch


def normalized(picture: Image.Image, mean: Tensor, std: Tensor) -> Tensor:
    """What ToTensor and Normalize do to one picture."""
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
    return pixels.float().div(255).sub_(mean).div_(std)


def plain_memory(batch: int) -> Iterator[int]:
    """One Pillow image at a time: pad, crop, mirror, ToTensor, Normalize; then stack."""
    pixels, look = small().images, LOOK[32]
    assert isinstance(pixels, Tensor)
    mean, std = (torch.tensor(row)[:, None, None] for row in (look.mean, look.std))
    while True:
        views = []
        for index in random.choices(range(SMALL), k=batch):
            page = Image.new("RGB", (40, 40))
            page.paste(Image.fromarray(pixels[index].numpy()), (4, 4))
            x, y = random.randrange(9), random.randrange(9)
            view = page.crop((x, y, x + 32, y + 32))
            if random.random() < 0.5:
                view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            views.append(normalized(view, mean, std))
        torch.stack(views)
        yield batch


def plain_files(place: Path, batch: int) -> Iterator[int]:
    """One file at a time by Pillow: decode, cut, resize, mirror, ToTensor, Normalize; stack."""
    paths, look = photos(place).images, LOOK[224]
    mean, std = (torch.tensor(row)[:, None, None] for row in (look.mean, look.std))
    while True:
        views = []
        for path in random.choices(list(paths), k=batch):
            with Image.open(str(path)) as file:
                picture = file.convert("RGB")
            u = [random.random() for _ in range(4)]
            left, top, right, bottom = map(round, augment.area_box(*picture.size, u))
            view = picture.crop((left, top, right, bottom))
            view = view.resize((224, 224), Image.Resampling.BILINEAR)
            if random.random() < 0.5:
                view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            views.append(normalized(view, mean, std))
        torch.stack(views)
        yield batch


def files(place: Path, batch: int, with_simplejpeg: bool) -> Iterator[int]:
    if not with_simplejpeg:
        jpeg.simplejpeg = lambda: None  # type: ignore[assignment]
    for found in batches(photos(place), 224, batch, "area"):
        yield len(found.labels)


def decoded(place: Path, with_simplejpeg: bool) -> Iterator[int]:
    """The decoding alone."""
    if not with_simplejpeg:
        jpeg.simplejpeg = lambda: None  # type: ignore[assignment]
    data = [images.file_bytes(Path(str(path))) for path in photos(place).images]
    while True:
        for file in data:
            images.decode(file)
            yield 1


def kept(place: Path, batch: int) -> Iterator[int]:
    split = cached(photos(place), side(224, "area"), place / "cache", 1)
    for found in batches(split, 224, batch, "area"):
        yield len(found.labels)


def cut(place: Path, with_torch: bool) -> Iterator[int]:
    """From the cache: the cutting and resizing alone, by torch or by Pillow."""
    split = cached(photos(place), side(224, "area"), place / "cache", 1)
    pixels = [split.pixels(index) for index in range(PHOTOS)]
    while True:
        for picture in pixels:
            height, width = picture.shape[:2]
            box = augment.area_box(width, height, [random.random() for _ in range(4)])
            if with_torch:
                augment.resized(picture, 224, box)
            else:
                images.resize(picture, 224, 224, box)
            yield 1


ROWS: dict[str, Callable[[Path], Iterator[int]]] = {
    "memory: plain, one image at a time": lambda place: plain_memory(128),
    "memory: batches of 128": lambda place: memory(128),
    "memory: batches of 512": lambda place: memory(512),
    "memory: index for every pixel, uint8": lambda place: indexed(128),
    "memory: gather, crop, mirror, uint8": lambda place: gathered(128),
    "files: plain, one image at a time": lambda place: plain_files(place, 32),
    "files: Pillow": lambda place: files(place, 32, False),
    "files: simplejpeg": lambda place: files(place, 32, True),
    "files: decode by Pillow": lambda place: decoded(place, False),
    "files: decode by simplejpeg": lambda place: decoded(place, True),
    "cache: batches of 32": lambda place: kept(place, 32),
    "cache: cut and resize by Pillow": lambda place: cut(place, False),
    "cache: cut and resize by torch": lambda place: cut(place, True),
}
AGAINST = {
    "memory: batches of 128": "memory: plain, one image at a time",
    "memory: batches of 512": "memory: plain, one image at a time",
    "memory: gather, crop, mirror, uint8": "memory: index for every pixel, uint8",
    "files: Pillow": "files: plain, one image at a time",
    "files: simplejpeg": "files: plain, one image at a time",
    "files: decode by simplejpeg": "files: decode by Pillow",
    "cache: batches of 32": "files: plain, one image at a time",
    "cache: cut and resize by torch": "cache: cut and resize by Pillow",
}


def rate(name: str, place: Path, seconds: float) -> float:
    """Images a second of one row, after a warm-up."""
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    counts = ROWS[name](place)
    for _ in islice(counts, 4):
        pass
    began, total = time.perf_counter(), 0
    while (past := time.perf_counter() - began) < seconds:
        total += next(counts)
    return total / past


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each row in each round")
    parser.add_argument("--row", help="measure this one here and print it")
    parser.add_argument("--place", type=Path, help="where the pictures lie")
    options = parser.parse_args()
    if options.row:
        print(json.dumps(rate(options.row, options.place, options.seconds)))
        return
    rates: dict[str, list[float]] = {name: [] for name in ROWS}
    with tempfile.TemporaryDirectory() as place:
        cached(photos(Path(place)), side(224, "area"), Path(place, "cache"), os.cpu_count() or 1)
        kilobytes = np.mean([path.stat().st_size for path in Path(place).glob("*.jpg")]) / 1000
        for _ in range(options.rounds):
            for name in ROWS:
                words = [sys.executable, __file__, "--row", name, "--place", place]
                words += ["--seconds", str(options.seconds)]
                rates[name].append(json.loads(subprocess.check_output(words)))
    measured = {
        name: {
            "images_per_second": round(statistics.median(found)),
            "slowest_round": round(min(found)),
            **ratio(rates, name),
        }
        for name, found in rates.items()
    }
    simple = "simplejpeg" if jpeg.simplejpeg() else "not installed: its rows are Pillow's"
    record("loading", {"kilobytes_a_file": round(kilobytes), "simplejpeg": simple, **measured})


def ratio(rates: dict[str, list[float]], name: str) -> dict[str, float]:
    """How many times as fast as the row that it stands against: the median over the rounds."""
    if name not in AGAINST:
        return {}
    pairs = zip(rates[name], rates[AGAINST[name]], strict=True)
    return {"times": round(statistics.median(ours / theirs for ours, theirs in pairs), 2)}


if __name__ == "__main__":
    main()
