"""Image folders: splits, classes, and trees that are hostile or wrong."""

import os
import socket
from pathlib import Path

import pytest

from residua import datasets
from residua.datasets.dataset import Dataset
from residua.errors import BadData, Refused


def grow(root: Path, *names: str) -> Path:
    """Create files; listing decodes nothing, so any bytes will do."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def pets(root: Path, prefix: str = "", count: int = 5) -> Path:
    return grow(root, *(f"{prefix}{pet}/{i}.jpg" for pet in ("cat", "dog") for i in range(count)))


def names(data: Dataset, role: str) -> list[str]:
    split = data.splits[role]
    return [split.name(index) for index in range(len(split))]


def notes(data: Dataset) -> str:
    return "\n".join(data.notes)


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("Training", "Validation", "TESTING"),
        ("trn", "dev", "tst"),
        ("TRAIN", "valid", "eval"),
    ],
)
def test_usual_names_of_splits(tmp_path: Path, train: str, validation: str, test: str) -> None:
    for name, count in ((train, 4), (validation, 2), (test, 3)):
        pets(tmp_path / "My Pets", f"{name}/", count)
    data = datasets.load(tmp_path / "My Pets")
    assert data.describe()["images"] == {"train": 8, "validation": 4, "test": 6}
    assert (data.name, data.classes, data.notes) == ("my-pets", ("cat", "dog"), ())
    assert names(data, "test")[3:] == [f"{test}/dog/{i}.jpg" for i in range(3)]
    assert data.splits["test"].labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_lone_validation_split_is_the_test(tmp_path: Path) -> None:
    pets(pets(tmp_path, "train/"), "val/", 1)
    data = datasets.load(tmp_path)
    assert list(data.splits) == ["train", "test"]
    assert "validation split is used as the test" in notes(data)


@pytest.mark.parametrize("prefix", ["", "train/"])
def test_without_a_test_split_one_is_held_out(tmp_path: Path, prefix: str) -> None:
    pets(tmp_path, prefix, count=10)
    data = datasets.load(tmp_path, seed=3)
    assert data.describe()["images"] == {"train": 16, "test": 4}
    assert data.splits["test"].labels.tolist() == [0, 0, 1, 1]
    assert "20 % held out, stratified, seed 3" in notes(data)
    assert names(datasets.load(tmp_path, seed=3), "test") == names(data, "test")
    assert names(datasets.load(tmp_path, seed=4), "test") != names(data, "test")


def test_fingerprint_follows_the_files(tmp_path: Path) -> None:
    before = datasets.load(pets(tmp_path / "a")).fingerprint
    assert datasets.load(pets(tmp_path / "b")).fingerprint == before
    (tmp_path / "b" / "cat" / "3.jpg").write_bytes(b"cat/9.jpg")
    assert datasets.load(tmp_path / "b").fingerprint != before


def test_deep_folders_belong_to_their_class(tmp_path: Path) -> None:
    grow(pets(tmp_path), "cat/2019/may/x.PNG", "dog/" + "d/" * 60 + "y.webp")
    data = datasets.load(tmp_path)
    everything = names(data, "train") + names(data, "test")
    assert "cat/2019/may/x.PNG" in everything and len(everything) == 12


def test_unknown_classes_are_named_with_the_nearest(tmp_path: Path) -> None:
    pets(tmp_path, "train/")
    grow(tmp_path, "test/Cat/1.jpg", "test/dogs/1.jpg", "val/horse/1.jpg", "val/horse/2.jpg")
    with pytest.raises(BadData) as caught:
        datasets.load(tmp_path)
    assert "3 problems" in caught.value.what
    assert 'validation has a class "horse" (2 image(s)) that train does not have' in str(
        caught.value
    )
    assert 'did you mean "cat"?; did you mean "dog"?' in caught.value.fix
    assert caught.value.where == str(tmp_path)


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    grow(tmp_path, "train/cat/1.jpg", "val/cat/1.jpg", "valid/cat/1.jpg", "test/dog/1.jpg")
    (tmp_path / "tst").mkdir()
    with pytest.raises(BadData) as caught:
        datasets.load(tmp_path)
    for part in ("two validation splits", "two test splits", "one class only", '"dog"'):
        assert part in caught.value.what


def test_an_empty_test_folder_is_not_passed_over(tmp_path: Path) -> None:
    (pets(tmp_path, "train/") / "test").mkdir()
    with pytest.raises(BadData, match="no images in .*/test"):
        datasets.load(tmp_path)


def test_splits_without_train(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="but no train folder"):
        datasets.load(pets(pets(tmp_path, "val/"), "test/"))
    with pytest.raises(BadData, match="test but no train folder"):
        datasets.load(pets(pets(tmp_path / "mixed"), "test/"))


def test_splits_inside_of_classes_are_seen(tmp_path: Path) -> None:
    grow(tmp_path, "cat/train/1.jpg", "cat/test/1.jpg", "dog/train/1.jpg", "dog/test/1.jpg")
    with pytest.raises(BadData, match="splits inside of class folders"):
        datasets.load(tmp_path)


def test_one_class_or_a_folder_around(tmp_path: Path) -> None:
    with pytest.raises(BadData, match='one class only, "inner"(.|\n)*folder that holds'):
        datasets.load(pets(tmp_path / "outer", "inner/").parent / "outer")


def test_a_class_of_one_image(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="1 class.* have one image"):
        datasets.load(grow(pets(tmp_path), "emu/1.jpg"))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "it is empty"),
        (("1.jpg", "2.jpg"), r"skipped 2 image\(s\) that are in no class folder"),
        (("cat/notes.txt",), "without the name of an image"),
        (("1.jpg", "labels.csv"), "or give the table .*labels.csv"),
    ],
)
def test_folders_without_labelled_images(
    tmp_path: Path, files: tuple[str, ...], message: str
) -> None:
    with pytest.raises(BadData, match=f"(?s)no labelled images.*{message}"):
        datasets.load(grow(tmp_path, *files))


def test_what_is_no_image_is_skipped_and_counted(tmp_path: Path) -> None:
    pets(tmp_path, "train/")
    pets(tmp_path, "test/")
    grow(
        tmp_path, "train/cat/.hidden.jpg", "train/.git/x.jpg", "train/cat/Thumbs.db", "extra/1.jpg"
    )
    grow(tmp_path, "train/loose.jpg", "top.jpg")
    (tmp_path / "train" / "nothing").mkdir()
    os.mkfifo(tmp_path / "train" / "cat" / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(tmp_path / "train" / "cat")  # a path in full may be too long for a socket
        server.bind("s.jpg")
        os.chdir(here)
    data = datasets.load(tmp_path)
    assert data.describe()["images"] == {"train": 10, "test": 10}
    for part in (
        "skipped 2 hidden",
        "skipped 2 special file(s)",
        "skipped 1 file(s) without the name of an image",
        "skipped 2 image(s) that are in no class folder",
        "skipped folder(s) that are no split: extra",
        "class folder without images left out",
    ):
        assert part in notes(data)


def test_links_stay_inside(tmp_path: Path) -> None:
    outside = pets(tmp_path / "outside")
    root = pets(tmp_path / "root")
    cat = root / "cat"
    (cat / "inside.jpg").symlink_to("0.jpg")
    (cat / "outside.jpg").symlink_to(outside / "dog" / "1.jpg")
    (cat / "everything").symlink_to("/")
    (cat / "nothing.jpg").symlink_to("gone.jpg")
    (cat / "loop.jpg").symlink_to("loop.jpg")
    (cat / "up").symlink_to("..")
    (cat / "a").symlink_to("b")
    (cat / "b").symlink_to("a")
    (root / "all").symlink_to(".")
    for here, there in (("x", "y"), ("y", "x")):  # a loop of two folders
        grow(cat, f"{here}/{here}.jpg")
        (cat / here / "next").symlink_to(f"../{there}")
    (root / "device").symlink_to("/dev")
    (root / "twin").symlink_to(root.parent / "root-twin")
    pets(tmp_path / "root-twin")  # its name begins with that of the root
    data = datasets.load(root)
    everything = names(data, "train") + names(data, "test")
    assert {"cat/inside.jpg", "cat/x/x.jpg", "cat/y/y.jpg"} < set(everything)
    assert not any("outside" in name or "everything" in name for name in everything)
    assert data.classes == ("cat", "dog")
    assert "skipped 4 link(s) out of the folder" in notes(data)
    assert "skipped 4 link(s) to nothing" in notes(data)
    assert "skipped 2 link(s) to a folder that holds the link" in notes(data)
    assert "already listed" in notes(data)
    assert len(everything) == 13 and len(set(everything)) == 13


def test_a_folder_of_links_out_says_so(tmp_path: Path) -> None:
    pets(tmp_path / "real")
    (tmp_path / "root").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "root" / name).symlink_to(tmp_path / "real" / name)
    with pytest.raises(BadData, match=r"2 link\(s\) out of the folder .*absolute paths"):
        datasets.load(tmp_path / "root")


def test_a_linked_root_is_fine(tmp_path: Path) -> None:
    pets(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert len(datasets.load(tmp_path / "link").splits["train"]) == 8


HOSTILE = [
    "spa ce",
    " lead",
    'quo"te',
    "apo'strophe",
    "new\nline",
    "tab\t",
    "-rf",
    "--help",
    "%00",
    "%2e%2e",
    "\u202egnp",
    "\u200bzero",
    "e\u0301",
    "\u00e9",
    "<script>alert(1)</script>".replace("/", "_"),
    "\x1b[31mred",
    "=cmd()",
    "@sum",
    "back\\slash",
    "a;b,c",
    "$(touch x)",
    "`id`",
    "CON",
    "nul\x01",
    "日本語",
    "🐈",
    "*",
    "?",
    "~",
    "#",
    "x" * 240,
]


def test_hostile_names_are_only_names(tmp_path: Path) -> None:
    for name in HOSTILE:
        grow(tmp_path, f"{name}/1.jpg", f"{name}/{name}.jpg")
    data = datasets.load(tmp_path)
    assert data.classes == tuple(sorted(HOSTILE))
    assert all(path.is_file() for split in data.splits.values() for path in split.images)
    assert "\x1b" not in notes(data) and "\n" not in "".join(data.notes)


def test_names_that_are_not_utf_8_are_skipped(tmp_path: Path) -> None:
    pets(tmp_path)
    for name in (b"cat/caf\xe9.jpg", b"\xff\xfe/1.jpg"):
        path = os.path.join(os.fsencode(tmp_path), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb"):
            pass
    data = datasets.load(tmp_path)
    assert data.classes == ("cat", "dog")
    assert "skipped 2 file(s) or folder(s) with a name that is not UTF-8" in notes(data)


def test_escapes_in_errors_are_shown(tmp_path: Path) -> None:
    pets(tmp_path, "train/")
    grow(tmp_path, "test/\x1b[31mcat/1.jpg")
    with pytest.raises(BadData) as caught:
        datasets.load(tmp_path)
    assert "\x1b" not in str(caught.value) and r"\x1b[31mcat" in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder_is_a_problem(tmp_path: Path) -> None:
    pets(tmp_path)
    (tmp_path / "cat").chmod(0)
    try:
        with pytest.raises(BadData, match="cat cannot be read"):
            datasets.load(tmp_path)
    finally:
        (tmp_path / "cat").chmod(0o755)


def test_many_classes(tmp_path: Path) -> None:
    grow(tmp_path, *(f"{label:04}/{i}.png" for label in range(1500) for i in range(2)))
    data = datasets.load(tmp_path)
    assert len(data.classes) == 1500
    assert data.splits["test"].labels.tolist() == list(range(1500))


# What `load` does with a name or a path; the other kinds are in the tests of their readers.


def test_unknown_names_get_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pets(tmp_path / "pets").parent)
    for wrong, right in (("digts", "digits"), ("cifar-10", "cifar10"), ("pet", "pets")):
        with pytest.raises(Refused, match=f'did you mean "{right}"'):
            datasets.load(wrong)
    with pytest.raises(Refused, match="one of: digits, cifar10"):
        datasets.load("/no/such/thing")
    with pytest.raises(Refused, match="residua download cifar10"):
        datasets.load("cifar10")
    assert datasets.load("pets").name == "pets"


def test_special_and_foreign_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name, data in (("a.zip", b"PK\3\4"), ("a.parquet", b"PAR1"), ("a.jpg", b"\xff\xd8\0\0")):
        (tmp_path / name).write_bytes(data)
    for name in ("pipe", "loop", "a.zip", "a.parquet", "a.jpg", "nul\0", "x" * 300):
        with pytest.raises((BadData, Refused)):
            datasets.load(tmp_path / name)


def test_one_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="one image is no data set"):
        datasets.load(pets(tmp_path) / "cat" / "1.jpg")


def test_a_data_set_is_itself() -> None:
    data = datasets.load("digits")
    assert datasets.load(data) is data
