"""Fetch a published data set, when asked to, and only what its official hash confirms.

A download goes to a .part file that a later call continues (HTTP Range) and takes its name only
once its MD5, the hash that its publishers give, is right. Only http and https are followed.
"""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit

from residua.errors import BadData, OutOfResources, Refused, unknown

LIMIT = 400_000_000  # bytes of one file; the largest official one has 0.17 GB
CHUNK = 1 << 18
SECONDS = 30  # without a byte from the server
AGAIN = "run the same command again: it goes on where it stopped"
Progress = Callable[[int, int], None]  # bytes so far, bytes in all


class File(NamedTuple):
    url: str
    md5: str


_CIFAR = "https://www.cs.toronto.edu/~kriz"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
FILES: dict[str, tuple[File, ...]] = {
    "cifar10": (File(f"{_CIFAR}/cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),),
    "cifar100": (File(f"{_CIFAR}/cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"),),
    "fashion-mnist": (
        File(f"{_FASHION}/train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        File(f"{_FASHION}/train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
        File(f"{_FASHION}/t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
        File(f"{_FASHION}/t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
    ),
}


def fetch(
    name: str,
    destination: Path = Path("data"),
    mirror: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download data set `name` into destination/name and return that folder.

    `mirror` is a base URL that replaces the official one; the hash is checked all the same.
    Raises Refused, BadData (a wrong hash) or OutOfResources (network or disk).
    """
    if name not in FILES:
        raise unknown("data set to download", name, FILES)
    folder = destination / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in FILES[name]:
            base = file.url.rpartition("/")[2]
            url = f"{mirror.rstrip('/')}/{base}" if mirror else file.url
            _fetch(url, file.md5, folder / base, progress)
    except OSError as error:
        raise OutOfResources(
            f"cannot write: {error.strerror or error}", str(folder), "choose another destination"
        ) from error
    return folder


def _fetch(url: str, md5: str, path: Path, progress: Progress | None) -> None:
    if path.exists():
        if _md5(path) != md5:
            raise BadData(
                "the file that is already there is not the official one",
                str(path),
                "remove or rename it, then download again",
            )
        return
    part = path.with_name(path.name + ".part")
    if not part.exists() or _md5(part) != md5:
        _receive(url, part, progress)
    if _md5(part) != md5:
        part.unlink()  # to continue a wrong file would only make a longer wrong file
        raise BadData(
            f"the MD5 of the download is not the official {md5}; it was removed",
            url,
            "try again, or another --mirror",
        )
    os.replace(part, path)


def _receive(url: str, part: Path, progress: Progress | None) -> None:
    """Append what is missing of `url` to `part`, or start again if the server cannot continue."""
    start = part.stat().st_size if part.exists() else 0
    with _open(url, start) as response:
        if response.status != 206:
            start = 0
        elif _range_start(response) != start:
            part.unlink()
            raise _network("the server sent another part than was asked for", url, AGAIN)
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else 0
        if total > LIMIT:
            raise _too_large(url)
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            _copy(response, file, url, total, progress)
    if total and part.stat().st_size < total:
        got = part.stat().st_size
        raise _network(f"the transfer ended after {got:,} of {total:,} bytes", url, AGAIN)


def _copy(
    response: http.client.HTTPResponse, file: IO[bytes], url: str, total: int, told: Progress | None
) -> None:
    while True:
        try:
            chunk = response.read(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _network(f"the transfer was interrupted: {error!r}", url, AGAIN) from error
        if not chunk:
            break
        file.write(chunk)
        if file.tell() > LIMIT:
            raise _too_large(url)
        if told:
            told(file.tell(), total)
    file.flush()
    os.fsync(file.fileno())


def _open(url: str, start: int) -> http.client.HTTPResponse:
    """The response to a request for `url` from byte `start` on."""
    _check_scheme(url)
    request = urllib.request.Request(url, headers={"User-Agent": "residua"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response: http.client.HTTPResponse = _opener().open(request, timeout=SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if start and error.code == 416:  # the part is as long as the file, or longer: start again
            return _open(url, 0)
        raise _network(f"the server answers {error.code} {error.reason}", url) from error
    except urllib.error.URLError as error:
        raise _network(f"no connection: {error.reason}", url) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _network(f"no connection: {error!r}", url) from error
    return response


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Redirects that stay on http and https."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, *rest: Any
    ) -> urllib.request.Request | None:
        _check_scheme(rest[-1])
        return super().redirect_request(req, fp, code, *rest)


def _opener() -> urllib.request.OpenerDirector:
    """An opener without the usual handlers for file, ftp and data URLs."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener


def _check_scheme(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise Refused("not an http or https address", url, "give a mirror such as https://host/dir")


def _range_start(response: http.client.HTTPResponse) -> int:
    first = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdigit() else -1


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest()


def _network(
    what: str, url: str, fix: str = "check the connection and the mirror"
) -> OutOfResources:
    return OutOfResources(what, url, fix)


def _too_large(url: str) -> BadData:
    return BadData(f"the file has more than {LIMIT:,} bytes", url, "give another --mirror")
