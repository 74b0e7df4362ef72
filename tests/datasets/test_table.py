"""CSV tables: every honest spelling, and all problems of a dishonest one at once."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from residua import datasets
from residua.datasets.dataset import Dataset
from residua.errors import BadData

FILES = [f"images/{pet}{index}.png" for pet in ("cat", "dog") for index in range(4)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def label(name: str) -> str:
    return name.removeprefix("images/")[:3]


def table(home: Path, text: str | bytes) -> Path:
    path = home / "labels.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def names(data: Dataset) -> list[str]:
    return sorted(s.name(i) for s in data.splits.values() for i in range(len(s)))


ROWS = "".join(f"{name},{label(name)}\n" for name in FILES)


@pytest.mark.parametrize(
    "text",
    [
        ROWS,
        "path,label\n" + ROWS,
        " File , Class \n" + ROWS,
        "\ufeffpath,label\n" + ROWS,
        ROWS.replace("\n", "\r\n"),
        ROWS.replace(",", ";"),
        ROWS.replace(",", "\t"),
        ROWS.replace(",", ", ").replace("\n", " \n"),
        "\n" + ROWS.replace("\n", "\n\n").rstrip("\n"),
        "".join(f'"{name}","{label(name)}"\n' for name in FILES),
        "".join(f'"{name}";"{label(name)}"\n' for name in FILES),
        "label,path\n" + "".join(f"{label(name)},{name}\n" for name in FILES),
        "id,path,label,x\n" + "".join(f"7,{name},{label(name)},\n" for name in FILES),
        "".join(f"./{name},{label(name)}\n" for name in FILES),
    ],
)
def test_every_honest_spelling_is_the_same(home: Path, text: str) -> None:
    data = datasets.load(table(home, text))
    assert (data.name, data.classes) == ("labels", ("cat", "dog"))
    assert names(data) == sorted(FILES)
    assert data.describe()["images"] == {"train": 6, "test": 2}
    assert data.fingerprint == datasets.load(table(home, ROWS)).fingerprint


def test_splits_are_those_of_the_table(home: Path) -> None:
    roles = ["Train", "training", "val", "TEST"] * 2
    rows = "".join(f"{n},{label(n)},{r}\n" for n, r in zip(FILES, roles, strict=True))
    data = datasets.load(table(home, rows))
    assert data.describe()["images"] == {"train": 4, "validation": 2, "test": 2}
    assert names(Dataset("", "", (), {"test": data.splits["test"]}, "")) == [FILES[3], FILES[7]]
    assert data.notes == ()


def test_paths_start_at_the_table_and_nowhere_else(
    home: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    assert len(datasets.load(table(home, ROWS)).splits["train"]) == 6
    (elsewhere / "images").mkdir()
    (elsewhere / "images" / "emu.png").write_bytes(b"")
    with pytest.raises(BadData, match="do not exist"):
        datasets.load(table(home, ROWS + "images/emu.png,emu\n"))


def test_a_path_elsewhere_must_be_absolute(
    home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    away = tmp_path_factory.mktemp("away")
    (away / "cat.png").write_bytes(b"")
    (home / "link").symlink_to(away)
    (home / "cat.png").symlink_to(away / "cat.png")
    data = datasets.load(table(home, ROWS + f"{away}/cat.png,cat\n"))
    assert f"{away}/cat.png" in names(data)
    relative = os.path.relpath(away / "cat.png", home)
    for path in (relative, "link/cat.png", "cat.png", f"images/../{relative}"):
        with pytest.raises(BadData, match=r"1 path\(s\) out of the folder(.|\n)*absolute"):
            datasets.load(table(home, ROWS + f"{path},cat\n"))
    (home / "inside").symlink_to("images")
    datasets.load(table(home, ROWS.replace("images/", "inside/")))


def test_all_problems_come_at_once(home: Path) -> None:
    os.mkfifo(home / "pipe.png")
    lines = [
        "path,label,split",
        *(f"{name},{label(name)},train" for name in FILES),
        "gone.png,cat,train",
        "images/away.png,cat,train",
        "images/cat0.png,cat,train",
        "images,cat,train",
        "pipe.png,cat,train",
        ",cat,train",
        "images/x.png,,train",
        "images/x.png,cat",
        "../x.png,cat,train",
    ]
    with pytest.raises(BadData) as caught:
        datasets.load(table(home, "\n".join(lines)))
    text = str(caught.value)
    for part in (
        "3 file(s) that do not exist: line 10: gone.png, cat, train, line 11:",
        "1 file(s) listed more than once: line 12",
        "2 path(s) that are not regular files: line 13: images, cat, train, line 14",
        "2 row(s) with an empty path, label or split",
        "1 row(s) of another width than the first: line 17",
    ):
        assert part in text
    assert caught.value.where == str(home / "labels.csv")


def test_names_of_splits_and_classes_get_the_nearest(home: Path) -> None:
    rows = "".join(f"{name},{label(name)},train\n" for name in FILES[:-2])
    with pytest.raises(BadData, match='no split is called "trian"(.|\n)*did you mean "train"'):
        datasets.load(table(home, rows + f"{FILES[-1]},dog,trian\n"))
    with pytest.raises(BadData, match='test has a class "dgo"(.|\n)*did you mean "dog"'):
        datasets.load(table(home, rows + f"{FILES[-1]},dgo,test\n"))
    with pytest.raises(BadData, match="no images for training"):
        datasets.load(table(home, rows.replace("train", "test")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the table is empty"),
        ("\n\n", "the table is empty"),
        ("path,label\n", "the table has no rows"),
        ("images/cat0.png\n", "two or three columns"),
        ("a,b,c,d\n", "two or three columns"),
        ("path,species\n", "no column for the label"),
        ("path,file,label\n", "2 columns for the path"),
        (
            "image_name,species\n" + ROWS,
            "do not exist: line 1: image_name(.|\n)*first row of column",
        ),
        (ROWS.encode("utf-16"), "UTF-16"),
        (b"caf\xe9.png,cat\n", "not UTF-8\nwhere: .*labels.csv, line 1"),
        (b"a.png,cat\nb\0.png,dog\n", "not a table|zero bytes"),
        (ROWS + '"images/cat0.png,cat\n', "not a CSV"),
        ('path,label\n"a"b.png,cat\n', "not a CSV"),
        ("path,label\n" + "x" * 200_000 + ",cat\n", "not a CSV: field larger"),
        ("images/cat0.png,cat\nimages/cat1.png,cat\n", "one class only"),
    ],
)
def test_what_is_no_table(home: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(BadData, match=message):
        datasets.load(table(home, text))


def test_a_table_that_is_too_large(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("residua.datasets.table.SIZE_LIMIT", 20)
    with pytest.raises(BadData, match="more than 20 bytes"):
        datasets.load(table(home, ROWS))


def test_paths_with_commas_quotes_and_lines(home: Path) -> None:
    odd = ["a,b.png", 'say "x".png', "new\nline.png", "=cmd().png", "-rf.png"]
    for name in odd:
        (home / name).write_bytes(name.encode())
    rows = "".join('"{}",odd\n'.format(name.replace('"', '""')) for name in odd)
    data = datasets.load(table(home, ROWS + rows))
    assert set(odd) < set(names(data))
    with pytest.raises(BadData, match=r"of another width than the first: line 9: a, b\.png"):
        datasets.load(table(home, ROWS + "a,b.png,odd\n"))


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet='ab,;\t"\n\r.\x00é\\/=', max_size=60))
def test_any_text_gives_data_or_bad_data(tmp_path_factory, text) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(BadData):
        datasets.load(path)
