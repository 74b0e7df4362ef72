"""What several tests share: one thread of torch, a finished run, real data if it is here."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
import torch
from hypothesis import settings

from residua import api, workflow

torch.set_num_threads(1)  # the tests run in parallel processes, and sums keep their order
settings.register_profile("shared", deadline=None)  # other work may hold the processor
settings.load_profile("shared")

ROOT = Path(__file__).resolve().parent.parent
SHARED_FILES = ("cifar-10-binary.tar.gz", "weights/cifar-resnet20-option-a.th")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Undo what a test that runs a network on all cores leaves behind."""
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder that holds SHARED_FILES: CIFAR-10 and a trained ResNet-20."""
    folder = Path(os.environ.get("RESIDUA_DATA") or ROOT.parent / "shared" / "data")
    missing = [name for name in SHARED_FILES if not (folder / name).is_file()]
    if missing:
        pytest.skip(f"no {missing[0]} in {folder}; set RESIDUA_DATA to a folder that has it")
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> api.Run:
    """A run on the bundled digits, trained, tested and reported; not to be written to."""
    job = tiny.job("digits", epochs=2, batch=64)
    run = workflow.begin(job, tmp_path_factory.mktemp("runs"), ["test"])
    for _ in workflow.follow(job, run):
        pass
    return api.Run(run)
