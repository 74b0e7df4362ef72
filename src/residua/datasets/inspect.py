"""Everything wrong with a data set, in one list, before any training.

Each image is read once. Of its pixels only a digest and a sketch are kept, about 1.5 KB, so memory
grows with the number of images and not with their size. Images are the same when their decoded
pixels are, as of one picture stored as PNG and as BMP; `duplicates` finds copies that were resized,
recompressed, mirrored, slightly cropped or made brighter.

An error means that training would stop or learn from nothing; a warning is for a person to judge.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from residua.datasets.dataset import ROLES, Dataset, content_of
from residua.datasets.duplicates import copies, gallery
from residua.datasets.looks import Look, looks

Severity = Literal["error", "warning"]
Progress = Callable[[int, int], None]  # images read so far, images in all
Rows = dict[tuple[str, Severity], list[tuple[str, str]]]  # of items and notes on them

FEW = 10  # training images under which a class is hardly learned
IMBALANCE = 10  # times more training images in the largest class than in another
NATIVE = 64  # images that all have one size up to this are used as they are
LARGEST = 224  # the recommended size of photos, as in the papers

# (kind, severity) -> what the items are, how to fix it; in the order of the list of problems
KINDS: dict[tuple[str, Severity], tuple[str, str]] = {
    ("unreadable", "error"): (
        "files that cannot be opened",
        "check that they exist and may be read",
    ),
    ("empty", "error"): (
        "files without a byte",
        "copy them again or remove them",
    ),
    ("not-an-image", "error"): (
        "files that are not images",
        "remove them or convert them to PNG",
    ),
    ("too-large", "error"): (
        "images with too many pixels to be decoded safely",
        "make them smaller",
    ),
    ("corrupt", "error"): (
        "damaged images",
        "copy them again or remove them",
    ),
    ("class-mismatch", "error"): (
        "classes with images to test but none to train on",
        "add training images, or move the images to the class they belong to",
    ),
    ("tiny-class", "error"): (
        "classes with fewer than 2 training images",
        "add images to them or remove them",
    ),
    ("leak", "warning"): (
        "held-out images that are also in another split",
        "remove them from the held-out split: they make its error look smaller than it is",
    ),
    ("near-leak", "warning"): (
        "held-out images of which another split has a changed copy",
        "look at them, and remove true copies from the held-out split: they make its error look "
        "smaller than it is",
    ),
    ("conflict", "warning"): (
        "images with the same pixels as an image of another class",
        "decide which label is right and remove the other copy",
    ),
    ("duplicate", "warning"): (
        "images with the same pixels as an earlier one of their class and split",
        "keep one of each",
    ),
    ("near-duplicate", "warning"): (
        "images that are a changed copy of an earlier one of their split",
        "look at them, and keep one of each",
    ),
    ("constant", "warning"): (
        "images of a single color",
        "look at them: an empty frame teaches nothing",
    ),
    ("wrong-format", "warning"): (
        "images with the extension of another format",
        "rename them; until then they are read as what they are",
    ),
    ("class-mismatch", "warning"): (
        "classes missing from a split, or alike but for upper and lower case",
        "check the folder names, and give every split images of every class",
    ),
    ("tiny-class", "warning"): (
        f"classes with fewer than {FEW} training images",
        "add images to them",
    ),
    ("imbalance", "warning"): (
        f"classes with less than 1/{IMBALANCE} of the training images of the largest",
        "add images to them, and read the error of each class, not only the overall one",
    ),
}


@dataclass(frozen=True)
class Problem:
    """One kind of fault with all items that have it; `notes[i]` says why `items[i]` is listed."""

    kind: str
    severity: Severity
    what: str
    items: tuple[str, ...]
    fix: str
    notes: tuple[str, ...]


class Sizes(NamedTuple):
    """(height, width) of the smallest, median and largest image by area, and how many differ."""

    smallest: tuple[int, int]
    median: tuple[int, int]
    largest: tuple[int, int]
    distinct: int


@dataclass(frozen=True)
class Inspection:
    """What was found; `content` identifies the data, and is empty when an image is unreadable."""

    problems: tuple[Problem, ...]
    images: dict[str, int]  # split -> images listed
    sizes: Sizes | None  # None when no image is readable
    size: int
    fit: str
    reason: str
    content: str

    @property
    def safe(self) -> bool:
        """Whether training can start."""
        return all(problem.severity != "error" for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        sizes = self.sizes._asdict() if self.sizes else None
        return {"safe": self.safe, **asdict(self), "sizes": sizes}


class Sample(NamedTuple):
    """One image of a split, and what was seen of it."""

    role: str
    name: str
    label: str
    look: Look


def inspect(dataset: Dataset, workers: int = 1, progress: Progress | None = None) -> Inspection:
    """Read every image once, in `workers` threads, and list all that is wrong."""
    counts = {role: len(dataset.splits[role]) for role in ROLES if role in dataset.splits}
    samples: list[Sample] = []
    for role in counts:
        for sample in _samples(dataset, role, workers):
            samples.append(sample)
            if progress is not None:
                progress(len(samples), sum(counts.values()))
    whole = [sample for sample in samples if sample.look.digest]
    rows = {}
    for found in (
        _faults(samples),
        _same_pixels(whole),
        _near_pixels(whole),
        _classes(whole, dataset),
    ):
        rows.update(found)
    shapes = Counter(sample.look.size for sample in whole)
    complete = len(whole) == len(samples)
    size, fit, reason = recommend(shapes)
    return Inspection(
        problems=tuple(_problem(key, rows[key]) for key in KINDS if rows.get(key)),
        images=counts,
        sizes=_sizes(shapes) if shapes else None,
        size=size,
        fit=fit,
        reason=reason,
        content=content_of((s.role, s.label, s.look.digest) for s in whole) if complete else "",
    )


def recommend(shapes: Counter[tuple[int, int]]) -> tuple[int, str, str]:
    """Choose (size, fit, the reason in words) for images of these (height, width), counted."""
    if not shapes:
        return LARGEST, "crop", "no image can be read"
    first = next(iter(shapes))
    if len(shapes) == 1 and first[0] == first[1] <= NATIVE:
        return first[0], "crop", f"all images are {first[0]} x {first[1]}, which is kept"
    counts = list(shapes.values())
    shorter = int(np.median(np.repeat([min(shape) for shape in shapes], counts)))
    size = max(32, min(LARGEST, shorter // 32 * 32))
    near = sum(n for shape, n in shapes.items() if 3 * max(shape) <= 4.04 * min(shape))
    share = near / sum(counts)
    fit = "crop" if share >= 0.5 else "pad"
    because = "a center crop loses little" if fit == "crop" else "padding loses nothing"
    reason = f"the median shorter side is {shorter}; {share:.0%} of the images are within 4:3, so "
    return size, fit, reason + because


def _samples(dataset: Dataset, role: str, workers: int) -> Iterator[Sample]:
    split = dataset.splits[role]
    labels = split.labels.tolist()
    for index, look in enumerate(looks(split, workers, sketched=True)):
        name = split.name(index) if split.names is not None else f"{role}/{index}"
        yield Sample(role, name, dataset.classes[labels[index]], look)


def _problem(key: tuple[str, Severity], rows: list[tuple[str, str]]) -> Problem:
    what, fix = KINDS[key]
    items, notes = zip(*rows, strict=True)
    return Problem(*key, f"{what}: {len(rows)}", items, fix, notes)


def _faults(samples: Iterable[Sample]) -> Rows:
    """What is wrong with images one by one."""
    rows: Rows = defaultdict(list)
    for sample in samples:
        look = sample.look
        if look.fault:
            rows[look.fault, "error"].append((sample.name, look.note))
        elif look.note:
            rows["wrong-format", "warning"].append((sample.name, look.note))
        if look.constant:
            rows["constant", "warning"].append((sample.name, sample.label))
    return rows


def _same_pixels(samples: Iterable[Sample]) -> Rows:
    """Leaks, conflicts and duplicates; of two equal images in one split the later is listed."""
    groups: dict[bytes, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.look.digest].append(sample)
    rows: Rows = defaultdict(list)
    for group in groups.values():
        seen: dict[tuple[str, str], Sample] = {}
        labels = {sample.label: sample for sample in reversed(group)}
        for sample in group:
            other = next((labels[label] for label in labels if label != sample.label), None)
            if other is not None:
                note = f"{sample.label} here, {other.label} in {other.name}"
                rows["conflict", "warning"].append((sample.name, note))
            if sample.role != group[0].role:
                rows["leak", "warning"].append((sample.name, f"same as {group[0].name}"))
            earlier = seen.setdefault((sample.role, sample.label), sample)
            if earlier is not sample:
                rows["duplicate", "warning"].append((sample.name, f"same as {earlier.name}"))
    return rows


def _near_pixels(samples: Iterable[Sample]) -> Rows:
    """Copies that are not equal, with all that they are copies of; the later one is listed.

    Of images with equal pixels in one split the first stands for all.
    """
    distinct: dict[tuple[str, bytes], Sample] = {}
    for sample in samples:
        distinct.setdefault((sample.role, sample.look.digest), sample)
    firsts = list(distinct.values())
    notes: dict[tuple[int, str], list[str]] = defaultdict(list)
    for pair in copies(gallery(sample.look for sample in firsts)):
        earlier, later = firsts[pair.first], firsts[pair.second]
        kind = "near-duplicate" if earlier.role == later.role else "near-leak"
        label = "" if earlier.label == later.label else f", {earlier.label} there"
        change = ", ".join(pair.changes) or "re-encoded"
        notes[pair.second, kind].append(f"like {earlier.name} ({change}{label})")
    rows: Rows = defaultdict(list)
    for (index, kind), found in sorted(notes.items()):
        rows[kind, "warning"].append((firsts[index].name, "; ".join(found)))
    return rows


def _classes(samples: Iterable[Sample], dataset: Dataset) -> Rows:
    """What is wrong with classes, counted in readable images."""
    rows: Rows = defaultdict(list)
    counts: dict[str, Counter[str]] = {role: Counter() for role in dataset.splits}
    for sample in samples:
        counts[sample.role][sample.label] += 1
    train = counts["train"]
    largest = max(train.values(), default=0)
    twins = Counter(name.casefold() for name in dataset.classes)
    for name in dataset.classes:
        held = [role for role in counts if role != "train" and counts[role][name]]
        note = f"{train[name]} training image(s)"
        if held and not train[name]:
            rows["class-mismatch", "error"].append((name, f"images only in {', '.join(held)}"))
        elif train[name] < FEW:
            severity: Severity = "error" if train[name] < 2 else "warning"
            rows["tiny-class", severity].append((name, note))
        if 0 < train[name] * IMBALANCE < largest:
            rows["imbalance", "warning"].append((name, f"{note}; the largest class has {largest}"))
        absent = [role for role in counts if role != "train" and role not in held]
        if absent and train[name]:
            rows["class-mismatch", "warning"].append((name, f"no image in {', '.join(absent)}"))
        if twins[name.casefold()] > 1:
            rows["class-mismatch", "warning"].append((name, "another differs only in case"))
    return rows


def _sizes(shapes: Counter[tuple[int, int]]) -> Sizes:
    ordered = sorted(shapes.elements(), key=lambda shape: (shape[0] * shape[1], shape))
    return Sizes(ordered[0], ordered[len(ordered) // 2], ordered[-1], len(shapes))
