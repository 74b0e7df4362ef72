"""A study killed with signal 9 at random moments, and taken up again each time: the same table.

    python benchmarks/kill_study.py [--kills 20]

The signal goes to the main process alone, as an operator's or the kernel's does: its workers must
end with it, and what they had not finished must be measured anew.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from record import record

RESIDUA = [sys.executable, "-m", "residua"]
STUDY = [
    *("study", "degradation", "digits", "--families", "plain,residual", "--depths", "20,56"),
    *("--seeds", "5", "--epochs", "20"),
]
STARTS = 4.0  # seconds until the first cell is under way


def killed(folder: Path, kills: int) -> tuple[dict[str, Any], int]:
    """The study after so many kills, and how many of them found it at work."""
    draw, found = random.Random(0), 0
    command = [*RESIDUA, *STUDY, "--runs", str(folder)]
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not list(folder.glob("*/study.json")) and process.poll() is None:
            time.sleep(0.05)
        (run,) = folder.glob("*-1")
        command = [*RESIDUA, "resume", str(run)]
        time.sleep(STARTS + draw.uniform(0, 4))
        found += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (file,) = folder.glob("*/study.json")
    table: dict[str, Any] = json.loads(file.read_text())
    return table, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    kills = parser.parse_args().kills
    with tempfile.TemporaryDirectory() as place:
        whole, _ = killed(Path(place, "whole"), 0)
        pieces, found = killed(Path(place, "pieces"), kills)
    keys = ("rows", "verdict", "p_value", "numbers")
    same = all(whole[key] == pieces[key] for key in keys)
    record("kill-study", {"kills": found, "cells": len(whole["rows"]), "same_table": same})
    if not same:
        sys.exit("the tables differ")


if __name__ == "__main__":
    main()
