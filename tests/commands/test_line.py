"""Reading a command line: spellings, errors in three lines, exit codes, and no torch for help."""

import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from residua.commands import VERBS, line
from residua.commands.terminal import Terminal
from residua.errors import ResiduaError

Call = Callable[..., Any]

WITHOUT_TORCH = [
    [],
    ["--help"],
    ["--version"],
    ["trian"],
    *([verb, "--help"] for verb in VERBS),
    ["train"],
    ["train", "digits", "--epoch", "3"],
    ["train", "digits", "epochs=many"],
    ["train", "digits", "--recipe", "papr-cifar"],
    ["train", "digits", "--fit", "corp"],
    ["predict", "run", "x.png", "--out", "x.parquet"],
    ["evaluate", "run", "--min-top1", "90"],
    ["train", "digits", "--network", "resnet20-cifr"],
    ["evaluate"],
    ["evaluate", "nothing"],
    ["predict", "nothing", "x.png"],
    ["resume", "nothing"],
    ["verify", "nothing"],
    ["report", "nothing"],
    ["digest", "nothing"],
    ["list", "recipes"],
    ["list", "networks"],
    ["list", "network"],
]


def test_help_and_usage_errors_load_no_torch() -> None:
    check = f"""
import sys
from residua.commands.line import run
for words in {WITHOUT_TORCH!r}:
    code = run(words)
    if "torch" in sys.modules or code not in (0, 2):
        sys.exit(f"{{words}}: exit code {{code}}, torch {{'torch' in sys.modules}}")
"""
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]


def test_every_verb_has_help_and_is_in_the_overview(residua: Call) -> None:
    overview = residua().out
    for name, verb in VERBS.items():
        answer = residua(name, "--help")
        assert answer.code == 0
        assert answer.out.startswith(f"usage: residua {name} {verb.takes}".rstrip())
        assert verb.about in overview
        assert "--json" in answer.out


def test_help_shows_fifteen_everyday_flags_first(residua: Call) -> None:
    text = residua("train", "--help").out
    everyday = text.partition("Everyday")[2].partition("\n\n")[0]
    assert sum(line.startswith("  -") for line in everyday.splitlines()) == 15
    assert text.index("Everyday") < text.index("Hardware") < text.index("Optimization")
    assert "--[no-]flip" in text
    assert "crop|pad|squash" in text


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (["trian"], ['error: no verb named "trian"', 'did you mean "train"?']),
        (["train"], ["error: DATA is missing", "where: residua train DATA"]),
        (["train", "digits", "--epoch", "3"], ['no flag "--epoch"', '"--epochs"?']),
        (["train", "digits", "--epoch=3"], ['no flag "--epoch"', '"--epochs"?']),
        (["train", "digits", "epoch=3"], ['no flag "--epoch"', '"--epochs"?']),
        (["train", "digits", "--lerning_rate", "3"], ['"--learning-rate"?']),
        (["train", "digits", "more"], ['"more" is one argument too many']),
        (["train", "digits", "--epochs"], ["--epochs needs a value"]),
        (["train", "digits", "--epochs", "1", "epochs=2"], ["--epochs is given twice"]),
        (["train", "digits", "--epochs", "x"], ["epochs must be a number", "received 'x'"]),
        (["train", "digits", "--fit", "corp"], ["fit must be one of", 'did you mean "crop"?']),
        (["train", "digits", "--epochs", "1", "--steps", "2"], ["exclude each other"]),
        (["train", "digits", "--recipe", "quik"], ['no recipe named "quik"', '"quick"?']),
        (["train", "digits", "--network", "resnet20-cifr"], ['"resnet20-cifar"?']),
        (["train", "digits", "--network", "resnet21-cifar"], ["6n+2"]),
        (["train", "digts"], ['no data set or path "digts"', 'did you mean "digits"?']),
        (["list", "network"], ['did you mean "networks"?']),
        (["show", "resnet50x"], ['did you mean "resnet50"?']),
        (["download", "cifar11"], ['did you mean "cifar10"?']),
        (["show", "resnet18", "--size", "big"], ["--size must be a whole number"]),
        (["--jsn"], ['no flag "--jsn"', 'did you mean "--json"?']),
        (["resume", "runs/none"], ['no run "runs/none"']),
        (["evaluate"], ["no run and no weights file"]),
        (["evaluate", "a.safetensors", "b.safetensors"], ['no run or weights "a.safetensors"']),
        (["evaluate", "nothing"], ['no run or weights "nothing"']),
        (["predict", "run"], ["IMAGES are missing"]),
        (["digest", "nothing"], ['no file or folder "nothing"']),
    ],
)
def test_a_usage_error_has_three_lines_and_exit_code_2(
    residua: Call, words: list[str], lines: list[str]
) -> None:
    answer = residua(*words)
    assert answer.code == 2
    assert answer.out == ""
    for expected in lines:
        assert expected in answer.err
    labels = [text.partition(":")[0] for text in answer.err.splitlines()]
    assert labels == [label for label in ("error", "where", "fix") if label in labels]
    assert "Traceback" not in answer.err


def test_all_spellings_of_a_setting_mean_the_same(residua: Call) -> None:
    for words in (
        ["--learning-rate", "0.3", "--batch", "32", "--no-flip"],
        ["--learning_rate=0.3", "--batch_size=32", "flip=false"],
        ["learning_rate=0.3", "batch=32", "--flip=no"],
        ["lr=0.3", "-b", "32", "flip=0"],
        ["--lr", "0.3", "batch-size=32", "--no_flip"],
    ):
        answer = residua("train", "digits", "--dry-run", "network=resnet8-cifar", *words, "--json")
        assert answer.code == 0, answer.err
        settings = answer.json["settings"]
        assert (settings["learning_rate"], settings["batch"], settings["flip"]) == (0.3, 32, False)
        assert answer.json["sources"]["batch"] == "flag"


def test_words_after_two_dashes_are_taken_as_they_are() -> None:
    assert line.spelled(["a_b", "--x_y=1", "--", "--x_y"], ["--x-y"]) == [
        "a_b",
        "--x-y=1",
        "--",
        "--x_y",
    ]
    assert line.common(["--json", "--", "--json"]) == (["--", "--json"], {"--json"})


def test_a_path_with_an_equals_sign_stays_a_path() -> None:
    assert line.spelled(["size=3.png", "./size=3.png", "other=1"], ["--size"]) == [
        "--size=3.png",
        "./size=3.png",
        "other=1",
    ]


def test_an_error_is_one_json_object_too(residua: Call) -> None:
    answer = residua("train", "digts", "--json")
    assert answer.json["exit_code"] == answer.code == 2
    assert answer.json["failed"]["what"] == 'no data set or path "digts"'
    assert answer.err.startswith("error: ")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyError("x"), 1, "unexpected KeyError: 'x'"),
        (OSError(28, "No space left on device", "/a/file"), 4, "No space left on device"),
        (MemoryError(), 4, "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 4, "not enough memory"),
    ],
)
def test_unexpected_errors(
    residua: Call,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: int,
    words: str,
) -> None:
    def fails(name: str) -> Any:
        raise error

    monkeypatch.setattr(line, "import_module", fails)
    answer = residua("list", "recipes")
    assert answer.code == code
    assert words in answer.err
    assert "Traceback" not in answer.err
    assert ("--debug" in answer.err) == (code == 1)
    assert "Traceback" in residua("list", "recipes", "--debug").err


def test_each_kind_of_error_keeps_its_exit_code(residua: Call, monkeypatch: Any) -> None:
    for kind in ResiduaError.__subclasses__():

        def fails(what: str, terminal: Terminal, kind: type[ResiduaError] = kind) -> None:
            raise kind("what", "where", "fix")

        monkeypatch.setattr(
            line, "parse", lambda *_, f=fails: (f, SimpleNamespace(args=("x", None), kwargs={}))
        )
        answer = residua("list", "recipes")
        assert answer.code == kind.exit_code
        assert answer.err == "error: what\nwhere: where\nfix:   fix\n"


def test_version(residua: Call) -> None:
    assert residua("--version").out.startswith("residua ")
    assert residua("--version", "--json").json["version"][0].isdigit()
