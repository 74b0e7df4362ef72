"""Several processes: their shares are a partition, and together they find what one finds."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_scoring import Brightness
from test_testing import colors_and_two_networks

from residua import distributed
from residua.scoring import Scored, empty, merged

TESTS = Path(__file__).resolve().parent


def test_alone_everything_is_mine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("RANK", raising=False)
    assert (distributed.world(), distributed.rank()) == (1, 0)
    assert distributed.share(5).tolist() == [0, 1, 2, 3, 4]
    mine = object()
    assert distributed.gathered(mine) == [mine]


@given(total=st.integers(0, 50), world=st.integers(1, 8))
def test_shares_are_a_partition_of_equal_parts_that_merges_into_the_whole(
    total: int, world: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORLD_SIZE", str(world))
        shares = []
        for rank in range(world):
            patch.setenv("RANK", str(rank))
            shares.append(distributed.share(total).numpy())
    assert sorted(np.concatenate(shares).tolist()) == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    if not total:
        return
    dice = np.random.default_rng(total)
    scores, readable = dice.random((total, 3), np.float32), dice.random(total) < 0.7
    readable[0] = True
    parts = [Scored((scores[share],), readable[share]) for share in shares]
    whole = merged(parts, empty([Brightness(3)], total))
    assert np.array_equal(whole.members[0], scores)
    assert np.array_equal(whole.readable, readable)


SCRIPT = """
import sys
from pathlib import Path
import numpy as np
import torch
from residua import datasets, distributed
from residua.checkpoints import read_weights
from residua.execution import execution
from residua.protocols import Protocol
from residua.recipes import Recipe
from residua.testing import Asking, evaluate
from residua.predictor import Predictor
from residua.scoring import score

folder = Path(sys.argv[1])
data = datasets.load(folder / "colors")
weights = [read_weights(folder / f"{name}.safetensors") for name in "ab"]
run_on = execution(Recipe(threads=1, device="cpu", precision="fp32"))
tested, (first, _) = evaluate(weights, data, "all", run_on, Asking(Protocol("ten-crop"), batch=5))
few = score([Predictor(weights[0], run_on)], data.splits["train"].select([3]), 4)
np.savez(
    folder / f"found{distributed.world()}-{distributed.rank()}.npz",
    scores=tested.scores, predictions=tested.predictions, first=first.scores,
    readable=tested.readable, names=np.array(tested.names), error=tested.error,
    few=few.members[0],
)
"""


def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    """37 images, one of which is no image, by an ensemble; also fewer images than processes."""
    colors_and_two_networks(tmp_path, images=37)
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS.parent / "src")}
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for launch in ([], torchrun):
        command = [sys.executable, *launch, str(tmp_path / "script.py"), str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
    alone, *shared = (
        dict(np.load(tmp_path / f"found{name}.npz")) for name in ("1-0", "2-0", "2-1")
    )
    assert alone["error"] > 0 and not alone["readable"].all()
    for found in shared:
        for exact in ("error", "predictions", "names", "readable"):
            assert np.array_equal(found[exact], alone[exact]), exact
        for near in ("scores", "first", "few"):
            assert np.allclose(found[near], alone[near], rtol=0, atol=1e-6), near
        assert len(found["names"]) == 37 and len(found["few"]) == 1
