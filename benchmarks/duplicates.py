"""Are copies between train and test found, and nothing else?

    python benchmarks/duplicates.py CIFAR10

Planted: 5,000 CIFAR-10 images enlarged to 96-160 pixels and stored as JPEG, of which 37 test images
are exact and 40 are re-encoded, resized or mirrored copies of training images. CIFAR-10 has copies
of its own (Barz & Denzler 2020); pairs that were found without being planted are listed by their
numbers in CIFAR-10, and count as false unless they are in OWN, which holds what was looked at.
"""

import argparse
import random
import resource
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from record import record

from residua import datasets
from residua.datasets.dataset import Dataset, Split, digest, together
from residua.datasets.duplicates import Gallery, copies, gallery, leaked
from residua.datasets.inspect import inspect
from residua.datasets.looks import Look, looks, sketches

Pixels = NDArray[np.uint8]

IMAGES, TESTED, EXACT, CHANGED = 5_000, 1_000, 37, 40
# Pairs of CIFAR-10 (train 0-49,999, test from 50,000) that show one photograph, judged by eye.
OWN = frozenset(
    {
        (3728, 14745),
        (8994, 46603),
        (9436, 48432),
        (11005, 32133),
        (13991, 37800),
        (16598, 33506),
        (17699, 38237),
        (20083, 47979),
        (37011, 52238),
        (40936, 31049),
        (44328, 46006),
        (49340, 58560),
        (51965, 28725),
        (52021, 41504),
        (52108, 27937),
    }
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cifar", help="CIFAR-10 in any official layout")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--sheet", type=Path, help="draw the pairs that were not planted here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cifar = datasets.load(options.cifar)
    every = together([cifar.splits["train"], cifar.splits["test"]])
    rows = [planted(every, seed, options.threads) for seed in options.seeds]
    unplanted = {tuple(pair) for row in rows for pair in row["not_planted"]}
    if options.sheet:
        draw(every, sorted(unplanted), options.sheet)
    measured = {
        "threads": options.threads,
        "planted": rows,
        "found_of_400_by_change": by_change(every),
        "cifar10": own(cifar),
        "digits": {"pairs": len(among(datasets.load("digits")))},
        "search": {str(count): search(every, count) for count in (60_000, 100_000)},
    }
    measured["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000
    record("duplicates", measured)


def planted(every: Split, seed: int, threads: int) -> dict[str, Any]:
    """One folder: what was planted, what was found, and how long it took."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        numbers, exact, changed = plant(root, every, seed)
        data = datasets.load(root)
        began = time.perf_counter()
        for split in data.splits.values():
            for _ in looks(split, threads):
                pass
        plain = time.perf_counter() - began
        began = time.perf_counter()
        found = inspect(data, threads)
        seconds = time.perf_counter() - began
        leaks = leaked(data.splits["train"], data.splits["test"], threads)
    listed = {problem.kind: set(problem.items) for problem in found.problems}
    near = listed.get("near-leak", set())
    train, test = (data.splits[role] for role in ("train", "test"))
    pairs = {(numbers[train.name(leak.train)], numbers[test.name(leak.test)]) for leak in leaks}
    pairs = {pair for pair in pairs if pair[0] != pair[1]}
    assert {test.name(leak.test) for leak in leaks} == near | listed["leak"]
    return {
        "seed": seed,
        "images": sum(found.images.values()),
        "exact_found": len(exact & listed["leak"]),
        "changed_found": len(changed.keys() & near),
        "missed": sorted(f"{name} ({changed[name]})" for name in changed.keys() - near),
        "not_planted": sorted(pairs),
        "false": len(pairs - OWN) + len(listed["leak"] - exact),
        "seconds_reading_without_sketches": round(plain, 1),
        "seconds_inspecting": round(seconds, 1),
    }


def plant(root: Path, every: Split, seed: int) -> tuple[dict[str, int], set[str], dict[str, str]]:
    """Write the folder; returns name -> number in CIFAR-10, the exact copies and the others."""
    draw = random.Random(seed)
    numbers = draw.sample(range(len(every)), IMAGES - EXACT - CHANGED)
    tested = TESTED - EXACT - CHANGED
    files: dict[str, int] = {}
    for place, number in enumerate(numbers):
        role = "test" if place < tested else "train"
        name = f"{role}/{int(every.labels[number])}/{number:05d}.jpg"
        store(root, name, jpeg(enlarged(every.pixels(number), draw), draw.randint(85, 95)))
        files[name] = number
    sources = draw.sample(sorted(name for name in files if name.startswith("train")), 77)
    exact, changed = set(), {}
    for at, source in enumerate(sources):
        pixels = np.array(Image.open(root / source))
        copy = source.replace("train", "test").replace(".jpg", f"-copy{at % 2 * '.png' or '.jpg'}")
        if at < EXACT:
            store(root, copy, png(pixels) if at % 2 else (root / source).read_bytes())
            exact.add(copy)
        else:
            copy = copy.replace(".png", ".jpg")
            change = ("re-encoded", "resized", "mirrored", "mirrored and resized")[at % 4]
            if "mirrored" in change:
                pixels = pixels[:, ::-1]
            if "resized" in change:
                pixels = scaled(pixels, draw.uniform(0.5, 2))
            store(root, copy, jpeg(pixels, draw.randint(60, 95)))
            changed[copy] = change
        files[copy] = files[source]
    return files, exact, changed


CHANGES: dict[str, Callable[[Pixels, random.Random], bytes]] = {
    "JPEG quality 60": lambda p, draw: jpeg(p, 60),
    "half the size, JPEG quality 60": lambda p, draw: jpeg(scaled(p, 0.5), 60),
    "twice the size": lambda p, draw: jpeg(scaled(p, 2), 90),
    "mirrored": lambda p, draw: jpeg(p[:, ::-1], 75),
    "gray": lambda p, draw: jpeg(np.array(Image.fromarray(p).convert("L")), 75),
    "brightness x 1.25": lambda p, draw: jpeg(np.clip(p * 1.25, 0, 255).astype(np.uint8), 75),
    "cropped by 2 %": lambda p, draw: jpeg(cropped(p, 0.02, draw), 75),
    "cropped by 4 %": lambda p, draw: jpeg(cropped(p, 0.04, draw), 75),
    "cropped by 8 %": lambda p, draw: jpeg(cropped(p, 0.08, draw), 75),
    "cropped by 15 %": lambda p, draw: jpeg(cropped(p, 0.15, draw), 75),
    "rotated by 3 degrees": lambda p, draw: jpeg(np.array(Image.fromarray(p).rotate(3)), 75),
}


def by_change(every: Split) -> dict[str, dict[str, int]]:
    """Of 400 images at 128 pixels: how many copies are found after each change, and how many not
    of themselves."""
    draw = random.Random(0)
    originals = [scaled(every.pixels(at), 4) for at in draw.sample(range(len(every)), 400)]
    base = gallery(map(look, originals))
    table = {}
    for name, change in CHANGES.items():
        changed = [np.array(Image.open(BytesIO(change(p, draw))).convert("RGB")) for p in originals]
        pairs = copies(gallery(map(look, changed)), base)
        itself = sum(pair.first == pair.second for pair in pairs)
        table[name] = {"itself": itself, "others": len(pairs) - itself}
    return table


def look(pixels: Pixels) -> Look:
    """What reading the image leaves behind."""
    sketch = sketches(pixels[None])[0].tobytes()
    return Look(digest(pixels), (pixels.shape[0], pixels.shape[1]), sketch=sketch)


def among(data: Dataset) -> list[tuple[int, int]]:
    """Near copies anywhere in a data set."""
    seen = [look for split in data.splits.values() for look in looks(split, sketched=True)]
    return [pair[:2] for pair in copies(gallery(seen))]


def own(cifar: Dataset) -> dict[str, Any]:
    """The copies that CIFAR-10 has between train and test, and the time to find them."""
    began = time.perf_counter()
    found = leaked(cifar.splits["train"], cifar.splits["test"])
    return {
        "test_images_with_a_copy_in_train": len(found),
        "exact": sum(leak.kind == "exact" for leak in found),
        "seconds_with_reading": round(time.perf_counter() - began, 1),
    }


def search(every: Split, count: int) -> dict[str, Any]:
    """All pairs of so many images: CIFAR-10, and for more its images turned by a right angle."""
    pixels = torch.as_tensor(every.images)
    pixels = torch.cat([pixels, pixels[: count - len(pixels)].transpose(1, 2)])
    every_one = gallery(looks(Split(pixels.contiguous(), torch.zeros(count)), sketched=True))
    began = time.perf_counter()
    pairs = copies(Gallery(every_one.digests, every_one.sketches, every_one.sizes))
    return {"pairs": len(pairs), "seconds": round(time.perf_counter() - began, 1)}


def draw(every: Split, pairs: list[tuple[int, ...]], path: Path) -> None:
    """Pairs side by side, 8 in a row."""
    page = Image.new("RGB", (8 * 200, -(-max(len(pairs), 1) // 8) * 100), "white")
    for at, pair in enumerate(pairs):
        for side, number in enumerate(pair):
            picture = Image.fromarray(every.pixels(number)).resize((96, 96))
            page.paste(picture, (at % 8 * 200 + side * 96, at // 8 * 100))
    page.save(path)


def enlarged(pixels: Pixels, draw: random.Random) -> Pixels:
    """To 96-160 pixels in either direction."""
    size = draw.randint(96, 160), draw.randint(96, 160)
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def scaled(pixels: Pixels, factor: float) -> Pixels:
    size = round(pixels.shape[1] * factor), round(pixels.shape[0] * factor)
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def cropped(pixels: Pixels, share: float, draw: random.Random) -> Pixels:
    """Without this share of the width and of the height, taken from either end."""
    height, width = (round(side * share) for side in pixels.shape[:2])
    y, x = draw.randint(0, height), draw.randint(0, width)
    return pixels[y : y + pixels.shape[0] - height, x : x + pixels.shape[1] - width]


def jpeg(pixels: Pixels, quality: int) -> bytes:
    file = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def png(pixels: Pixels) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def store(root: Path, name: str, data: bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


if __name__ == "__main__":
    main()
