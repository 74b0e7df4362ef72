"""Put the measured numbers into README.md, between its two marks.

python benchmarks/readme.py
"""

import json
from collections.abc import Iterator
from typing import Any

from record import RESULTS, ROOT

BEGIN, END = "<!-- {}: python benchmarks/readme.py -->", "<!-- end of {} -->"
README = ROOT / "README.md"


def load(name: str) -> dict[str, Any]:
    """A file of results/."""
    table: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return table


def measured(name: str) -> dict[str, Any]:
    """What a file of results/ holds, or nothing where it was not measured."""
    return load(name)["measured"] if (RESULTS / f"{name}.json").exists() else {}


def speed() -> Iterator[tuple[str, str, str]]:
    """The rows of training: ours against the usual PyTorch loop, in turn in one run."""
    for name, case in measured("steps").get("cases", {}).items():
        if line := against(case):
            yield f"Training step, {name}: against the plain loop", line, "steps"
    if line := against(measured("epoch")):
        yield "An epoch of ResNet-20 from pixels on, against single transforms", line, "epoch"
    plans = measured("memory").get("plans", {}).get("variants", {})
    kept = {name: row for name, row in plans.items() if "ratio" in row}
    if kept:
        yield (
            f"Activations of a layer and image in bytes, and time: {', '.join(kept)}",
            "; ".join(
                f"{row['told']['bytes_per_layer_and_image']:,} ({1 / row['ratio']:.2f})"
                for row in kept.values()
            ),
            "memory",
        )
    yield from deep(measured("memory").get("deep", {}).get("variants", {}))
    yield from grown(measured("growth").get("rows", []))
    yield from asked(measured("inference"))
    yield from loaded(measured("loading"))
    if fair := measured("faithful"):
        ways = "; ".join(percent(fair[way]["mean"]) for way in ("fast", "plain"))
        worse = fair["fast_minus_plain"]
        yield (
            f"ResNet-20 after {fair['epochs']:g} passes over {fair['images']:,} images, trained "
            "fast; plainly: test error",
            f"{ways}; difference {spread(worse)} points, {len(fair['rows']['fast'])} seeds",
            "faithful",
        )
    for path in sorted(RESULTS.glob("ablation-*.json")):
        yield ablated(path.stem, measured(path.stem))
    for path in sorted(RESULTS.glob("time-*.json")):
        yield to_accuracy(path.stem, measured(path.stem))
    if shipped := measured("pretrained"):
        yield (
            f"Weights that come with it, test errors: {', '.join(shipped)}",
            "; ".join(percent(row["error"]) for row in shipped.values()),
            "pretrained",
        )


def studies() -> Iterator[tuple[str, str, str]]:
    """The verdict of each study that was run."""
    for path in sorted(RESULTS.glob("study-*.json")):
        found = measured(path.stem)
        whole = next((row for row in found["rows"] if row.get("lesion") == "whole"), {})
        subject = ", ".join(filter(None, (whole.get("network"), found["data"]["name"])))
        asked = f"Study {found['study']}, {subject}, {found['budget']['name']}"
        yield asked, found["verdict"], path.stem


def spread(mean: dict[str, float]) -> str:
    """A mean in points of a hundred with its 95 % interval."""
    middle, low, high = (100 * mean[key] for key in ("mean", "low", "high"))
    return f"{middle:+.2f} ({low:+.2f} to {high:+.2f})"


def grown(rows: list[dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Images a second and memory of ours beside those of the usual loop, over depth."""
    told = [
        f"{row['network'].removesuffix('-cifar')} {row['ours']['images_per_second']:,.0f} "
        f"({row['ours']['images_per_second'] / row['plain']['images_per_second']:.1f} times)"
        for row in rows
        if row["axis"] == "depth" and "plain" in row
    ]
    if told:
        yield "Training over depth, images/s (against the plain loop)", "; ".join(told), "growth"


def asked(found: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """ResNet-50 at 224, and whether engines change answers."""
    if not found:
        return
    rows, answers = found["resnet50"], found["answers"]
    told = [
        f"{way}: {rows[way]['times_the_reference']:.1f}"
        for way in ("folded bf16", "compiled bf16", "openvino bf16", "openvino int8", "auto")
        if way in rows
    ]
    yield "ResNet-50 at 224, images/s against the network as written", "; ".join(told), "inference"
    changed = [f"{way}: {row['others']}" for way, row in answers.items() if row["others"]]
    same = [way for way, row in answers.items() if not row["others"]]
    yield (
        "ResNet-20, answers of 10,000 that an engine changes",
        f"{'; '.join(changed)}; none: {', '.join(same)}",
        "inference",
    )


def loaded(found: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What one core prepares for a network in a second."""
    told = [
        f"{name} {found[name]['images_per_second']:,} ({found[name]['times']:.1f} times)"
        for name in ("memory: batches of 512", "files: simplejpeg", "cache: batches of 32")
        if name in found
    ]
    if told:
        what = "Images a second that one core prepares (against one image at a time)"
        yield what, "; ".join(told), "loading"


def killed() -> Iterator[tuple[str, str, str]]:
    """A study that was killed again and again."""
    if found := measured("kill-study"):
        same = "the same table" if found["same_table"] else "another table"
        cells = found["cells"]
        yield f"A study of {cells} trainings killed {found['kills']} times", same, "kill-study"


def pruning() -> Iterator[tuple[str, str, str]]:
    """What a network without some of its blocks loses and gains."""
    for row in measured("prune").get("rows", []):
        before, after, speed = row["before"], row["after"], row["speedup"]
        yield (
            f"ResNet-56 without {row['blocks']} of its blocks, CIFAR-10 test error; speed",
            f"{percent(before['error'])} to {percent(after['error'])}; {speed['ratio']:.2f} times "
            f"({speed['interval'][0]:.2f} to {speed['interval'][1]:.2f})",
            "prune",
        )


def against(compared: dict[str, Any]) -> str:
    """The ratio of ours and its rate, or "" where it was not measured."""
    row = compared.get("variants", {}).get("ours", {})
    if "ratio" not in row:
        return ""
    share = f", {100 * row['of_peak']:.0f} % of the peak" if "of_peak" in row else ""
    spread = f"{row['ratio_least']:.2f} to {row['ratio_most']:.2f}"
    return f"{row['ratio']:.2f} times ({spread}), {row['images_per_second']:,.0f} images/s{share}"


def deep(rows: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """ResNet-1202 within 2 GB, and in the usual way."""
    names = {"ours, 2 GB": "within 2 GB", "careful": "the usual loop with autocast"}
    told = [
        f"{what}: {rows[name]['grown_megabytes']:,} MB, {rows[name]['seconds']:.2f} s a step"
        for name, what in names.items()
        if "grown_megabytes" in rows.get(name, {})
    ]
    if told:
        yield "ResNet-1202, batch 128", "; ".join(told), "memory"


def ablated(name: str, found: dict[str, Any]) -> tuple[str, str, str]:
    """What a recipe reaches on images held out, and what it gains or loses by each change."""
    rows, first = {row["variant"]: row for row in found["summary"]}, found["trainings"][0]
    whole = rows.pop("fast")
    told = [
        f"{variant} {100 * (row['mirrored'] - whole['mirrored']):+.1f} points "
        f"({row['seconds'] / whole['seconds']:.2f} times the time)"
        for variant, row in rows.items()
    ]
    return (
        f"Recipe fast, {first['epochs']:g} passes over {first['images']:,} images, "
        f"{name.removeprefix('ablation-')}: held-out accuracy; by a change",
        f"{percent(whole['mirrored'])}, {whole['seeds']} seeds; {'; '.join(told)}",
        name,
    )


def to_accuracy(name: str, found: dict[str, Any]) -> tuple[str, str, str]:
    """One network's trainings of a fixed time."""
    single, mirrored = found["error"], found["mirrored_error"]
    epochs = [run["epochs"] for run in found["runs"]]
    passes = f"{min(epochs)} to {max(epochs)} epochs"  # as many as the machine had time for
    return (
        f"CIFAR-10 in {found['time']}, {found['network']}, recipe {found['recipe']}: test error; "
        "with the mirror image",
        f"{percent(single['mean'])}; {percent(mirrored['mean'])}; {len(epochs)} seeds, {passes}",
        name,
    )


def percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def rows() -> list[tuple[str, str, str]]:
    """What was measured, the value, and the file that tells how."""
    published, trained = load("published-resnet20"), load("cifar10-resnet20-cifar-15m")
    kill, answers = load("kill"), load("answers")
    power = load("power-cut")["measured"]
    weights, run = published["measured"], trained["measured"]["runs"][0]
    demo, test = load("make-demo")["measured"], load("make-test")["measured"]
    low, high = run["interval"]
    parity = load("parity")["measured"]["networks"]
    farthest = max(parity, key=lambda each: each["difference"])
    short = load("finetune")["measured"]["tables"][0]
    tuned, scratch = (short["test_error"][way] for way in ("fine-tuning", "scratch, the rate"))
    asked = load("protocols")["measured"]["protocols"]
    copies = load("duplicates")["measured"]["planted"]
    dense = load("multiscale")["measured"]

    def alone(protocol: str) -> float:
        """The error of the best single network."""
        return min(each["error"] for each in asked[protocol]["networks"].values())

    return [
        (
            "ResNet-20 weights published by others, CIFAR-10 test error, single view",
            f"{percent(weights['error'])} ({weights['wrong']} of {weights['total']:,})",
            "published-resnet20",
        ),
        (
            f"ResNet-20 on CIFAR-10 after 15 minutes, {trained['machine']['cores']} cores "
            "(the paper's, after 64k iterations: 8.75 %)",
            f"{percent(run['error'])} ({percent(low)} to {percent(high)}), one seed",
            "cifar10-resnet20-cifar-15m",
        ),
        (
            f"Networks with the weights of torchvision, timm and transformers: {len(parity)}; "
            "largest difference of a logit",
            f"{farthest['difference']:.1e} ({farthest['ours']}); "
            + ("bits the same" if all(each["identical"] for each in parity) else "OTHER BITS")
            + " there and back",
            "parity",
        ),
        (
            f"Those ResNet-20 weights tuned on 300 digits for {short['steps']} steps; from scratch",
            "; ".join(
                f"{100 * each['mean']:.1f} ± {100 * each['deviation']:.1f} %"
                for each in (tuned, scratch)
            )
            + f", {len(tuned['each'])} seeds",
            "finetune",
        ),
        (
            "ResNet-14, -20, -26, -32 after 15 epochs of CIFAR-10: the best of them; all together",
            f"{percent(alone('single'))}; {percent(asked['single']['together']['error'])}",
            "protocols",
        ),
        (
            "The same with ten crops",
            f"{percent(alone('ten-crop'))}; {percent(asked['ten-crop']['together']['error'])}",
            "protocols",
        ),
        (
            "Copies of training images planted among test images and found, of 37 exact and 40 "
            "changed",
            "; ".join(f"{each['exact_found']} and {each['changed_found']}" for each in copies),
            "duplicates",
        ),
        (
            f"ResNet-50 dense at five scales, {dense['images']:,} photographs: images a second; "
            "against a loop over single views; memory",
            f"{dense['images_per_second']:.2f}; {dense['ratio']:.2f} times; "
            f"{dense['peak_megabytes']:,.0f} MB",
            "multiscale",
        ),
        (
            "Killed with signal 9 at random moments and resumed each time",
            f"{kill['measured']['kills']} times, "
            + ("the same bits" if kill["measured"]["equal"] else "OTHER BITS"),
            "kill",
        ),
        (
            "Checkpoints reported as saved and lost, over power cuts of an ext4 file system",
            f"{sum(row['lost'] for row in power.values())} lost in "
            f"{sum(row['cuts'] for row in power.values())} cuts",
            "power-cut",
        ),
        *killed(),
        *studies(),
        *pruning(),
        *speed(),
        (
            "`make demo` in a fresh clone, set-up included; a second time",
            f"{demo['first_seconds']:.0f} s; {demo['second_seconds']:.0f} s; "
            f"{demo['megabytes']:,} MB",
            "make-demo",
        ),
        ("`make test` in a fresh clone", f"{test['first_seconds']:.0f} s", "make-test"),
        (
            "`residua --help`; a misspelled network",
            "; ".join(f"{answers['measured'][key]['median']:.2f} s" for key in ("help", "network")),
            "answers",
        ),
    ]


def table() -> str:
    """The block for the README."""
    machine = load("cifar10-resnet20-cifar-15m")["machine"]
    lines = [
        f"On {machine['cores']} cores of an {machine['processor']}; each file in `results/` holds "
        "the command, commit and versions.",
        "",
        "| measured | value | results/ |",
        "|---|---|---|",
        *(f"| {what} | {value} | `{name}.json` |" for what, value, name in rows()),
    ]
    return "\n".join(lines)


def demo() -> str:
    """How `make demo` ends, for the README."""
    ending = load("make-demo")["measured"]["ending"]
    return "\n".join(["```", *ending, "```"])


def main() -> None:
    text = README.read_text(encoding="utf-8")
    for name, block in (("demo", demo()), ("results", table())):
        begin, end = BEGIN.format(name), END.format(name)
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{block}\n{end}{rest.partition(end)[2]}"
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
