"""The command line called in this process, and one small trained run for all tests."""

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from residua.commands.line import run


class Answer(NamedTuple):
    """What a command line left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on stdout, and nothing else there."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


def call(*words: object) -> Answer:
    """Carry out `residua WORDS` here."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run([str(word) for word in words])
    return Answer(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def residua() -> Callable[..., Answer]:
    return call


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run on the digits. Tests do not change it, except for its evaluations."""
    runs = tmp_path_factory.mktemp("runs")
    words = ("digits", "--network", "resnet8-cifar", "epochs=1", "threads=1", "--runs", runs)
    answer = call("train", *words, "--quiet")
    assert answer.code == 0, answer.err
    return runs / "digits-resnet8-cifar-1"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes into the source tree, or reads settings from outside."""
    monkeypatch.chdir(tmp_path)
    for name in ("RESIDUA_EPOCHS", "RESIDUA_SEED", "RESIDUA_BATCH"):
        monkeypatch.delenv(name, raising=False)
