"""Putting an exported folder in the place of another: nothing else is ever removed, and one of the two is always whole.

The old folder is renamed aside, the new one renamed into its place, and then the old one removed, file by file. When a
process is killed between the two renames the old folder lies under the name aside, and the next export puts it back.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import List

from ..errors import GluonAFFError, UsageError
from ..utils.files import PathLike, cannot_write, left_behind, sync, temporary_name
from .manifest import NAME, is_exported, read_manifest
from .onnx_form import MODEL
from .symbol_form import FILES

_OLD, _NEW = "old", "tmp"  # endings of the names aside
_OURS = (NAME, MODEL, *FILES)
_MOST_NAMED = 3


def place_of(directory: PathLike) -> Path:
    """The folder that an export to ``directory`` makes or replaces: a symbolic link stays and is followed."""
    return Path(os.path.realpath(Path(directory).expanduser()))


def name_aside(place: Path) -> Path:
    """Where an export is written before it is moved to ``place``."""
    return temporary_name(place, _NEW)


def check_free(place: Path, overwrite: bool) -> None:
    """Raise UsageError unless ``place`` is missing, an empty folder, or, with ``overwrite``, an exported network alone.

    An exported network alone is a whole one, whose manifest `read_manifest` accepts, in a folder that holds the
    manifest, the files that it lists and nothing else.
    """
    if not place.exists() or (place.is_dir() and not _entries(place)):
        return
    if not is_exported(place):
        raise UsageError(f"{place} is there and is no exported network: choose another --out")
    if not overwrite:
        raise UsageError(f"{place} holds an exported network: choose another --out, or --overwrite")
    try:
        listed = read_manifest(place)["files"]
    except GluonAFFError as error:
        raise UsageError(
            f"{place} holds no exported network that is whole ({error}), so --overwrite does not remove it: choose "
            "another --out, or remove it yourself"
        ) from error
    others = [name for name in _entries(place) if name not in _OURS or name not in (NAME, *listed)]
    if others:
        more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
        raise UsageError(
            f"{place} holds more than an exported network ({', '.join(others[:_MOST_NAMED])}{more}), which --overwrite "
            "would remove: choose another --out, or move it away"
        )


def put_in_place(made: Path, place: Path, overwrite: bool) -> None:
    """Move the folder ``made``, which lies beside it, to ``place``.

    Raises
    ------
    UsageError
        When ``place`` has meanwhile become what `check_free` refuses.
    GluonAFFError
        When a folder cannot be renamed. The old one is then where it was; if even that fails, the message says where.
    """
    check_free(place, overwrite)
    old = temporary_name(place, _OLD)
    try:
        replaces = place.is_dir() and bool(_entries(place))
        if replaces:
            os.rename(place, old)
        try:
            os.rename(made, place)
        except BaseException:
            if replaces:
                _put_back(old, place)
            raise
        sync(place.parent)
    except OSError as error:
        raise cannot_write(place, error) from error
    if replaces:
        _remove(old)


def tidy(place: Path) -> None:
    """Undo what exports to ``place`` left when they were killed: the old folder is put back, or removed if there is a
    new one. Folders of processes that are alive stay. Raises GluonAFFError when the old folder cannot be put back."""
    for old in left_behind(place, _OLD):
        if place.exists():
            _remove(old)
        else:
            _put_back(old, place)
    for made in left_behind(place, _NEW):
        _remove(made)


def _entries(folder: Path) -> List[str]:
    """Names of what is in a folder. Raises GluonAFFError when it cannot be read."""
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise GluonAFFError(f"cannot read {folder}: {error.strerror or error}") from error


def _put_back(old: Path, place: Path) -> None:
    try:
        os.rename(old, place)
    except OSError as error:
        raise GluonAFFError(
            f"the exported network that was {place} is now {old} and cannot be moved back ({error.strerror or error}): "
            "move it yourself"
        ) from error


def _remove(folder: Path) -> None:
    """Remove the files that an export has, and the folder if nothing else is in it."""
    with suppress(OSError, GluonAFFError):
        for name in set(_entries(folder)) & set(_OURS):
            (folder / name).unlink()
        folder.rmdir()
