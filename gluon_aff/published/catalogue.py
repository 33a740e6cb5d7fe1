"""The weight files that the authors published: params/catalogue.json, where they lie, and fetching them."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Dict, List, Optional

from ..errors import GluonAFFError, UsageError, near_matches, similar
from ..facts import params_directory
from ..runtime import mxnet_home
from ..utils.download import download
from ..utils.files import PathLike

#: What the records' ``metric`` is called elsewhere.
METRICS = {"acc": "accuracy", "err-top1": "top-1 error", "iou": "IoU"}
_LIST = "gluon-aff published list"


def catalogue() -> Dict[str, Dict[str, Any]]:
    """id -> record; params/README.md explains the fields. Read once, and again when the file has changed."""
    path = params_directory() / "catalogue.json"
    state = path.stat()
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1)
def _read(path: Path, *state: int) -> Dict[str, Dict[str, Any]]:
    with open(path, encoding="utf-8") as handle:
        return {record["id"]: record for record in json.load(handle)}


def list_published() -> List[str]:
    """Ids of the 24 published files and of three other readings of files whose constructor is uncertain."""
    return sorted(catalogue())


def ids_by_model() -> Dict[str, List[str]]:
    """Name of a model -> ids of the published files that fit it as the name stands, with its own fusion."""
    found: Dict[str, List[str]] = {}
    for identity, entry in catalogue().items():
        if "fusion" not in entry["model"]["options"] and not entry["alternative_reading_of"]:
            found.setdefault(entry["model"]["name"], []).append(identity)
    return found


def record(identity: str) -> Dict[str, Any]:
    """One record. Raises UsageError with near matches for an unknown id."""
    records = catalogue()
    if identity not in records:
        raise UsageError(f"no published weights {identity!r}: {near_matches(identity, records, _LIST)}")
    return records[identity]


def no_weights(name: object) -> str:
    """The message for a name that is neither a file nor an id, with the ids that are like it."""
    close = similar(str(name), catalogue())
    return f"{name} is neither a file nor an id of `{_LIST}`" + (f": did you mean {', '.join(close)}?" if close else "")


def models_directory() -> Path:
    """Where weight files are looked for: ``$MXNET_HOME/models``, by default ``~/.mxnet/models``."""
    return mxnet_home() / "models"


def place_of(identity: str) -> Path:
    """Where the file of a catalogue id belongs, whether it is there or not. Raises UsageError for an unknown id."""
    return models_directory() / record(identity)["file"]


def address(identity: str) -> str:
    """Where the authors published the file of a catalogue id."""
    return record(identity)["address"]


def find_file(identity: str) -> Path:
    """The file of a catalogue id under the models directory.

    Raises GluonAFFError, with the file's address in the authors' repository, when it is not there.
    """
    path = place_of(identity)
    if not path.is_file():
        raise GluonAFFError(
            f"{identity} is not at {path}: run `gluon-aff published fetch {identity}`, or get {address(identity)} by "
            "other means and put it there"
        )
    return path


def git_blob_sha1(path: PathLike) -> str:
    """The SHA-1 that git gives a file: of ``"blob <size>\\0"`` and its bytes. Raises GluonAFFError if unreadable."""
    path = Path(path)
    try:
        with open(path, "rb") as handle:
            digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size)
            for chunk in iter(lambda: handle.read(1 << 20), b""):
                digest.update(chunk)
    except OSError as error:
        raise GluonAFFError(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def identify(path: PathLike) -> List[str]:
    """Catalogue ids whose file this is, byte for byte; empty when the authors published no such file.

    The git blob SHA-1 decides, which covers the size. Two ids come back for a file with another reading.
    """
    found = git_blob_sha1(path)
    return sorted(identity for identity, entry in catalogue().items() if entry["git_blob_sha1"] == found)


def check(identity: str, path: PathLike) -> None:
    """Raises GluonAFFError, with sizes and digests, unless the file is the published one of a catalogue id."""
    path, entry = Path(path), record(identity)
    found = git_blob_sha1(path)
    if found != entry["git_blob_sha1"]:
        sizes = sorted({other["bytes"] for other in catalogue().values() if other["file"] == entry["file"]})
        raise GluonAFFError(
            f"{path} is not the published file of {identity}: it has {path.stat().st_size} bytes and git blob SHA-1 "
            f"{found}, expected {' or '.join(map(str, sizes))} bytes and {entry['git_blob_sha1']}"
        )


def fetch(identity: str, url: Optional[str] = None) -> Path:
    """The verified file of a catalogue id, downloaded to the models directory unless it is there.

    ``url`` is another place to fetch it from (default: ``address(identity)``); a break is resumed, and what came is
    verified before it gets its name. Raises UsageError for an unknown id, GluonAFFError when there is no connection
    (with the address and where to put the file) or when the file is not the published one.
    """
    path = place_of(identity)
    if path.is_file():
        try:
            check(identity, path)
        except GluonAFFError as error:
            raise GluonAFFError(f"{error}; move it away, then fetch again") from None
        return path
    if url is not None and "://" not in url:
        raise UsageError(f"{url!r} is not an address: expected one such as {address(identity)}")
    return download(url or address(identity), path, verify=lambda part: check(identity, part))
