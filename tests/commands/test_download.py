"""download: from a mirror on this machine."""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from residua.datasets import download

Call = Callable[..., Any]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a folder with a small file in place of CIFAR-10's."""
    content = b"cifar" * 1000
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "small.tar.gz").write_bytes(content)
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    files = {"cifar10": (download.File("https://example.org/small.tar.gz", digest),)}
    monkeypatch.setattr(download, "FILES", files)
    handler = partial(Quiet, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_mirror(mirror: str, residua: Call) -> None:
    answer = residua("download", "cifar10", "--mirror", mirror)
    assert answer.code == 0, answer.err
    assert answer.out.endswith("next: residua check cifar10\n")
    assert Path("data/cifar10/small.tar.gz").stat().st_size == 5000
    answer = residua("download", "cifar10", "--mirror", mirror, "--to", "other", "--json")
    assert answer.json == {"name": "cifar10", "path": "other/cifar10"}


def test_a_file_that_is_not_the_official_one(mirror: str, tmp_path: Path, residua: Call) -> None:
    (tmp_path / "served" / "small.tar.gz").write_bytes(b"other")
    answer = residua("download", "cifar10", "--mirror", mirror)
    assert answer.code == 3
    assert "the official" in answer.err


def test_no_server_and_no_address(mirror: str, residua: Call) -> None:
    assert residua("download", "cifar10", "--mirror", f"{mirror}/none").code == 4
    assert residua("download", "cifar10", "--mirror", "file:///etc").code == 2
