"""What several tests share: one thread of torch, and the real data where a machine has it."""

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # the tests run in parallel processes, and sums keep their order

ROOT = Path(__file__).resolve().parent.parent
SHARED_FILES = ("cifar-10-binary.tar.gz", "weights/cifar-resnet20-option-a.th")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder that holds SHARED_FILES: CIFAR-10 and a trained ResNet-20."""
    folder = Path(os.environ.get("RESIDUA_DATA") or ROOT.parent / "shared" / "data")
    missing = [name for name in SHARED_FILES if not (folder / name).is_file()]
    if missing:
        pytest.skip(f"no {missing[0]} in {folder}; set RESIDUA_DATA to a folder that has it")
    return folder
