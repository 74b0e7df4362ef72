"""The page and the card of a run: whole runs, broken ones, and hostile text in every place."""

import base64
import csv
import hashlib
import json
import re
import struct
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from residua import report
from residua.evaluate import sealed
from residua.report.card import headline, markdown
from residua.report.findings import read
from residua.report.markup import html
from residua.runs import RunDirectory
from residua.words import count, duration, interval, moment, percent, plain

DIGITS = tuple("0123456789")
TAGS = set(  # every tag that a page may have
    "a bdi body code dd details div dl dt figcaption figure footer h1 h2 h3 head header html img "
    "li line meta nav p picture pre rect section source span style summary svg table tbody td th "
    "thead title tr ul".split()
)
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\x1b[31mred\x1b[0m",
    "\u202egpj.exe",
    "| a | [x](javascript:alert(1)) `y`",
    "```\n# heading",
    "\ud800",
)


def evaluation(classes: tuple[str, ...], **changes: Any) -> dict[str, Any]:
    """8 of 36 per class wrong in the first class, none in the others."""
    size = len(classes)
    matrix = np.eye(size, dtype=int) * 36
    matrix[0, :2] = 28, 8
    rows = [
        {
            "class": name,
            "total": 36,
            "wrong": 8 * (index == 0),
            "error": 8 / 36 * (index == 0),
            "interval": [0.11, 0.38] if index == 0 else [0.0, 0.1],
            "precision": 1.0,
            "recall": 28 / 36 if index == 0 else 1.0,
        }
        for index, name in enumerate(classes)
    ]
    made = {
        "protocol": "single",
        "views": {"name": "single", "average": "softmax", "scales": [], "mirror": True},
        "split": "test",
        "wrong": 8,
        "total": 36 * size,
        "error": 8 / (36 * size),
        "interval": [0.0113, 0.0432],
        "top5_error": 0.0,
        "per_class": rows,
        "confusion": matrix.tolist(),
        "calibration_error": 0.031,
        "calibration_error_by_chance": [0.02, 0.04],
        "unreadable": 0,
        "skipped": [],
        "data": "9f86",
        "weights": "b194",
        "seconds": 1.0,
    }
    return made | changes


def write_evaluation(run: Path, name: str, numbers: dict[str, Any]) -> None:
    (run / "evaluations" / f"{name}.json").write_bytes(sealed(numbers))


def write_weights(path: Path, classes: tuple[str, ...]) -> None:
    preprocessing = {"size": 32, "fit": "crop", "resize": 40, "mean": [0.5] * 3, "std": [0.2] * 3}
    card = {"network": "resnet20-cifar", "classes": classes, "preprocessing": preprocessing}
    header = json.dumps({"__metadata__": {"residua": json.dumps(card)}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def write_predictions(path: Path, classes: tuple[str, ...]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "label", "prediction", "score", "loss", "top5"])
        for index in range(40):
            wrong = index < 2
            guess = classes[1] if wrong else classes[0]
            writer.writerow([f"test/{index}", classes[0], guess, 0.9 - 0.3 * index % 1, index, ""])


def make(path: Path, classes: tuple[str, ...] = DIGITS, **changes: Any) -> RunDirectory:
    """Write a finished run."""
    text = classes[0]
    for folder in ("evaluations", "figures"):
        (path / folder).mkdir(parents=True)
    info = {
        "status": "done",
        "command": ["residua", "train", f"my data/{text}", "--epochs", "2"],
        "versions": {"torch": "2.13.0", text: text},
        "device": "cpu",
        "data": {"name": text, "source": text, "classes": len(classes), "notes": [text]},
        "seed": 0,
        "started": 1.79e9,
        "seconds": 4000,
        "parameters": 272474,
        "test_reads": ["2026-11-21T01:02:09Z"],
        "notes": [text],
    }
    (path / "run.json").write_text(json.dumps(info | changes))
    recipe = {
        "recipe": "quick",
        "settings": {"network": "resnet20-cifar", "learning_rate": 0.2, "select": "best"},
        "sources": {"network": "flag", "learning_rate": f"recipe {text}", "select": "default"},
    }
    (path / "recipe.json").write_text(json.dumps(recipe))
    rows = [
        {"split": split, "epoch": epoch, "error": 0.5 / epoch, "loss": 1.0, "learning_rate": 0.1}
        for epoch in (1, 2)
        for split in ("train", "validation")
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_evaluation(path, "single", evaluation(classes))
    write_weights(path / "weights.safetensors", classes)
    write_predictions(path / "predictions.csv", classes)
    return RunDirectory(path)


class Reader(HTMLParser):
    """What a browser would make of a page: tags, attributes, text, and what is left open."""

    VOID = ("meta", "img", "source")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a finished run, made once."""
    return report.page(make(tmp_path_factory.mktemp("runs") / "run"))


def sections(page: str) -> dict[str, str]:
    parts = re.findall(r'<section id="([\w-]+)">(.*?)</section>', page, re.DOTALL)
    return {name: Reader(body).text for name, body in parts}


def test_the_headline_says_the_error_and_how_it_was_measured(tmp_path: Path) -> None:
    head = headline(read(make(tmp_path / "run")))
    assert str(head) == (
        "Test error 2.22 % (95 % interval 1.1 to 4.3; 8 of 360 wrong; single view; "
        "test split read once)"
    )


def test_a_second_look_at_the_test_split_is_told(tmp_path: Path) -> None:
    run = make(tmp_path / "run", test_reads=["a", "b"])
    assert "test split read 2 times" in str(headline(read(run)))
    assert "the test error is too low" in report.card(run)


def test_the_page_holds_every_part_of_a_run(finished: str) -> None:
    found = sections(finished)
    assert list(found) == [
        "curves",
        "confusion",
        "mistakes",
        "classes",
        "confidence",
        "limits",
        "recipe",
        "data",
        "environment",
        "reproduce",
    ]
    assert "22.2 %" in found["classes"]
    assert '"0" taken for "1", 8 times' in found["limits"]
    assert "learning-rate" in found["recipe"] and "recipe 0" in found["recipe"]
    assert "shorter side is brought to 40 pixels" in found["data"]
    assert "--config" in found["reproduce"]
    assert found["mistakes"].index("test/1") < found["mistakes"].index("test/0")  # by loss
    assert "test/2" not in found["mistakes"]


def test_the_page_is_whole_and_needs_nothing_else(finished: str) -> None:
    reader = Reader(finished)
    assert reader.open == []
    for name, value in reader.attributes:
        assert not name.startswith("on") and name != "style", (name, value)
        if name in ("src", "srcset"):
            assert value.startswith("data:image/")
        if name == "href":
            assert value.removeprefix("#") in sections(finished)
    assert set(reader.tags) <= TAGS
    assert "url(" not in finished and "@import" not in finished


def test_the_policy_allows_this_style_and_inline_pictures_alone(finished: str) -> None:
    style = finished.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', finished)
    assert policy is not None
    assert policy[1].split("; ") == [
        "default-src 'none'",
        "img-src data:",
        f"style-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def test_figures_come_in_both_themes(finished: str) -> None:
    dark, light = (
        [base64.b64decode(part) for part in re.findall(pattern, finished)]
        for pattern in (
            r'srcset="data:image/svg\+xml;base64,([^"]+)',
            r'img src="data[^,]+,([^"]+)',
        )
    )
    assert len(light) == len(dark) == 4  # curves, confusion, reliability, coverage
    assert all(b"#15181d" in figure for figure in dark)
    assert all(b"#15181d" not in figure for figure in light)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_stays_text(tmp_path: Path, name: str) -> None:
    classes = (name, *(f"{name}{index}" for index in range(6)))
    run = make(tmp_path / "run", classes, status=name, commit=name, device={name: [name]})
    (run.path / "metrics.jsonl").unlink()  # holds no names
    page = report.page(run)
    reader = Reader(page)
    assert reader.open == []
    assert set(reader.tags) <= TAGS
    assert all(not attribute.startswith("on") for attribute, _ in reader.attributes)
    for text in (page, report.card(run)):
        assert not {"\x1b", "\u202e"} & set(text)
        text.encode("utf-8")  # a lone surrogate would raise


def test_hostile_text_cannot_leave_its_place_in_the_card(tmp_path: Path) -> None:
    card = report.card(make(tmp_path / "run", HOSTILE))
    outside = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", card, flags=re.DOTALL | re.MULTILINE)
    assert not re.search(r"(?<!\\)<", outside)
    assert not re.search(r"(?<!\\)\]\(", outside)
    titles = re.findall(r"^#+ .*", outside, re.MULTILINE)
    assert len(titles) == 9 and "# heading" not in titles


def test_the_card_answers_what_a_stranger_asks(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    card = report.card(run)
    assert card.startswith("# run\n\n**Test error 2.22 % (95 % interval")
    for part in (
        "resnet20-cifar, 272,474 parameters",
        "Classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9.",
        "| test | single view | 2.22 % | 1.1 to 4.3 | 8 of 360 | 0.00 % |",
        "lowest validation error",
        '- "0" is most often wrong: 22.2 % of its pictures (8 of 36).',
        "right by 3.10 % (no more than chance: scores that mean what they say would show 2.00 %",
        "divided by the standard deviation (0.2, 0.2, 0.2)",
        "| learning-rate | 0.2 | recipe 0 |",
        "took: 1 h 7 min",
        "residua train 'my data/0' --epochs 2",
        "residua predict runs/run picture.jpg",
        "run = rs.Run.open('runs/run')",
    ):
        assert part in card, part


def test_an_empty_folder_gives_a_page_that_says_so(tmp_path: Path) -> None:
    page, card = report.page(RunDirectory(tmp_path)), report.card(RunDirectory(tmp_path))
    for text in (Reader(page).text, card):
        assert "No error measured yet" in text
        assert "run.json is not there" in text.replace("\\", "")
        assert "there is no evaluation yet" in text


def test_a_run_stopped_after_one_epoch(tmp_path: Path) -> None:
    run = make(tmp_path / "run", status="stopped", test_reads=[])
    (run.path / "evaluations" / "single.json").unlink()
    (run.path / "predictions.csv").unlink()
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    (run.path / "metrics.jsonl").write_text("\n".join([*lines[:2], lines[2][:20]]))
    text = Reader(report.page(run)).text
    assert "Validation error" in text and "50.00 %" in text
    assert "not evaluated on the test split" in text
    assert "Training was stopped before its end" in text
    assert "metrics.jsonl has 1 torn line, left out" in text
    assert sections(report.page(run))["confusion"].endswith("Not evaluated yet.")


BROKEN: dict[str, bytes] = {
    "run.json": b"{",
    "recipe.json": b"[1]",
    "metrics.jsonl": b'\xff\xfe{"a"\nnull\n[]\n' + b"[" * 5000,
    "evaluations/single.json": b'{"protocol": "single", "split": 3, "total": "x"}',
    "predictions.csv": b"name,label\n1,2,3,4\n\x00",
    "weights.safetensors": b"\xff" * 9,
    "figures/worst.png": b"",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_part_leaves_the_others(tmp_path: Path, name: str) -> None:
    run = make(tmp_path / "run")
    (run.path / name).write_bytes(BROKEN[name])
    assert Reader(report.page(run)).open == []
    assert "## Limits" in report.card(run)
    if not name.startswith(("figures", "predictions")):
        assert Path(name).name in "; ".join(read(run).missing) or name == "recipe.json"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = {
    "run.json": ("status", "command", "data", "parameters", "seconds", "test_reads", "started"),
    "recipe.json": ("settings", "sources"),
    "evaluations/single.json": (
        *evaluation(DIGITS),
        *("leaked", "temperature", "abstention", "label_check"),
    ),
}


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_value_in_the_files_breaks_the_page(tmp_path: Path, data: st.DataObject) -> None:
    run = RunDirectory(tmp_path / "run")
    if not run.path.exists():
        make(run.path)
        (run.path / "metrics.jsonl").unlink()  # drawn in test_plots.py
        (run.path / "predictions.csv").unlink()
    name = data.draw(st.sampled_from(sorted(KEYS)))
    before = (run.path / name).read_bytes()
    table = json.loads(before)
    table.pop("digest", None)
    table[data.draw(st.sampled_from(KEYS[name]))] = data.draw(JSON)
    seal = name.startswith("evaluations")  # so that the values are looked at
    (run.path / name).write_bytes(sealed(table) if seal else json.dumps(table).encode())
    try:
        assert Reader(report.page(run)).open == []
        assert "## Limits" in report.card(run)
    finally:
        (run.path / name).write_bytes(before)


def test_a_long_class_table_is_folded_with_the_worst_on_top(tmp_path: Path) -> None:
    run = make(tmp_path / "run", tuple(f"kind {index}" for index in range(100)))
    page = report.page(run)
    classes = re.search(r'<section id="classes">(.*?)</section>', page, re.DOTALL)
    assert classes is not None
    shown, folded = classes[1].split("<details>")
    assert shown.index("kind 0<") < shown.index("kind 1<")
    assert "88 more" in folded and "kind 99<" in folded


def test_several_evaluations_are_compared_single_view_of_the_test_split_first(
    tmp_path: Path,
) -> None:
    run = make(tmp_path / "run")
    for name, changes in {
        "a-validation": {"split": "validation", "error": 0.5},
        "ten-crop": {"protocol": "ten-crop", "views": TEN_CROP, "error": 0.01},
    }.items():
        write_evaluation(run.path, name, evaluation(DIGITS, **changes))
    assert [(r.split, r.protocol) for r in read(run).results] == [
        ("test", "single"),
        ("test", "ten-crop"),
        ("validation", "single"),
    ]
    text = sections(report.page(run))["classes"]
    assert "10 crops, logits averaged" in text and "50.00 %" in text


TEN_CROP = {"name": "ten-crop", "average": "logits", "scales": [], "mirror": True}
LEAKED = {
    "exact": 2,
    "near": 1,
    "images": ["a", "b", "c"],
    "without": {"wrong": 8, "total": 357, "error": 8 / 357, "interval": [0.0114, 0.0436]},
}


def test_what_lessens_a_number_stands_beside_it(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    changes = {"unreadable": 4, "skipped": ["x.jpg"], "leaked": LEAKED}
    write_evaluation(run.path, "single", evaluation(DIGITS, **changes))
    for text in (report.card(run).replace("\\", ""), Reader(report.page(run)).text):
        assert "4 images could not be read and count as wrong." in text
        assert "1 image could not be read and was left out on demand" in text
        assert "the error is that of the other 360" in text
        assert (
            "3 images of the test split are training images too (2 exactly, 1 nearly); without "
            "them the error is 2.24 % (95 % interval 1.1 to 4.4 %; 8 of 357 wrong)."
        ) in text


def test_what_was_fitted_on_validation_images_is_told(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    doubted = {"name": "pets/7", "label": "3", "suggested": "5", "margin": 0.75}
    changes = {
        "temperature": {"temperature": 1.5, "verdict": "temperature 1.50"},
        "abstention": {"threshold": 0.6, "verdict": "answers that score 0.6 or more"},
        "label_check": {"suspects": [doubted], "verdict": "1 of 360 labels is doubted"},
    }
    write_evaluation(run.path, "single", evaluation(DIGITS, **changes))
    page = report.page(run)
    found = sections(page)
    assert "Temperature 1.50." in found["confidence"]
    assert "Answers that score 0.6 or more." in found["confidence"]
    assert "no more than chance" in found["confidence"]
    assert "pets/7" in found["doubted-labels"] and "0.75" in found["doubted-labels"]
    card = report.card(run).replace("\\", "")
    assert "- test, single view: temperature 1.50." in card
    assert "1 of 360 labels is doubted." in card


def test_each_reading_of_the_test_split_is_told(tmp_path: Path) -> None:
    reads = [
        {"why": "the end of training", "protocol": "single", "early": False},
        {"why": "residua evaluate", "protocol": "ten-crop", "early": True},
    ]
    run = make(tmp_path / "run", test_reads=reads)
    card = report.card(run)
    assert (
        "read 2 times: the end of training (single), residua evaluate (ten-crop). If a choice"
    ) in card.replace("\\", "")
    assert "before training had ended" in card
    one = make(tmp_path / "one", test_reads=reads[:1])
    assert "before training had ended" not in report.card(one)


def test_an_evaluation_edited_by_hand_is_named(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    path = run.path / "evaluations" / "single.json"
    path.write_text(path.read_text().replace('"wrong": 8', '"wrong": 7', 1))
    named = "evaluations/single.json: the numbers were altered after they were written"
    assert named in report.card(run).replace("\\", "")
    assert named in Reader(report.page(run)).text
    assert "No error" in report.card(run) or "Validation error" in report.card(run)


def test_pictures_of_the_run_are_shown(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    for name in ("worst", "gradient flow", "gradient flow-dark"):
        header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x04\x48"
        (run.path / "figures" / f"{name}.png").write_bytes(header + name.encode())
    page = report.page(run)
    assert page.count('width="548"') == 2
    assert "gradient flow" in sections(page)["more-figures"]
    assert base64.b64encode(header + b"gradient flow-dark").decode() in page


@given(st.text(max_size=60))
def test_html_of_any_text_is_its_printable_text(text: str) -> None:
    reader = Reader(html(text))
    assert reader.tags == ["bdi"] and reader.open == []
    assert html(html(text)) == html(text)


@given(st.text(alphabet="ab\\`*_{}[]<>#|~&!$-", max_size=30))
def test_markdown_escapes_can_be_undone(text: str) -> None:
    escaped = markdown(text)
    assert re.sub(r"\\(.)", r"\1", escaped) == " ".join(text.split())
    assert not re.search(r"(?<!\\)(\\\\)*[<`\[|]", escaped)


def test_numbers_as_a_person_says_them() -> None:
    assert percent(8 / 360) == "2.22 %"
    assert percent(float("nan")) == "not measured"
    assert interval(0.0113, 0.0432, 360) == "1.1 to 4.3"
    assert interval(0.0113, 0.0432, 10_000) == "1.13 to 4.32"
    assert interval(float("nan"), 0.1, 10) == ""
    assert [count(n) for n in (272474, 21797672, 3.6e9)] == [
        "272,474",
        "21.8 million",
        "3.6 billion",
    ]
    assert [duration(s) for s in (0.5, 90, 150, 4000)] == ["0.5 s", "90 s", "2 min", "1 h 7 min"]
    assert moment(1.79e9) == "2026-09-21 14:13 UTC"
    assert moment("2026-09-21T16:13:20+02:00") == "2026-09-21 14:13 UTC"
    assert moment("yesterday") == "yesterday"
    assert plain({"a": [1, 0.1, True, None]}) == "a 1, 0.1, yes, none"


def test_report_loads_no_torch(tmp_path: Path) -> None:
    make(tmp_path / "run")
    code = (
        "import sys; from pathlib import Path; from residua import report, runs; "
        "run = runs.RunDirectory(Path(sys.argv[1])); report.page(run); report.card(run); "
        "sys.exit(bool({'torch', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
