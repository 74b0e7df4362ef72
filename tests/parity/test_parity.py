"""The same weights give the same answers in torchvision, timm and transformers: `make parity`.

The comparison itself is benchmarks/parity.py, which also records its numbers; here images are
smaller where that changes no network.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))
from parity import Pair, compare, pairs  # noqa: E402

FULLY_CONNECTED = ("vgg", "alexnet")  # their heads are made for one size

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # those of the other projects
]


@pytest.mark.parametrize("pair", list(pairs()), ids=lambda pair: f"{pair.style}-{pair.ours}")
def test_answers_are_theirs(pair: Pair) -> None:
    if find_spec(pair.style) is None:
        pytest.skip(f"{pair.style} is not installed: make parity")
    found = compare(pair, 224 if pair.ours.startswith(FULLY_CONNECTED) else 128)
    assert found.logit > 0.1
    assert found.same, found
