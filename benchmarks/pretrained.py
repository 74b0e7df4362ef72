"""Train the weights that come with Residua, and write each with its card into the package.

    python benchmarks/pretrained.py CIFAR10 [NAME...]

They are stored in half precision; the error on a card is that of the stored file. The test split
decides nothing: the weights are those of the last step.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from record import RESULTS, ROOT, record

from residua import checkpoints
from residua.pretrained import PRETRAINED, file_of


class Training(NamedTuple):
    """How one of PRETRAINED comes to be."""

    data: str  # "" for CIFAR-10
    network: str
    settings: dict[str, str]
    knows: str  # what it was shown


PICTURES = (
    "50,000 color pictures of 32 pixels: airplane, automobile, bird, cat, deer, dog, frog, horse, "
    "ship, truck (CIFAR-10, Krizhevsky 2009)"
)
STAGE = ROOT / "runs" / "pretrained"  # the source must not change while a training records it
LAST = {"validation": "0", "select": "last"}
FAST = LAST | {"recipe": "fast", "label-smoothing": "0.05"}
TRAININGS = {
    "resnet20-cifar10": Training("", "resnet20-cifar", FAST | {"epochs": "60"}, PICTURES),
    "resnet56-cifar10": Training("", "resnet56-cifar", FAST | {"epochs": "30"}, PICTURES),
    "resnet20-digits": Training(
        "digits", "resnet20-cifar", LAST, "handwritten digits of 8 pixels (scikit-learn's, UCI)"
    ),
}
CARD = """# {name}

{about}: {network} with {parameters:,} parameters, half precision, {bytes:,} bytes.

| | |
|---|---|
| knows | {knows} |
| test error | {error:.2%} ({wrong:,} of {total:,}; 95 % interval {low:.2%} to {high:.2%}) |
| trained by | `{command}` |
| commit | {commit} |
| seed | {seed}, the only one: nothing was chosen among several |

Its classes are those above and no others: a picture of anything else gets one of these names, too,
often with a high score. It was never shown photographs larger than its input.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cifar10", help="CIFAR-10 in any official layout")
    parser.add_argument("names", nargs="*", default=list(TRAININGS), metavar="NAME")
    options = parser.parse_args()
    assert TRAININGS.keys() == PRETRAINED.keys()
    known = RESULTS / "pretrained.json"
    measured = json.loads(known.read_text())["measured"] if known.exists() else {}
    STAGE.mkdir(parents=True, exist_ok=True)
    for name in options.names:
        measured[name] = make(name, TRAININGS[name], options.cifar10)
        record("pretrained", measured)
    for name in options.names:
        for suffix in (".safetensors", ".md"):
            shutil.copy(STAGE / f"{name}{suffix}", file_of(name).parent)


def make(name: str, training: Training, cifar10: str) -> dict[str, Any]:
    """Train, store, test and describe one of PRETRAINED."""
    data = training.data or cifar10
    words = ["train", data, "--network", training.network]
    words += [f"--{key}={value}" for key, value in training.settings.items()]
    with tempfile.TemporaryDirectory() as runs:
        run = Path(answer(*words, "--runs", runs)["run"])
        weights = checkpoints.open_weights(run)
        info = json.loads((run / "run.json").read_text())
    half = {key: t.half() if t.is_floating_point() else t for key, t in weights.tensors.items()}
    file = STAGE / f"{name}.safetensors"
    checkpoints.write_weights(file, replace(weights, tensors=half, metrics={}))
    tested = answer("evaluate", str(file), data, "--split", "test")
    low, high = tested["interval"]
    command = " ".join(["residua", *words]).replace(cifar10, "CIFAR10")
    facts = {
        **{key: tested[key] for key in ("wrong", "total", "error")},
        "parameters": info["parameters"],
        "bytes": file.stat().st_size,
        "command": command,
        "seed": info["seed"],
        "commit": info["commit"],
    }
    about = {"name": name, "about": PRETRAINED[name], "network": training.network}
    text = CARD.format(**about, **facts, knows=training.knows, low=low, high=high)
    file.with_suffix(".md").write_text(text, encoding="utf-8")
    return {**facts, "interval": [low, high], "seconds": info["seconds"]}


def answer(*words: str) -> dict[str, Any]:
    """What `residua WORDS --json` answers."""
    done = subprocess.run(
        [sys.executable, "-m", "residua", *words, "--json"], stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
