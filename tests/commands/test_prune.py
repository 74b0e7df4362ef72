"""`residua prune` from the command line: a smaller network, its run, and what it cost."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from residua import checkpoints, networks
from residua.commands import prune
from residua.errors import Refused
from residua.pruning import Removal
from residua.runs import RunDirectory
from residua.workflow import reopen

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def pruned(residua: Call, tmp_path_factory: pytest.TempPathFactory) -> Any:
    runs = tmp_path_factory.mktemp("runs")
    words = ("resnet20-digits", "digits", "--blocks", 2, "--epochs", 1, "--lr", 0.02)
    return residua("prune", *words, "--runs", runs, "--json", "--quiet")


def test_a_smaller_network_is_a_run_of_its_own(pruned: Any) -> None:
    assert pruned.code == 0, pruned.err
    told = pruned.json
    run = RunDirectory.open(Path(told["run"]))
    weights = checkpoints.read_weights(run.weights)

    assert len(told["removed"]) == 2
    assert told["removed"] == [each["block"] for each in told["order"]]
    assert (told["before"]["layers"], told["after"]["layers"]) == (20, 16)
    assert weights.network == told["after"]["network"]
    assert "blocks=" in weights.network and networks.parse(weights.network)[1] == 20
    assert told["after"]["multiply_adds"] < told["before"]["multiply_adds"]
    assert json.loads((run.path / "pruning.json").read_text()) == told
    assert run.info()["status"] == "done"


def test_both_networks_answer_the_same_test_images(pruned: Any) -> None:
    told, pair = pruned.json, pruned.json["comparison"]
    before, after = told["before"], told["after"]
    assert before["total"] == after["total"] == pair["total"] == 360
    assert before["split"] == "test"
    assert before["wrong"] == pair["both_wrong"] + pair["only_first_wrong"]
    assert after["wrong"] == pair["both_wrong"] + pair["only_second_wrong"]
    low, high = told["speedup"]["interval"]
    assert 0 < low <= told["speedup"]["ratio"] <= high


def test_the_test_images_choose_nothing(pruned: Any) -> None:
    run = RunDirectory.open(Path(pruned.json["run"]))
    reads = run.info()["test_reads"]
    assert {read["why"] for read in reads} == {"the end of training", "residua prune"}
    assert not any(read["early"] for read in reads)
    assert pruned.json["order"][0]["images"] == pruned.json["held_out"]


def test_the_run_can_be_used_and_taken_up_again(pruned: Any, residua: Call, tmp_path: Path) -> None:
    run = Path(pruned.json["run"])
    _, job = reopen(run)  # from its own copy of the pruned weights
    assert job.task.network.name == pruned.json["after"]["network"]
    assert Path(job.recipe.init or "").is_file()
    Image.new("RGB", (8, 8)).save(tmp_path / "black.png")
    answer = residua("predict", run, tmp_path / "black.png", "--json")
    assert answer.code == 0, answer.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("resnet20-digits", "digits", "--blocks", 7), "at most 6 can go"),
        (("resnet20-digits", "digits", "--blocks", 0), "--blocks must be at least 1"),
        (("resnet20-digits", "digits", "--points", -1), "--points at least 0"),
        (("resnet20-digits",), "no data of its own"),
        (("resnet20-cifar10", "digits"), "other classes"),
        (("resnet20-digits", "resnet20-cifar10", "digits"), "one network is pruned at a time"),
        (("no-such-run", "digits"), "no run or weights"),
    ],
)
def test_what_cannot_be_pruned_is_refused(
    residua: Call, words: tuple[object, ...], says: str
) -> None:
    answer = residua("prune", *words)
    assert answer.code == 2
    assert says in answer.err
    assert not Path("runs").exists()


def test_a_network_without_a_block_to_spare_is_refused(residua: Call, trained: Path) -> None:
    answer = residua("prune", trained)  # resnet8: one block in each stage
    assert answer.code == 2
    assert "too few blocks to spare" in answer.err


@given(costs=st.lists(st.integers(0, 30), min_size=1, max_size=24), points=st.integers(0, 30))
def test_as_many_blocks_go_as_cost_few_enough_points(costs: list[int], points: int) -> None:
    """Errors that rise with every block: halving finds the last that is low enough."""
    errors = [0.1 + sum(costs[:count]) / 1000 for count in range(len(costs) + 1)]
    model = SimpleNamespace(weights=0, name="a")
    options = prune.Options(points=points / 10)
    work = prune.Work(model, None, None, [0] * 100, None, options)  # type: ignore[arg-type]
    order = [Removal(f"stage1.{place}", 0.0, 0, 1) for place in range(len(costs))]
    tried: list[int] = []

    def trained_on(work: Any, gone: list[Removal], terminal: Any) -> int:
        tried.append(len(gone))
        return len(gone)

    allowed = [count for count, error in enumerate(errors) if error <= 0.1 + points / 10 / 100]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prune, "trained_on", trained_on)
        patch.setattr(prune, "read", lambda run: run)
        patch.setattr(prune, "wrong_share", lambda work, count: errors[count])
        if allowed[-1] == 0:
            with pytest.raises(Refused, match="no block can go"):
                prune.searched(work, order, MagicMock())
        else:
            assert prune.searched(work, order, MagicMock()) == (allowed[-1],) * 2
    assert len(tried) == len(set(tried)) <= math.ceil(math.log2(len(costs) + 1))
