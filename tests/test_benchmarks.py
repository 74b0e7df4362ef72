"""The benchmarks run: each part of the harness once, as small as it goes; no time is judged."""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))
import epoch  # noqa: E402
import gpu  # noqa: E402
import growth  # noqa: E402
import memory  # noqa: E402
import pairs  # noqa: E402
import reference  # noqa: E402
import steps  # noqa: E402
from pairs import Failed, Variant  # noqa: E402
from steps import Case  # noqa: E402

from residua import networks  # noqa: E402
from residua.errors import BadData  # noqa: E402

TEN = "import json, sys; print(json.dumps({'seconds': float(sys.argv[1]), 'flop': 10.0}))"


@pytest.fixture(autouse=True)
def one_core() -> Iterator[None]:
    """Trials take every core that they may use, and other tests run beside this one."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)


@pytest.fixture
def script(tmp_path: Path) -> str:
    """A script that answers with the seconds it is told."""
    path = tmp_path / "script.py"
    path.write_text(TEN)
    return str(path)


def test_ratios_are_those_within_rounds_and_the_reference_is_first(script: str) -> None:
    told: list[str] = []
    variants = [Variant("plain", ("6",)), Variant("ours", ("2",)), Variant("slow", ("12",))]
    found = pairs.compare(script, variants, 2, told.append)
    pairs.against_peak(found, 20.0)
    rows = found["variants"]
    assert [rows[name]["ratio"] for name in ("plain", "ours", "slow")] == [1, 3, 0.5]
    assert rows["ours"]["flop_per_second"] == 5 and rows["ours"]["of_peak"] == 0.25
    assert [line.split()[2] for line in told] == ["plain", "ours", "slow", "ours", "slow", "plain"]
    assert all(len(rows["ours"][key]) == 2 for key in ("load", "others"))


def test_a_variant_that_fails_leaves_the_others_measured(script: str) -> None:
    variants = [Variant("plain", ("6",)), Variant("broken", ("x",))]
    rows = pairs.compare(script, variants, 2, lambda line: None)["variants"]
    assert "could not convert" in rows["broken"]["failed"]
    assert rows["plain"]["ratio"] == 1


def test_without_a_reference_there_are_no_ratios(script: str) -> None:
    variants = [Variant("broken", ("x",)), Variant("ours", ("2",))]
    rows = pairs.compare(script, variants, 1, lambda line: None)["variants"]
    assert rows["ours"]["seconds"] == 2 and "ratio" not in rows["ours"]


def test_a_trial_that_takes_too_long_has_failed(tmp_path: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text("import time; time.sleep(60)")
    with pytest.raises(Failed, match="exit code"):
        pairs.trial(str(script), Variant("slow", ()), limit=0.2)


def test_threads_are_torchs_own_unless_a_variant_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    script = tmp_path / "told.py"
    script.write_text(
        "import json, os\n"
        "told = {k: v for k, v in os.environ.items() if k.startswith('OMP_')}\n"
        "print(json.dumps({'seconds': 1.0, 'told': told}))"
    )
    assert pairs.trial(str(script), Variant("own", ()))["told"] == {}
    bound = Variant("bound", (), (("OMP_PROC_BIND", "true"),))
    assert pairs.trial(str(script), bound)["told"] == {"OMP_PROC_BIND": "true"}


def test_memory_of_children_counts(tmp_path: Path) -> None:
    script = tmp_path / "holds.py"
    script.write_text(
        "import json, os, time\n"
        "if not os.fork():\n"
        "    held = bytearray(b'x') * 60_000_000\n"
        "    time.sleep(0.5)\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "print(json.dumps({'seconds': 1.0}))"
    )
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("this system does not tell what a process holds")
    peak = pairs.trial(str(script), Variant("holds", ()), watch=0.02)["peak_megabytes"]
    assert 60 < peak < 150


def test_the_peak_is_the_best_of_its_rates() -> None:
    found = pairs.rates(64, 0.01)
    assert len(found) == 8 and all(rate > 0 for rate in found.values())


@pytest.mark.parametrize("depth", [20, 56])
def test_the_reference_is_the_network_of_the_paper(depth: int) -> None:
    ours = networks.build(f"resnet{depth}-cifar", 10)
    plain, _ = reference.build(f"resnet{depth}-cifar")
    assert count(plain) == count(ours)
    assert plain(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


@pytest.mark.parametrize("depth", [18, 50])
def test_the_reference_for_photographs_has_as_many_weights(depth: int) -> None:
    with torch.device("meta"):
        ours, plain = networks.build(f"resnet{depth}", 1000), reference.large_resnet(depth)
        assert plain(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
    assert count(plain) == count(ours)


def count(network: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


@pytest.mark.parametrize("care", [False, True])
def test_the_usual_loop_learns(care: bool) -> None:
    network = reference.cifar_resnet(8)
    before = [weight.detach().clone() for weight in network.parameters()]
    assert len(reference.step_times(network, 4, 16, 2, care)) == 2
    after = network.parameters()
    assert all(not torch.equal(one, two) for one, two in zip(before, after, strict=True))


def test_single_transforms_crop_and_mirror_one_image() -> None:
    samples = reference.Samples([torch.zeros(32, 32, 3, dtype=torch.uint8).numpy()], [3])
    image, label = samples[0]
    assert image.shape == (3, 32, 32) and label == 3
    assert torch.allclose(image[0], torch.tensor(-0.4914 / 0.2470))


TINY = Case("resnet8-cifar", 16, 32, 4)


def test_a_trial_of_steps_answers_for_all_its_variants() -> None:
    for kind in ("plain", "careful", "ours"):
        answer = steps.one(kind, TINY)
        assert answer["seconds"] > 0 and answer["flop"] > 0 and answer["images"] == 32


def test_an_epoch_of_ours_ends_and_one_of_the_usual_loop() -> None:
    data = epoch.load("noise", 128)
    assert epoch.ours(data)["seconds"] > 0
    assert epoch.plain(data, 0)["seconds"] > 0


@pytest.mark.parametrize(("keep", "segments"), [*memory.PLANS, ("plain", 0)])
def test_plans_are_counted_and_timed(keep: str, segments: int) -> None:
    answer = memory.planned(TINY, keep, segments)
    assert answer["seconds"] > 0 and answer["told"]["bytes_per_layer_and_image"] > 0


def test_leaner_plans_count_less() -> None:
    counted = [memory.planned(TINY, keep, 0)["told"] for keep in ("all", "lean", "input")]
    sizes = [told["bytes_per_layer_and_image"] for told in counted]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[-1]


def test_memory_within_a_limit_and_of_the_usual_loop() -> None:
    assert memory.limited(TINY, memory.LIMIT)["told"]["plan"]["bytes"] <= memory.LIMIT
    assert memory.careful(TINY)["start_megabytes"] > 0


def test_every_row_of_growth_is_a_network_that_there_is() -> None:
    for row in growth.rows():
        family, depth, _ = networks.parse(row.case.network)
        assert depth > 0 and family.size == 32
    kind, cores, *case = growth.words("ours", growth.rows()[0])[1:]
    assert (kind, cores, case) == ("ours", "0", ["resnet20-cifar", "32", "128", "20"])


def test_the_script_for_a_gpu_measures_on_a_processor_too(tmp_path: Path) -> None:
    options = argparse.Namespace(depths=[8], steps=4)
    found = gpu.steps(options)
    assert found["networks"]["resnet8-cifar"]["ratio"] > 0 and found["minutes_of_all"] > 0


def test_an_archive_in_parts_is_joined(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="archive|CIFAR|read"):
        (tmp_path / "cifar.tar.gz.00").write_bytes(b"no archive")
        with gpu.joined(str(tmp_path / "cifar.tar.gz")):
            pass
