"""How soon the command line answers: help, and names and flags that are misspelled.

python benchmarks/answers.py
"""

import statistics
import subprocess
import sys
import time

from record import record

ROUNDS = 7
ASKED = {
    "help": ["--help"],
    "verb": ["trian"],
    "flag": ["train", "digits", "--epoch", "3"],
    "network": ["train", "digits", "--network", "resnt20-cifar"],
    "network to show": ["show", "resnt50"],
    "recipe": ["train", "digits", "--recipe", "quik"],
}


def seconds(words: list[str]) -> tuple[float, str]:
    """The time to an answer, and its last line."""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "residua", *words], capture_output=True, text=True)
    answer = (done.stderr or done.stdout).strip().splitlines()
    return time.monotonic() - began, answer[-1]


def main() -> None:
    measured = {}
    for name, words in ASKED.items():
        rounds = [seconds(words) for _ in range(ROUNDS)]
        times = sorted(taken for taken, _ in rounds)
        measured[name] = {
            "words": " ".join(words),
            "median": round(statistics.median(times), 3),
            "slowest": round(times[-1], 3),
            "last_line": rounds[-1][1],
        }
    record("answers", measured)


if __name__ == "__main__":
    main()
