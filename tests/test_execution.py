"""Where a step runs: devices by name, arithmetic, threads, memory format."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from residua import networks
from residua import resources as module
from residua.errors import Refused
from residua.execution import execution, find_device
from residua.recipes import Recipe
from residua.resources import cores, free_memory


def test_a_recipe_decides_threads_and_arithmetic() -> None:
    run_on = execution(Recipe(device="cpu", precision="fp32", threads=2))
    assert (run_on.device.type, run_on.threads, torch.get_num_threads()) == ("cpu", 2, 2)
    assert run_on.check_every == 1
    assert execution(Recipe()).threads == cores() == torch.get_num_threads()


def test_bf16_computes_in_bf16_and_keeps_weights_in_fp32() -> None:
    layer = torch.nn.Linear(4, 4)
    with execution(Recipe(precision="bf16", threads=1)).autocast():
        assert layer(torch.ones(1, 4)).dtype == torch.bfloat16
    with execution(Recipe(precision="fp32", threads=1)).autocast():
        assert layer(torch.ones(1, 4)).dtype == torch.float32
    assert layer.weight.dtype == torch.float32


def test_networks_are_placed_channels_last() -> None:
    network = networks.build("resnet8-cifar", 3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    placed = execution(Recipe(threads=1)).place(network)
    wide = [weight for weight in placed.parameters() if weight.ndim == 4 and weight.shape[2] > 1]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in wide)
    assert all(torch.equal(before[name], value) for name, value in placed.state_dict().items())


def test_fp16_without_a_gpu_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        execution(Recipe(device="cpu", precision="fp16"))
    assert refused.value.fix == "use bf16 or fp32"


@pytest.mark.parametrize("name", ["cuda:99", "tpu", "cpu:1", ""])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(Refused) as refused:
        find_device(name)
    assert f'"{name}"' in refused.value.what and "cpu" in refused.value.fix


def test_a_container_limits_cores_and_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CGROUP", tmp_path)
    monkeypatch.setattr(module, "OWN_GROUP", tmp_path / "cgroup")
    (tmp_path / "cgroup").write_text("4:memory:/old\n0::/box\n")
    unlimited = cores()
    tmp_path /= "box"
    tmp_path.mkdir()
    for text, expected in (("100000 100000", 1), ("50000 100000", 1), ("max 100000", unlimited)):
        (tmp_path / "cpu.max").write_text(text)
        assert cores() == expected
    (tmp_path / "memory.max").write_text("600000000\n")
    (tmp_path / "memory.current").write_text("450000000\n")
    assert free_memory() == 150_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() > 150_000_000


def test_a_container_of_the_older_kind_limits_them_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CGROUP", tmp_path)
    monkeypatch.setattr(module, "OWN_GROUP", tmp_path / "cgroup")
    (tmp_path / "cgroup").write_text(
        "9:name=systemd:/box\n5:cpu,cpuacct:/box\n4:memory:/box\n0::/\n"
    )
    unlimited, free = cores(), free_memory()
    assert free > 150_000_000
    for folder in (tmp_path / "cpu", tmp_path / "memory" / "box"):  # as root of its own, and not
        folder.mkdir(parents=True)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    for text, expected in (("100000\n", 1), ("-1\n", unlimited)):
        (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(text)
        assert cores() == expected
    (tmp_path / "memory" / "box" / "memory.limit_in_bytes").write_text("600000000\n")
    (tmp_path / "memory" / "box" / "memory.usage_in_bytes").write_text("450000000\n")
    assert free_memory() == 150_000_000


def test_memory_that_a_step_frees_is_kept_for_the_next() -> None:
    """In a process of its own, for it lasts: no page is asked for twice."""
    code = """
import resource, torch
from residua.execution import hold_memory
hold_memory()
def faults():
    for _ in range(20):
        torch.ones(2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
print(faults() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100  # of the 20,480 that it takes otherwise


@pytest.mark.gpu
def test_cuda_is_the_first_gpu() -> None:
    assert find_device("cuda") == torch.device("cuda:0")
    assert execution(Recipe(device="cuda", precision="fp16")).scaler.is_enabled()
