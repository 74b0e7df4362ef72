"""Image folders: one folder per class, below one folder per split or below none.

    pets/train/cat/1.jpg            the usual names of splits are known (training, val, dev ...)
    pets/cat/1.jpg                  no splits: a fifth of every class is held out as the test

Loading lists names and decodes nothing. Class numbers come from the names in train, so a class
that only another split has is an error. Whatever is not plainly an image is skipped and counted
in the notes; a link counts as what it points to, as long as that lies inside of the folder.
"""

import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch

from residua.datasets.dataset import (
    ROLES,
    Dataset,
    Fault,
    Split,
    fingerprint,
    hold_out,
    refuse,
    slug,
)
from residua.errors import suggestion
from residua.words import harmless, listed

TEST_FRACTION = 0.2
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp")
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "eval": "test",
    "evaluation": "test",
}


class Sample(NamedTuple):
    """A labelled file: role is "" when its split is not given."""

    role: str
    label: str
    name: str
    path: Path


@dataclass
class _Scan:
    """What is found on the way through a folder, besides images."""

    root: str  # without links, for the question whether a link leads out
    skipped: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def load(root: Path, seed: int = 0) -> Dataset:
    """List an image folder; BadData names everything that is wrong with it at once."""
    scan = _Scan(os.path.realpath(root))
    folders, loose = _entries(str(root), scan)
    roles = _roles(folders, root, scan)
    samples: list[Sample] = []
    for folder in folders:
        if not roles:
            samples += _class(folder, "", root, scan)
        elif folder in roles:
            classes, outside = _entries(folder, scan)
            loose += outside
            found = [s for name in classes for s in _class(name, roles[folder], root, scan)]
            if not found:
                scan.faults.append(Fault(f"no images in {harmless(folder)}", "fill or remove it"))
            samples += found
    if loose:
        scan.notes.append(f"skipped {len(loose):,} image(s) that are in no class folder")
    scan.notes += [f"skipped {count:,} {what}" for what, count in sorted(scan.skipped.items())]
    _check_shape(samples, root, scan)
    return assemble(root, samples, seed, scan.notes, scan.faults)


def assemble(
    source: Path,
    samples: Sequence[Sample],
    seed: int,
    notes: Sequence[str] = (),
    faults: Sequence[Fault] = (),
) -> Dataset:
    """The data set of labelled files: classes from train, a test split held out if none is given.

    Raises BadData with `faults` and with what is found wrong here.
    """
    notes, roles = list(notes), {sample.role or "train" for sample in samples}
    renamed = {role: role for role in ROLES} | {"": "train"}
    if roles == {"train", "validation"}:
        renamed["validation"] = "test"
        notes.append("the validation split is used as the test: there is no other")
    classes = tuple(sorted({s.label for s in samples if renamed[s.role] == "train"}))
    faults = [*faults, *_class_faults(samples, classes)]
    if samples and not classes and not faults:
        faults = [Fault("no images for training", "name one split train")]
    if faults:
        refuse(faults, str(source))
    number = {label: index for index, label in enumerate(classes)}
    splits = {}
    for role in ROLES:
        members = sorted(s[1:] for s in samples if renamed[s.role] == role)
        if members:
            labels, names, paths = zip(*members, strict=True)
            splits[role] = Split(paths, torch.tensor([number[label] for label in labels]), names)
    divided = "test" in splits
    if not divided:
        splits["train"], splits["test"] = hold_out(splits["train"], TEST_FRACTION, seed)
        percent = round(100 * TEST_FRACTION)
        notes.append(f"no test split found: {percent} % held out, stratified, seed {seed}")
    name = slug(source.resolve().stem if source.is_file() else source.resolve().name)
    digest = fingerprint(splits, classes)
    where = str(source.resolve())
    return Dataset(name, where, classes, splits, digest, tuple(notes), divided, seed)


def _class_faults(samples: Sequence[Sample], classes: Sequence[str]) -> Iterator[Fault]:
    """One class only, or classes that train does not have."""
    if len(classes) == 1:
        yield Fault(
            f'one class only, "{harmless(classes[0])}": there is nothing to tell apart',
            "add the other classes, or give the folder that holds one folder per class",
        )
    strangers = Counter((s.role, s.label) for s in samples if s.label not in set(classes))
    for (role, label), count in sorted(strangers.items() if classes else ()):
        near = suggestion(label, classes) or f"train has: {listed(classes)}"
        yield Fault(
            f'{role} has a class "{harmless(label)}" ({count:,} image(s)) that train does not have',
            harmless(near),
        )


def _check_shape(samples: Sequence[Sample], root: Path, scan: _Scan) -> None:
    """Add a fault for a tree that is no image folder, saying what it looks like instead."""
    if not samples and not scan.faults:
        tables = sorted(name for name in os.listdir(root) if name.lower().endswith(".csv"))
        fix = "put the images of each class into a folder of its own"
        if tables:
            fix += f", or give the table {harmless(str(root / tables[0]))}"
        seen = "; ".join(scan.notes) or "it is empty"
        scan.faults.append(Fault(f"no labelled images: {seen}", fix))
    inner = {s.name.split("/")[1] for s in samples if not s.role and s.name.count("/") > 1}
    splits = sorted(name for name in inner if name.casefold() in SPLIT_NAMES)
    if splits:
        what = f"splits inside of class folders or of one folder: {listed(splits)}"
        fix = "give the folder that holds the splits, and put the classes below them"
        scan.faults.append(Fault(what, fix))


def _roles(folders: Sequence[str], root: Path, scan: _Scan) -> dict[str, str]:
    """Folder -> split, for the folders that have the name of one; empty when there are none."""
    roles: dict[str, str] = {}
    for folder in folders:
        role = SPLIT_NAMES.get(os.path.basename(folder).casefold())
        if role in roles.values():
            twins = [harmless(path) for path in (*roles, folder) if roles.get(path, role) == role]
            scan.faults.append(Fault(f"two {role} splits: {' and '.join(twins)}", "keep one"))
        elif role:
            roles[folder] = role
    others = [os.path.basename(folder) for folder in folders if folder not in roles]
    if roles and "train" not in roles.values():
        what = f"{listed([os.path.basename(path) for path in roles])} but no train folder"
        scan.faults.append(Fault(what, "move the class folders for training into train"))
    elif roles and others:
        scan.notes.append(f"skipped folder(s) that are no split: {listed(others)}")
    return roles


def _class(folder: str, role: str, root: Path, scan: _Scan) -> Iterator[Sample]:
    """The images in a class folder, however deep, each folder entered once."""
    label, count = os.path.basename(folder), 0
    queue, entered = [folder], set()
    start = len(str(root).rstrip("/")) + 1
    for current in queue:  # grows on the way: the nearest folders first, before links to them
        try:
            status = os.stat(current)
        except OSError as error:
            scan.faults.append(_unreadable(current, error))
            continue
        if (status.st_dev, status.st_ino) in entered:
            scan.skipped["link(s) to a folder that was already listed"] += 1
            continue
        entered.add((status.st_dev, status.st_ino))
        below, files = _entries(current, scan)
        queue += below
        count += len(files)
        yield from (Sample(role, label, file[start:], Path(file)) for file in files)
    if count == 0:
        scan.notes.append(f"class folder without images left out: {harmless(folder)}")


def _entries(folder: str, scan: _Scan) -> tuple[list[str], list[str]]:
    """The folders and the image files directly in `folder`, sorted; the rest is counted."""
    folders: list[str] = []
    files: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                kind = _kind(entry, scan.root)
                if kind == "folder":
                    folders.append(entry.path)
                elif kind == "image":
                    files.append(entry.path)
                else:
                    scan.skipped[kind] += 1
    except OSError as error:
        scan.faults.append(_unreadable(folder, error))
    return sorted(folders), sorted(files)


def _kind(entry: os.DirEntry[str], root: str) -> str:
    """ "folder", "image", or the words for why the entry is skipped."""
    if not _is_text(entry.name):
        return "file(s) or folder(s) with a name that is not UTF-8"
    if entry.name.startswith("."):
        return "hidden file(s) or folder(s)"
    is_folder, is_file = entry.is_dir(follow_symlinks=False), entry.is_file(follow_symlinks=False)
    if entry.is_symlink():
        try:
            mode = os.stat(entry.path).st_mode
        except OSError:
            return "link(s) to nothing"
        target = os.path.realpath(entry.path)
        if os.path.commonpath((root, target)) != root:
            return "link(s) out of the folder (copy the files, or use a CSV with absolute paths)"
        is_folder, is_file = stat.S_ISDIR(mode), stat.S_ISREG(mode)
        here = os.path.realpath(os.path.dirname(entry.path))
        if is_folder and os.path.commonpath((here, target)) == target:
            return "link(s) to a folder that holds the link"
    if is_folder:
        return "folder"
    if not is_file:
        return "special file(s): pipes, sockets or devices"
    if not entry.name.lower().endswith(SUFFIXES):
        return "file(s) without the name of an image"
    return "image"


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unreadable(folder: str, error: OSError) -> Fault:
    return Fault(f"{harmless(folder)} cannot be read: {error.strerror}", "make it readable")
