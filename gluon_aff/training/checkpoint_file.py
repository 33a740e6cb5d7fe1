"""A checkpoint as files: arrays, and a state file that holds the digests of all, its own included."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Dict, NamedTuple, Optional

import mxnet as mx

from ..errors import GluonAFFError
from ..utils.files import PathLike, digest_of_document, sha256_of
from .description import Description, write_description

FORMAT = 2  # 1 had no digest of state.json itself
READABLE = (1, 2)
_FILE = re.compile(r"\w+\.params")
#: The groups of arrays that are a network's weights; the averaged ones, where there are any, are those to be used.
WEIGHTS = ("model", "ema")
ArrayGroups = Dict[str, Dict[str, mx.nd.NDArray]]


class Checkpoint(NamedTuple):
    path: Path
    arrays: ArrayGroups
    state: Dict[str, Any]


class Damaged(GluonAFFError):
    """A checkpoint's files are not what was written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"checkpoint {path} is damaged ({reason})")


def write_checkpoint(
    folder: Path, arrays: ArrayGroups, state: Dict[str, Any], description: Optional[Description] = None
) -> None:
    """Write a checkpoint's files into an empty folder, and sync them.

    Parameters
    ----------
    folder : Path
    arrays : dict
        Groups of arrays by name; empty groups have no file.
    state : dict
        Everything else, as JSON.
    description : dict, optional
        What the weights say of themselves, see `description`.

    Raises
    ------
    OSError, GluonAFFError
        When they cannot be written.
    """
    files = {}
    for group, members in arrays.items():
        if members:
            files[f"{group}.params"] = _write_arrays(folder / f"{group}.params", members)
    for group in WEIGHTS if description else ():
        name = f"{group}.params"
        if description and name in files:
            write_description(folder / name, files[name], description)
    write_state(folder, {"format": FORMAT, **state, "files": files})


def weights_in(checkpoint: Path) -> Path:
    """The file of the weights to be used: the averaged ones where the run averages."""
    averaged = checkpoint / "ema.params"
    return averaged if averaged.is_file() else checkpoint / "model.params"


def write_state(folder: Path, document: Dict[str, Any]) -> None:
    """Write ``state.json`` with its digest, and sync it. Raises OSError."""
    document = {**document, "sha256": digest_of_document(document)}
    with open(folder / "state.json", "wb") as handle:
        handle.write(json.dumps(document, indent=1).encode())
        handle.flush()
        os.fsync(handle.fileno())


def read_checkpoint(path: PathLike) -> Checkpoint:
    """Read and verify a checkpoint.

    Parameters
    ----------
    path : path
        Its folder.

    Returns
    -------
    Checkpoint

    Raises
    ------
    Damaged
        With the reason.
    GluonAFFError
        When it is of a format that this version does not know.
    """
    path = Path(path)
    state = read_state(path)
    arrays = {}
    for name, expected in state["files"].items():
        if not (path / name).is_file():
            raise Damaged(path, f"{name} is missing")
        if sha256_of(path / name) != expected:
            size = (path / name).stat().st_size
            raise Damaged(path, f"{name} has {size} bytes with another SHA-256 than was written")
        arrays[name[: -len(".params")]] = mx.nd.load(_mxnet_name(path / name))
    return Checkpoint(path, arrays, state)


def read_state(path: Path) -> Dict[str, Any]:
    """What ``state.json`` of a checkpoint says, verified but for the arrays. Raises as `read_checkpoint` does."""
    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        version, files = state["format"], state["files"]
        named = all(_FILE.fullmatch(name) and isinstance(digest, str) for name, digest in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(path, f"state.json cannot be read: {error}") from error
    if version not in READABLE:
        reads = " and ".join(map(str, READABLE))
        raise GluonAFFError(f"{path} is of checkpoint format {version}, this version reads {reads}")
    expected = state.pop("sha256", None if version == 1 else "none")
    if not named or (expected is not None and expected != digest_of_document(state)):
        raise Damaged(path, "state.json has another content than was written, by its SHA-256")
    return state


def _mxnet_name(path: Path) -> str:
    """A path for MXNet, which encodes names as UTF-8 whatever the locale is."""
    try:
        return os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        raise GluonAFFError(f"{os.fspath(path)!a}: MXNet takes names in UTF-8 only; rename the folder") from None


def _write_arrays(path: Path, arrays: Dict[str, mx.nd.NDArray]) -> str:
    """Save, read back, sync; return the SHA-256. MXNet says nothing when the last bytes do not fit on the disk."""
    try:
        mx.nd.save(_mxnet_name(path), arrays)
        complete = set(mx.nd.load(_mxnet_name(path))) == set(arrays)
    except mx.MXNetError:
        complete = False
    if not complete:
        free = shutil.disk_usage(path.parent).free / 2**20
        raise GluonAFFError(
            f"cannot write {path}: the file is incomplete ({free:.0f} MB free on its disk; `ulimit -f` shows a limit "
            "on file sizes)"
        )
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())
    return sha256_of(path)
