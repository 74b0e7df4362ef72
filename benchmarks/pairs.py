"""Ours and the reference in turn: how every ratio of speed here is measured.

Times taken minutes apart on a machine that others use say nothing. So the variants of a comparison
take turns, each in a fresh process; every round starts with another one, and a ratio is the median
of the ratios within rounds. What others did meanwhile is written down:

    load      runnable processes over the last minute, ours among them, when a trial began
    others    cores' worth of work of other processes while it ran
    peak      the best rate of this machine's matrix products and convolutions in the same run

A variant is a command line of the calling script; its last line is a JSON object with "seconds".
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

THREADING = ("OMP_", "GOMP_", "KMP_", "MKL_", "DNNL_", "ONEDNN_")
TICKS = os.sysconf("SC_CLK_TCK")
LIMIT = 1200.0  # seconds that a trial may take
Answer = dict[str, Any]


class Variant(NamedTuple):
    """One way to do the same work: words for the script, and variables for its process."""

    name: str
    words: tuple[str, ...]
    variables: tuple[tuple[str, str], ...] = ()


class Failed(Exception):
    """A trial ended without an answer; the message is its last line."""


def trial(script: str, variant: Variant, watch: float = 0.0, limit: float = LIMIT) -> Answer:
    """What one fresh process answers, with the load around it.

    Args:
        script: that takes the variant's words.
        variant: what to run.
        watch: seconds between looks at the memory of its processes; 0 takes none.
        limit: seconds after which it has failed.

    Raises:
        Failed: it ended without an answer.
    """
    inherited = {key: v for key, v in os.environ.items() if not key.startswith(THREADING)}
    words = [sys.executable, "-u", script, *variant.words]
    before, load, began = clock(), os.getloadavg()[0], time.monotonic()
    with TemporaryFile("w+") as out, TemporaryFile("w+") as errors:
        environment = inherited | dict(variant.variables)
        with subprocess.Popen(words, stdout=out, stderr=errors, env=environment) as process:
            peak = followed(process, watch, began + limit)
        wall = time.monotonic() - began
        out.seek(0)
        lines = out.read().splitlines()
        if process.returncode or not lines:
            errors.seek(0)
            said = errors.read().strip().splitlines() or [f"exit code {process.returncode}"]
            raise Failed(said[-1][:300])
    answer: Answer = json.loads(lines[-1])
    others = max(0.0, (clock() - before) / wall)
    answer |= {"load": round(load, 2), "others": round(others, 2), "wall": round(wall, 1)}
    return answer | ({"peak_megabytes": round(peak / 1e6)} if watch else {})


def followed(process: subprocess.Popen[bytes], watch: float, deadline: float) -> int:
    """Wait for a process; the most bytes that it and its children held at a look."""
    peak = 0
    while process.poll() is None:
        if time.monotonic() > deadline:
            process.kill()
        peak = max(peak, held(process.pid)) if watch else 0
        time.sleep(watch or 0.05)
    return peak


def clock() -> float:
    """Seconds of processor time that others than this process and its children took so far."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _, _, irq, softirq, steal = ticks
    own = sum(os.times()[:4])
    return (user + nice + system + irq + softirq + steal) / TICKS - own


def held(process: int) -> int:
    """Bytes of a process and all below it, memory that they share counted once."""
    total, waiting = 0, [process]
    while waiting:
        place = Path("/proc", str(waiting.pop()))
        try:
            lines = (place / "smaps_rollup").read_text().splitlines()
            total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            for task in (place / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except OSError:  # it has ended
            continue
    return total


def compare(
    script: str,
    variants: Sequence[Variant],
    rounds: int,
    tell: Callable[[str], None] = print,
    watch: float = 0.0,
) -> Answer:
    """Let variants take turns; the first is the reference of all ratios.

    Returns the medians of each variant, the ratios of the reference's seconds to its own within
    rounds, and what was going on. A variant that failed has only the reason.
    """
    answers: dict[str, list[Answer]] = {variant.name: [] for variant in variants}
    failed: dict[str, str] = {}
    for number in range(rounds):
        turn = number % len(variants)
        for variant in (*variants[turn:], *variants[:turn]):
            if variant.name in failed:
                continue
            try:
                answer = trial(script, variant, watch)
            except Failed as error:
                failed[variant.name] = str(error)
                tell(f"  {variant.name}: failed: {error}")
                continue
            answers[variant.name].append(answer)
            tell(
                f"  round {number + 1}  {variant.name:<34} {answer['seconds']:9.4f} s"
                f"   load {answer['load']:.1f}, others {answer['others']:.2f}"
            )
    reference = variants[0].name
    rows = {
        variant.name: {"failed": failed[variant.name]}
        if variant.name in failed
        else summary(answers[variant.name], [] if reference in failed else answers[reference])
        for variant in variants
    }
    return {"reference": reference, "rounds": rounds, "variants": rows}


def summary(answers: Sequence[Answer], reference: Sequence[Answer]) -> Answer:
    """Medians, extremes and ratios of one variant's rounds."""
    seconds = [answer["seconds"] for answer in answers]
    row: Answer = {
        "seconds": median(seconds),
        "least": min(seconds),
        "most": max(seconds),
        "load": [answer["load"] for answer in answers],
        "others": [answer["others"] for answer in answers],
    }
    if reference:
        pairs = zip(reference, seconds, strict=True)
        ratios = [one["seconds"] / other for one, other in pairs]
        row |= {"ratio": median(ratios), "ratio_least": min(ratios), "ratio_most": max(ratios)}
    for key in ("images", "flop"):
        if key in answers[0]:
            row[f"{key}_per_second"] = answers[0][key] / row["seconds"]
    for key in ("peak_megabytes", "start_megabytes"):
        if key in answers[0]:
            row[key] = median([answer[key] for answer in answers])
    row["told"] = answers[-1].get("told", {})
    return {key: round(v, 5) if isinstance(v, float) else v for key, v in row.items()}


def against_peak(compared: Answer, peak: float) -> None:
    """Add to each variant the share of the machine's peak that it reached."""
    for row in compared["variants"].values():
        if "flop_per_second" in row:
            row["of_peak"] = round(row["flop_per_second"] / peak, 3)


def median(values: Sequence[float]) -> float:
    return float(statistics.median(values))


def ceiling(size: int = 4096) -> Answer:
    """Operations a second of the fastest product or convolution on all cores, in a fresh process.

    Args:
        size: of the largest matrix.
    """
    return trial(__file__, Variant("peak", (str(size),)))


def rates(size: int, lasting: float = 0.6) -> Mapping[str, float]:
    """Operations a second of products and a 3x3 convolution in bf16 and fp32.

    Each is repeated for `lasting` seconds, and its best counts.
    """
    import torch
    from torch.nn import functional as F

    found: dict[str, float] = {}
    for dtype in (torch.bfloat16, torch.float32):
        for side in (size // 4, size // 2, size):
            a, b = torch.randn(2, side, side, dtype=torch.float32).to(dtype)
            name = f"product {side} {str(dtype)[6:]}"
            found[name] = 2 * side**3 / best(lambda a=a, b=b: a @ b, lasting)  # type: ignore[misc]
        side, channels = max(4, size // 73), max(4, size // 16)
        x = torch.randn(32, channels, side, side).to(dtype)
        x, w = x.to(memory_format=torch.channels_last), torch.randn(channels, channels, 3, 3)
        w = w.to(dtype, memory_format=torch.channels_last)
        seconds = best(lambda x=x, w=w: F.conv2d(x, w, padding=1), lasting)  # type: ignore[misc]
        found[f"convolution {channels} {str(dtype)[6:]}"] = (
            2 * 32 * side**2 * channels**2 * 9 / seconds
        )
    return found


def best(work: Callable[[], object], seconds: float) -> float:
    """The shortest time of the work, repeated for a while: what nothing disturbed."""
    times: list[float] = []
    ends = time.monotonic() + seconds
    while len(times) < 3 or time.monotonic() < ends:
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    began = time.monotonic()
    found = rates(int(sys.argv[1]))
    print(
        json.dumps(
            {"seconds": time.monotonic() - began, "rates": found, "peak": max(found.values())}
        )
    )


if __name__ == "__main__":
    main()
