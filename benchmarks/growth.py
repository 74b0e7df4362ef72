"""How speed and memory of training grow: with depth, width, batch, image size and cores.

    python benchmarks/growth.py           about 8 minutes on 4 cores

Each row is a fresh process: images a second and the memory that its processes held at most. The
usual loop in float32 is measured beside ours where it has the same network.
"""

import argparse
import json
import os
from typing import Any, NamedTuple

from pairs import Failed, Variant, trial
from record import record
from steps import Case, ours, plain

LOOK = 0.1  # seconds between looks at memory


class Row(NamedTuple):
    """What varies, its value, and what is measured."""

    axis: str
    value: int
    case: Case
    cores: int = 0  # all, if 0


def rows() -> list[Row]:
    """Every row of the five curves."""
    depths = ((20, 128), (56, 128), (110, 128), (302, 64), (602, 32), (1202, 32))
    return [
        *(Row("depth", n, Case(f"resnet{n}-cifar", 32, b, max(3, 400 // n))) for n, b in depths),
        *(Row("width", n, Case(f"wide16-cifar-{n}", 32, 128, 4)) for n in (1, 2, 4)),
        *(Row("batch", n, Case("resnet20-cifar", 32, n, 10)) for n in (32, 64, 128, 256, 512)),
        *(Row("size", n, Case("resnet20-cifar", n, 128, 10)) for n in (16, 24, 32, 48, 64)),
        *(Row("cores", n, Case("resnet20-cifar", 32, 128, 10), n) for n in (1, 2, 3, 4)),
    ]


def words(kind: str, row: Row) -> tuple[str, ...]:
    return ("--one", kind, str(row.cores), *map(str, row.case))


def measured(row: Row) -> dict[str, Any]:
    """Images a second and memory of ours and of the usual loop."""
    found: dict[str, Any] = {"axis": row.axis, "value": row.value, **row.case._asdict()}
    for kind in ("ours", "plain"):
        if kind == "plain" and row.case.network.startswith("wide"):
            continue
        try:
            answer = trial(__file__, Variant(kind, words(kind, row)), LOOK)
        except Failed as error:
            found[kind] = {"failed": str(error)}
            continue
        found[kind] = {
            "images_per_second": round(row.case.batch / answer["seconds"], 2),
            "peak_megabytes": answer["peak_megabytes"],
            "others": answer["others"],
        }
    return found


def one(kind: str, cores: int, case: Case) -> dict[str, Any]:
    """One trial's answer, on the first cores."""
    if cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    return ours(case, probes=1) if kind == "ours" else plain(case, care=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--axes", nargs="+", default=[], help="only these; records nothing")
    parser.add_argument("--one", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kind, cores, network, *numbers = options.one
        case = Case(network, *map(int, numbers))
        print(json.dumps(one(kind, int(cores), case)))
        return
    available = len(os.sched_getaffinity(0))
    found = []
    for row in rows():
        if row.cores > available or (options.axes and row.axis not in options.axes):
            continue
        found.append(measured(row))
        print(json.dumps(found[-1]), flush=True)
    if not options.axes:
        record("growth", {"rows": found})


if __name__ == "__main__":
    main()
