"""Measurements in parts: data cut up for transport, and the results of one part at a time."""

import json
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from residua import datasets
from residua.datasets.dataset import Dataset

Found = dict[str, Any]


@contextmanager
def joined(data: str) -> Iterator[Dataset]:
    """The data set at a path, or whose archive lies in parts that begin with it."""
    path = Path(data)
    if path.exists():
        yield datasets.load(path)
        return
    parts = sorted(path.parent.glob(f"{path.name}*"))
    if not parts:
        yield datasets.load(data)
        return
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place, "cifar-10-binary.tar.gz")
        with whole.open("wb") as file:
            for part in parts:
                with part.open("rb") as piece:
                    shutil.copyfileobj(piece, file)
        yield datasets.load(whole)


def read(path: Path) -> Found:
    return json.loads(path.read_text()) if path.exists() else {}


def write(path: Path, table: Found) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def machine() -> Found:
    """The GPU and what runs on it."""
    gpu = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
    return {
        "gpu": gpu.name if gpu else "none",
        "memory_gb": round(gpu.total_memory / 1e9, 1) if gpu else 0,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }
