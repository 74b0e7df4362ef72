"""What is printed: harmless, aligned, plain in a pipe, and to a reader who may go away."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from residua.commands import terminal as module
from residua.commands.terminal import Terminal, finite, padded
from residua.words import harmless


@contextmanager
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """A terminal of 80 columns as standard output; yields what tells what it received."""
    ours, theirs = os.openpty()
    os.set_blocking(ours, False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    with open(theirs, "w") as out, open(ours, "rb", buffering=0) as received:
        monkeypatch.setattr(sys, "stdout", out)
        yield lambda: b"".join(iter(lambda: received.read(10_000) or b"", b"")).decode()


@given(st.text())
def test_nothing_that_is_printed_commands_a_terminal(text: str) -> None:
    assert harmless(text).isprintable()
    assert harmless(harmless(text)) == harmless(text)


def test_escapes_in_names_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().say("a\x1b[31mb\nc[bold]d[/bold]\u202e")
    assert capsys.readouterr().out == "a\\x1b[31mb\\nc[bold]d[/bold]\\u202e\n"


def test_json_mode_keeps_stdout_for_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(["--json"])
    terminal.say("what happens")
    terminal.tell("the answer")
    terminal.answer({"a": float("nan"), "b": (1, 2.5), "c": {"d": float("inf")}, 3: "\udcff"})
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"a": None, "b": [1, 2.5], "c": {"d": None}, "3": "\udcff"}
    assert printed.out.isascii()
    assert printed.err == "what happens\n"


def test_quiet_leaves_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(["--quiet"])
    terminal.say("what happens")
    terminal.tell("the answer")
    terminal.answer({"a": 1})
    assert capsys.readouterr().out == "the answer\n"


def test_columns_are_aligned_also_for_wide_characters(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().table([("name", "n"), ("a", "1"), ("猫", "10")], right=(1,))
    assert capsys.readouterr().out == "name   n\na      1\n猫    10\n"
    assert padded("猫", 4) == "猫  "


def test_long_lines_are_not_broken_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().say("x" * 500)
    assert capsys.readouterr().out == "x" * 500 + "\n"


def test_a_pipe_gets_no_live_line_and_no_color(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    terminal = Terminal()
    terminal.live("epoch 1")
    terminal.say(("done", "green"))
    terminal.close()
    assert capsys.readouterr().out == "done\n"


def test_a_terminal_gets_a_live_line_that_goes_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "REFRESH", 0.0)
    monkeypatch.delenv("NO_COLOR", raising=False)
    with screen(monkeypatch) as received:
        terminal = Terminal()
        terminal.live("epoch 1/2  " + "x" * 100)
        terminal.live("epoch 2/2")
        terminal.say(("done", "green"))
        terminal.close()
        text = received()
    assert "epoch 1/2" in text
    assert "\r\x1b[2Kepoch 2/2" in text
    assert "\x1b[32mdone\x1b[0m\r\n" in text
    assert text.rstrip("\r\n").endswith("\x1b[2K")
    assert "x" * 80 not in text


def test_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with screen(monkeypatch) as received:
        Terminal().say(("done", "green"))
        assert received() == "done\r\n"


def test_a_reader_who_goes_away_does_not_end_the_work() -> None:
    program = """
import sys
from residua.commands.terminal import Terminal
terminal = Terminal()
for number in range(20_000):
    terminal.say(f"line {number}")
terminal.answer({})
sys.exit(42)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == b"line 0\n"
    process.stdout.close()
    complaints = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 42
    assert complaints == b""


def test_a_full_disk_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "residua", "list", "recipes"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 4
    assert done.stderr.startswith("error: No space left on device")


def test_finite() -> None:
    assert finite([1.5, {"a": float("-inf")}]) == [1.5, {"a": None}]


def test_complaints_keep_their_lines(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().complain("error: what\nwhere: a\tb\n  1. more")
    assert capsys.readouterr().err == "error: what\nwhere: a\\tb\n  1. more\n"
