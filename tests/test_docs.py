"""What the documents say is so: verbs, files, links and measured numbers."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from residua import networks
from residua.commands import VERBS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
NETWORKS = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")
PAGES = (
    *("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"),
    *("docs/networks.md", "docs/speed.md", "docs/studies.md"),
)


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
    home = (ROOT / page).parent
    missing = [one or other for one, other in targets if not (home / (one or other)).exists()]
    assert not missing


def test_the_readme_holds_the_measured_numbers() -> None:
    code = "import readme; print(readme.demo(), readme.table(), sep='\\0')"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=ROOT / "benchmarks", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for block in done.stdout.strip().split("\0"):
        assert block in README, "run: python benchmarks/readme.py"


def test_the_page_of_networks_has_every_network_and_option() -> None:
    assert not [name for name in networks.names() if f"| `{name}` |" not in NETWORKS]
    _, _, told = NETWORKS.partition("| option | values | what it is |")
    told = told.partition("\n\n")[0]
    options = {option for family in networks.NETWORKS.values() for option in family.options}
    assert options == set(re.findall(r"^\| `(\w+)` ", told, re.M))


@pytest.mark.parametrize("name", ["resnet50", "resnet20-cifar", "googlenet", "vgg19", "alexnet"])
def test_the_page_of_networks_holds_what_the_code_counts(name: str) -> None:
    words = [sys.executable, "-c", f"import networks; print(networks.row({name!r}))"]
    done = subprocess.run(words, cwd=ROOT / "benchmarks", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in NETWORKS, "run: python benchmarks/networks.py"
