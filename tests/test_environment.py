"""What a number was measured with."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import torch

from residua import environment


def test_versions_and_machine_are_those_here() -> None:
    found = environment.environment()
    assert found["versions"]["torch"] == torch.__version__.partition("+")[0] or (
        found["versions"]["torch"] == torch.__version__
    )
    assert set(found["versions"]) == {"python", "residua", "torch", "numpy", "pillow"}
    assert found["machine"]["cores"] >= 1 and found["machine"]["memory_gb"] > 0
    assert found["machine"]["processor"]
    assert json.loads(json.dumps(found)) == found


def checkout(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one committed module, which stands for ours."""
    module = root / "environment.py"
    module.write_text("x = 1\n")
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True)
    monkeypatch.setattr(environment, "__file__", str(module))
    return module


def test_the_commit_says_when_the_source_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = checkout(tmp_path, monkeypatch)
    clean = environment.commit()
    assert re.fullmatch("[0-9a-f]{40}", clean)
    module.write_text("x = 2\n")
    assert environment.commit() == f"{clean}+"


def test_a_copy_installed_in_anothers_tree_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout(tmp_path, monkeypatch)
    copy = tmp_path / "site-packages" / "environment.py"
    copy.parent.mkdir()
    copy.write_text("")
    monkeypatch.setattr(environment, "__file__", str(copy))
    assert environment.commit() == ""


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.commit() == ""
