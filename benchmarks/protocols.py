"""The papers' test protocols on networks trained here, each alone and all together.

    python benchmarks/protocols.py DATA RUN...

The runs are trainings of different depth on DATA, CIFAR-10 in any official layout. Every network is
asked about every test image, each image decoded once for all of them.
"""

import argparse
from pathlib import Path
from typing import Any

from record import record

from residua import comparisons, datasets, testing
from residua.api import Run, plain_execution
from residua.evaluate import Evaluation
from residua.protocols import Protocol

PROTOCOLS = (Protocol(), Protocol("ten-crop"), Protocol("multi-scale"))


def row(evaluation: Evaluation) -> dict[str, Any]:
    """An error as it is printed in a table."""
    keys = ("wrong", "total", "error", "interval", "seconds")
    return {key: value for key, value in evaluation.summary().items() if key in keys}


def trained(run: Run, network: str) -> dict[str, Any]:
    """How a network was trained."""
    epochs = sum(row["split"] == "train" for row in run.metrics)
    seed, commit = run.info["seed"], run.info["commit"]
    command = f"residua train DATA --network {network} --epochs {epochs} --seed {seed}"
    return {"network": network, "command": command, "commit": commit}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("runs", nargs="+", type=Path)
    arguments = parser.parse_args()
    dataset = datasets.load(arguments.data)
    runs = [Run.open(path) for path in arguments.runs]
    weights = [run.weights() for run in runs]
    names = [each.network for each in weights]
    measured: dict[str, Any] = {
        "runs": [trained(run, name) for run, name in zip(runs, names, strict=True)],
        "protocols": {},
    }
    singles: list[Evaluation] = []
    for protocol in PROTOCOLS:
        asking = testing.Asking(protocol, workers=2)
        whole, alone = testing.evaluate(weights, dataset, "test", plain_execution(), asking)
        singles = singles or alone
        best = min(alone, key=lambda each: each.wrong)
        gain = comparisons.compare(best.answers("the best of them"), whole.answers("all together"))
        measured["protocols"][protocol.name] = {
            "words": protocol.words(),
            "networks": {name: row(each) for name, each in zip(names, alone, strict=True)},
            "together": row(whole),
            "against the best": gain.to_dict() | {"verdict": gain.verdict()},
        }
        if protocol.name != "single":
            measured["protocols"][protocol.name]["against single"] = {
                name: comparisons.compare(
                    before.answers("single"), after.answers(protocol.name)
                ).verdict()
                for name, before, after in zip(names, singles, alone, strict=True)
            }
    record("protocols", measured)


if __name__ == "__main__":
    main()
