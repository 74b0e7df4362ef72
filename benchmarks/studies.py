"""A study run as a person runs it, its verdict written into results/ and its figures into docs/.

    python benchmarks/studies.py degradation digits --budget 5m
    python benchmarks/studies.py lesion resnet56-cifar10 CIFAR10 --figures lesion

Words after the study's name go to `residua study` as they are. Of a data set at another place
the file's name is recorded, not the place.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from record import ROOT, record


def asked(words: list[str], runs: str) -> dict[str, Any]:
    """What `residua study WORDS` answers."""
    command = [sys.executable, "-m", "residua", "study", *words, "--runs", runs, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figures", nargs="*", default=[], help="names that go into docs/")
    parser.add_argument("--name", help="of the file in results/ [study-NAME-DATA]")
    options, words = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as runs:
        found = asked(words, runs)
        folder = Path(found["folder"])
        info = json.loads((folder / "study.json").read_text())
        for name in options.figures:
            for ending in ("", "-dark"):
                figure = folder / "figures" / f"{name}{ending}.svg"
                shutil.copy(figure, ROOT / "docs" / f"{info['data']['name']}-{figure.name}")
    rows = [
        {key: value for key, value in row.items() if not isinstance(value, list | dict)}
        for row in info["rows"]
    ]  # curves stay out
    keys = ("study", "verdict", "holds", "p_value", "numbers", "limits", "factors", "budget")
    data = {key: info["data"][key] for key in ("name", "images", "classes", "fingerprint")}
    began, ended = (datetime.fromisoformat(info[key]) for key in ("started", "ended"))
    more = {"data": data, "rows": rows, "seconds": (ended - began).seconds}
    name = options.name or f"study-{info['study']}-{info['data']['name']}"
    record(name, {key: info[key] for key in keys} | more)


if __name__ == "__main__":
    main()
