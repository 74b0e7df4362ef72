"""What the documents say is so: verbs, files, links and measured numbers."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from residua.commands import VERBS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")


@pytest.mark.parametrize("verb", VERBS)
def test_the_readme_tells_every_verb(verb: str) -> None:
    assert re.search(rf"`residua {verb}\b", README)


def test_the_readme_draws_every_file_and_folder_of_the_source() -> None:
    _, _, tree = README.partition("src/residua/\n")
    tree = tree.partition("```")[0]
    source = ROOT / "src" / "residua"
    here = {path.name + "/" * path.is_dir() for path in source.iterdir()}
    silent = {"__init__.py", "__main__.py", "__pycache__/", "py.typed"}
    told = set(re.findall(r"[a-z_]+(?:\.py|/)", tree))
    assert told >= here - silent
    assert {name for name in told if name.endswith(".py")} <= here | {"residual.py"}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!http)([^)#]+)\)|(?:srcset|src)=\"(?!http)([^\"]+)\"", text)
    missing = [one or other for one, other in targets if not (ROOT / (one or other)).exists()]
    assert not missing


def test_the_readme_holds_the_measured_numbers() -> None:
    code = "import readme; print(readme.demo(), readme.table(), sep='\\0')"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=ROOT / "benchmarks", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for block in done.stdout.strip().split("\0"):
        assert block in README, "run: python benchmarks/readme.py"
