"""Fetching files, checked before they get their name."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Callable, Iterator, Optional

from ..errors import GluonAFFError, UsageError
from . import console
from .files import PathLike, atomic_write

_CHUNK = 1 << 20
_BUSY = (408, 429, 500, 502, 503, 504)

Verify = Callable[[Path], None]


class _Broken(Exception):
    """The connection broke or the server had trouble: worth another attempt."""


class _Unreachable(_Broken):
    """No connection, or the server refuses: another attempt now would not help."""


def expect(md5: Optional[str] = None, sha1: Optional[str] = None) -> Verify:
    """Return a check of a file's digests, hexadecimal. Given a path, it raises GluonAFFError naming what differs."""

    def verify(path: Path) -> None:
        for name, new, wanted in (("md5", hashlib.md5, md5), ("SHA-1", hashlib.sha1, sha1)):
            digest = new()
            with open(path, "rb") as handle:
                for chunk in iter(lambda: handle.read(_CHUNK), b""):
                    digest.update(chunk)
            if wanted is not None and digest.hexdigest() != wanted:
                raise GluonAFFError(f"it has {name} {digest.hexdigest()}, expected {wanted}")

    return verify


def download(
    url: str,
    path: PathLike,
    *,
    verify: Optional[Verify] = None,
    timeout: float = 30,
    attempts: int = 5,
    pause: float = 1,
) -> Path:
    """Fetch ``url`` into ``path`` unless that is there already. It gets its name when all is there and verified.

    Parameters
    ----------
    verify : callable, optional
        Takes the path of the whole file, and raises GluonAFFError when it is wrong; see `expect`.
    timeout : float
        Seconds of every wait for the server.
    attempts : int
        Where the connection breaks or the server is busy.
    pause : float
        Seconds between two attempts; doubles from one to the next.

    Raises
    ------
    UsageError
        When ``url`` is not an address.
    GluonAFFError
        When nothing comes or it is wrong; it says which file to put where by hand.
    """
    path = Path(path)
    by_hand = f"run it again, or get the file {url} by other means and put it at {path}"
    for attempt in range(attempts):
        if path.exists():
            break
        try:
            with _opened(url, timeout) as response, atomic_write(path, "wb") as handle:
                _write(response, handle, url)
                if verify is not None:
                    _verify(Path(handle.name), verify, url)
        except _Broken as error:
            if attempt == attempts - 1 or isinstance(error, _Unreachable):
                raise GluonAFFError(f"cannot download {path.name} ({error}): {by_hand}") from error
            time.sleep(pause * 2**attempt)
    return path


def _opened(url: str, timeout: float) -> http.client.HTTPResponse:
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "gluon-aff", "Accept-Encoding": "identity"})
        return urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        kind = _Broken if error.code in _BUSY else _Unreachable
        raise kind(f"the server answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _Unreachable(f"no connection: {error.reason}") from error
    except (ValueError, http.client.InvalidURL) as error:
        raise UsageError(f"{url!r} is not an address: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(f"no answer: {error}") from error


def _write(response: http.client.HTTPResponse, handle: IO[bytes], url: str) -> None:
    length = response.headers.get("Content-Length") or ""
    total = int(length) if length.isdecimal() else None
    chunks = None if total is None else -(-total // _CHUNK)
    for chunk in console.progress(_chunks(response), total=chunks, label=url.rsplit("/", 1)[-1], unit="MB"):
        handle.write(chunk)
    handle.flush()
    if total is not None and handle.tell() < total:
        raise _Broken(f"the connection closed after {handle.tell()} of {total} bytes")


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _Broken(f"the connection broke: {error}") from error
        if not chunk:
            return
        yield chunk


def _verify(path: Path, verify: Verify, url: str) -> None:
    try:
        verify(path)
    except GluonAFFError as error:
        raise GluonAFFError(f"what {url} sent is wrong: {error}; nothing was kept, try again later") from error
