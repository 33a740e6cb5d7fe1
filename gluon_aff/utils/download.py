"""Fetching files: resumed after a break, checked before they get their name, safe for several processes at once."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Callable, Iterator, Optional

from ..errors import GluonAFFError, UsageError
from . import console
from .files import PathLike, sync

_CHUNK = 1 << 20
_TRANSIENT_STATUS = (408, 429, 500, 502, 503, 504)

Verify = Callable[[Path], None]


class _Interrupted(Exception):
    """The connection broke or the server had trouble: worth another attempt."""


class _Unreachable(Exception):
    """No connection, or the server refuses: another attempt now would not help."""


def expect(
    size: Optional[int] = None,
    md5: Optional[str] = None,
    sha1: Optional[str] = None,
    git_blob_sha1: Optional[str] = None,
) -> Verify:
    """A check of a file's size and digests.

    Parameters
    ----------
    size : int, optional
        Bytes.
    md5, sha1, git_blob_sha1 : str, optional
        Hexadecimal.

    Returns
    -------
    callable
        Takes a file's path, and raises GluonAFFError naming what differs.
    """

    def verify(path: Path) -> None:
        found_size = path.stat().st_size
        digests = {"md5": hashlib.md5(), "SHA-1": hashlib.sha1(), "git blob SHA-1": hashlib.sha1()}
        digests["git blob SHA-1"].update(b"blob %d\0" % found_size)
        wanted = {"md5": md5, "SHA-1": sha1, "git blob SHA-1": git_blob_sha1}
        used = [name for name, digest in wanted.items() if digest is not None]
        if size is not None and found_size != size:
            raise GluonAFFError(f"{path.name} has {found_size} bytes, expected {size}")
        with open(path, "rb") as handle:
            for chunk in iter(lambda: handle.read(_CHUNK), b""):
                for name in used:
                    digests[name].update(chunk)
        for name in used:
            found = digests[name].hexdigest()
            if found != wanted[name]:
                raise GluonAFFError(f"{path.name} has {name} {found}, expected {wanted[name]}")

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
    """Fetch ``url`` into ``path`` unless that is there already.

    Bytes gather in ``<path>.part``, which a later call continues; when it is whole and verified it is renamed. A second
    process waits for the first.

    Parameters
    ----------
    url : str
    path : path
    verify : callable, optional
        Takes the path of the whole file, and raises GluonAFFError when it is wrong; see `expect`.
    timeout : float
        Seconds of every wait for the server.
    attempts : int
        It gives up after so many in a row that brought nothing.
    pause : float
        Seconds between two attempts; doubles from one to the next.

    Returns
    -------
    Path

    Raises
    ------
    UsageError
        When ``url`` is not an address.
    GluonAFFError
        When nothing comes or it is wrong; it says which file to put where by hand.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    by_hand = f"run it again to go on, or get the file {url} by other means and put it at {path}"
    while not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(part, "ab") as handle:
                _lock(handle, path)
                try:
                    if path.exists() or not _is_still(part, handle):
                        continue  # another process was faster
                    _fetch_verified(url, handle, part, verify, timeout, attempts, pause)
                    os.fsync(handle.fileno())
                    os.replace(part, path)
                    sync(path.parent)
                finally:
                    if _is_still(part, handle) and part.stat().st_size == 0:
                        part.unlink()
        except (_Unreachable, _Interrupted) as error:
            raise GluonAFFError(f"cannot download {path.name} ({error}): {by_hand}") from error
        except OSError as error:
            raise GluonAFFError(
                f"cannot write {error.filename or path} ({error.strerror or error}): choose another place or make room"
            ) from error
    return path


def _lock(handle: IO[bytes], path: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"another process is downloading {path}: waiting for it", file=sys.stderr)
        fcntl.flock(handle, fcntl.LOCK_EX)
    handle.seek(0, os.SEEK_END)


def _empty(handle: IO[bytes]) -> None:
    handle.seek(0)
    handle.truncate()


def _is_still(part: Path, handle: IO[bytes]) -> bool:
    return part.exists() and os.path.samestat(part.stat(), os.fstat(handle.fileno()))


def _fetch_verified(
    url: str,
    handle: IO[bytes],
    part: Path,
    verify: Optional[Verify],
    timeout: float,
    attempts: int,
    pause: float,
) -> None:
    """Fill the part file and verify it; one that began as a leftover and proves wrong is fetched anew, once."""
    resumed = handle.tell() > 0
    _fetch(url, handle, timeout, attempts, pause)
    if verify is None:
        return
    try:
        verify(part)
    except GluonAFFError as error:
        _empty(handle)
        if not resumed:
            raise GluonAFFError(f"what {url} sent is wrong: {error}; nothing was kept, try again later") from error
        _fetch_verified(url, handle, part, verify, timeout, attempts, pause)


def _fetch(url: str, handle: IO[bytes], timeout: float, attempts: int, pause: float) -> None:
    """Append to the part file until it is whole."""
    failures, received = 0, False
    while True:
        before = handle.tell()
        try:
            _fetch_rest(url, handle, timeout)
            return
        except (_Interrupted, _Unreachable) as error:
            progressed = handle.tell() > before
            received = received or progressed
            failures = 0 if progressed else failures + 1
            # A line that is dead from the start is reported at once; one that dies on the way may come back.
            if failures == attempts or (isinstance(error, _Unreachable) and not received):
                raise
            time.sleep(pause * 2 ** max(failures - 1, 0))


def _fetch_rest(url: str, handle: IO[bytes], timeout: float) -> None:
    """One request for what is missing; raises _Interrupted when less than all of it came."""
    have = handle.tell()
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "gluon-aff", "Accept-Encoding": "identity"})
        if have:
            request.add_header("Range", f"bytes={have}-")
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing after what we have: whole, or from another file, as verify will tell
            if error.headers.get("Content-Range") != f"bytes */{have}":
                _empty(handle)
                raise _Interrupted("the part file does not fit the server's file") from error
            return
        kind = _Interrupted if error.code in _TRANSIENT_STATUS else _Unreachable
        raise kind(f"the server answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _Unreachable(f"no connection: {error.reason}") from error
    except (ValueError, http.client.InvalidURL) as error:
        raise UsageError(f"{url!r} is not an address: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(f"no answer: {error}") from error
    with response:
        if have and response.status != 206:  # it sends the whole file
            _empty(handle)
            have = 0
        elif have and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise _Unreachable(f"asked from byte {have} on, the server sends {response.headers.get('Content-Range')}")
        length = response.headers.get("Content-Length")
        total = int(length) if length and length.isdecimal() else None
        chunks = None if total is None else -(-total // _CHUNK)
        label = url.rsplit("/", 1)[-1]
        for chunk in console.progress(_chunks(response), total=chunks, label=label, unit="MB"):
            handle.write(chunk)
        handle.flush()
        if total is not None and handle.tell() < have + total:
            raise _Interrupted(f"the connection closed after {handle.tell()} of {have + total} bytes")


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _Interrupted(f"the connection broke: {error}") from error
        if not chunk:
            return
        yield chunk
