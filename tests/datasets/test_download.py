"""Downloads against a server of our own: resumed, verified, and every way to fail."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from residua.datasets import download
from residua.datasets.download import File, fetch
from residua.errors import BadData, OutOfResources, Refused

DATA = bytes(range(256)) * 4000
NAME = "cifar-10-binary.tar.gz"


class Server(ThreadingHTTPServer):
    """Serves DATA with ranges; `behavior` makes it misbehave."""

    daemon_threads = True
    behavior = ""
    ranges: list[str]

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up early is what some tests are about."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.ranges.append(wanted)
        behavior = self.server.behavior
        if behavior.startswith("redirect "):
            self.send_response(302)
            self.send_header("Location", behavior.partition(" ")[2])
            self.end_headers()
        elif behavior == "missing" or not self.path.endswith(NAME):
            self.send_error(404)
        else:
            self.send(wanted, behavior)

    def send(self, wanted: str, behavior: str) -> None:
        start = int(wanted[6:-1]) if wanted and behavior != "no ranges" else 0
        if start >= len(DATA):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        shift = 1 if behavior == "another range" else 0
        if start:
            self.send_header("Content-Range", f"bytes {start + shift}-{len(DATA) - 1}/{len(DATA)}")
        if behavior == "endless":
            self.send_header("Content-Length", str(10**12))
        elif behavior != "no length":
            self.send_header("Content-Length", str(len(DATA) - start))
        self.end_headers()
        body = DATA[start:]
        self.wfile.write(body[: len(body) // 2] if behavior == "interrupted" else body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setitem(download.FILES, "cifar10", (File(f"x/{NAME}", md5(DATA)),))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(("127.0.0.1", 0), Handler) as running:
        running.ranges = []
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_fetches_and_reports(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    folder = fetch("cifar10", tmp_path, server.url, lambda now, total: told.append((now, total)))
    assert folder == tmp_path / "cifar10"
    assert [path.name for path in folder.iterdir()] == [NAME]
    assert (folder / NAME).read_bytes() == DATA
    assert told[-1] == (len(DATA), len(DATA)) and told == sorted(told)
    fetch("cifar10", tmp_path, server.url)
    assert server.ranges == [""], "a file that is there is not fetched again"


def test_an_interrupted_transfer_goes_on(server: Server, tmp_path: Path) -> None:
    server.behavior = "interrupted"
    with pytest.raises(OutOfResources, match=r"512,000 of 1,024,000 bytes(.|\n)*where it stopped"):
        fetch("cifar10", tmp_path, server.url)
    assert not (tmp_path / "cifar10" / NAME).exists()
    server.behavior = ""
    folder = fetch("cifar10", tmp_path, server.url)
    assert (folder / NAME).read_bytes() == DATA
    assert server.ranges == ["", "bytes=512000-"]


@pytest.mark.parametrize("behavior", ["no ranges", "no length", ""])
def test_a_part_is_continued_or_replaced(server: Server, tmp_path: Path, behavior: str) -> None:
    server.behavior = behavior
    part = tmp_path / "cifar10" / f"{NAME}.part"
    part.parent.mkdir()
    part.write_bytes(DATA[:1000])
    assert (fetch("cifar10", tmp_path, server.url) / NAME).read_bytes() == DATA
    assert not part.exists()


def test_a_part_that_is_too_long_is_replaced(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "cifar10" / f"{NAME}.part"
    part.parent.mkdir()
    part.write_bytes(DATA + b"more")
    assert (fetch("cifar10", tmp_path, server.url) / NAME).read_bytes() == DATA
    assert server.ranges == [f"bytes={len(DATA) + 4}-", ""]


def test_a_whole_part_needs_no_server(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "cifar10" / f"{NAME}.part"
    part.parent.mkdir()
    part.write_bytes(DATA)
    assert (fetch("cifar10", tmp_path, server.url) / NAME).read_bytes() == DATA
    assert server.ranges == []


def test_a_wrong_hash_leaves_nothing(server: Server, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(download.FILES, "cifar10", (File(f"x/{NAME}", "0" * 32),))
    with pytest.raises(BadData, match=r"not the official 0{32}; it was removed(.|\n)*--mirror"):
        fetch("cifar10", tmp_path, server.url)
    assert list((tmp_path / "cifar10").iterdir()) == []


def test_another_file_in_the_way_is_kept(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "cifar10" / NAME
    path.parent.mkdir()
    path.write_bytes(b"mine")
    with pytest.raises(BadData, match="already there is not the official"):
        fetch("cifar10", tmp_path, server.url)
    assert path.read_bytes() == b"mine"


def test_another_range_than_asked_for(server: Server, tmp_path: Path) -> None:
    part = tmp_path / "cifar10" / f"{NAME}.part"
    part.parent.mkdir()
    part.write_bytes(DATA[:1000])
    server.behavior = "another range"
    with pytest.raises(OutOfResources, match="another part"):
        fetch("cifar10", tmp_path, server.url)
    assert not part.exists()


@pytest.mark.parametrize(
    ("behavior", "kind", "message"),
    [
        ("missing", OutOfResources, "the server answers 404"),
        ("endless", BadData, "more than 400,000,000 bytes"),
        ("redirect file:///etc/passwd", OutOfResources, "'file:///etc/passwd' is not allowed"),
        ("redirect ftp://127.0.0.1/x", Refused, "not an http or https address"),
        ("redirect data:,x", OutOfResources, "'data:,x' is not allowed"),
    ],
)
def test_what_a_server_may_not_do(
    server: Server, tmp_path: Path, behavior: str, kind: type[Exception], message: str
) -> None:
    server.behavior = behavior
    with pytest.raises(kind, match=f"{message}(.|\n)*where: (.|\n)*fix: "):
        fetch("cifar10", tmp_path, server.url)
    assert list((tmp_path / "cifar10").iterdir()) == []


def test_redirects_on_http_are_followed(server: Server, tmp_path: Path) -> None:
    with Server(("127.0.0.1", 0), Handler) as other:
        other.ranges, other.behavior = [], f"redirect {server.url}/{NAME}"
        thread = threading.Thread(target=other.serve_forever, args=(0.02,))
        thread.start()
        try:
            assert (fetch("cifar10", tmp_path, other.url) / NAME).read_bytes() == DATA
        finally:
            other.shutdown()
            thread.join()


def test_a_file_without_a_length_is_bounded(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.behavior = "no length"
    monkeypatch.setattr(download, "LIMIT", 500_000)
    with pytest.raises(BadData, match="more than 500,000 bytes"):
        fetch("cifar10", tmp_path, server.url)


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server(("127.0.0.1", 0), Handler) as closed:
        url = closed.url
    with pytest.raises(
        OutOfResources, match=r"no connection: .*refused(.|\n)*where: http(.|\n)*fix:"
    ):
        fetch("cifar10", tmp_path, url)


@pytest.mark.parametrize("mirror", ["file:///tmp", "ftp://host/x", "/tmp", "https://", "data:,x"])
def test_mirrors_are_http(tmp_path: Path, mirror: str) -> None:
    with pytest.raises(Refused, match="not an http or https address"):
        fetch("cifar10", tmp_path, mirror)


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(Refused, match='did you mean "cifar10"'):
        fetch("cifar-10", tmp_path)


def test_a_destination_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutOfResources, match=r"cannot write(.|\n)*another destination"):
        fetch("cifar10", tmp_path / "file")


def test_the_official_files() -> None:
    assert set(download.FILES) == {"cifar10", "cifar100", "fashion-mnist"}
    for files in download.FILES.values():
        for file in files:
            assert file.url.startswith(("https://", "http://")) and len(file.md5) == 32
