"""Checkpoints: directories of arrays and a state file, complete or absent."""

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional

import mxnet as mx

from ..errors import GluonAFFError
from ..utils.files import PathLike, sha256_of, sync_directory

FORMAT = 1
ArrayGroups = Dict[str, Dict[str, mx.nd.NDArray]]
_NAME = re.compile(r"epoch-(\d{5,})-batch-(\d{6,})")


class Checkpoint(NamedTuple):
    path: Path
    arrays: ArrayGroups
    state: Dict[str, Any]


class Damaged(GluonAFFError):
    """A checkpoint's files are not what was written."""


class Checkpoints:
    """The checkpoints of one run: ``<directory>/epoch-00012-batch-000000`` and the like, and the link ``best``.

    Each holds ``<group>.params`` (MXNet's array files) and ``state.json`` with every file's SHA-256; nothing in it can
    run code. It is written under a temporary name, synced and renamed. Kept are the newest two, what each of them
    calls the best, and every ``every``-th epoch's (0: no more).

    Args:
        best_link: where the link to the best checkpoint goes.
        best_name: from the state's ``best`` to a second name of the best weights' file, or None.
    """

    KEEP = 2

    def __init__(
        self,
        directory: PathLike,
        best_link: PathLike,
        every: int = 0,
        best_name: Optional[Callable[[Dict[str, Any]], Optional[str]]] = None,
    ) -> None:
        self.directory = Path(directory)
        self.best_link = Path(best_link)
        self.every = every
        self.best_name = best_name

    def paths(self) -> List[Path]:
        """Complete checkpoints, oldest first."""
        if not self.directory.is_dir():
            return []
        return sorted(path for path in self.directory.iterdir() if _NAME.fullmatch(path.name))

    def newest(self) -> Optional[Path]:
        return max(self.paths(), default=None)

    def save(self, epoch: int, batch: int, arrays: ArrayGroups, state: Dict[str, Any]) -> Path:
        """Write one, prune older ones, point ``best`` at ``state["best"]["checkpoint"]``; return its path.

        Raises GluonAFFError when it cannot be written; what was there before is then still there.
        """
        path = self.directory / checkpoint_name(epoch, batch)
        temporary = self.directory / f".{path.name}.tmp"
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            files = {}
            for group, members in arrays.items():
                if members:
                    files[f"{group}.params"] = _write_arrays(temporary / f"{group}.params", members)
            document = {"format": FORMAT, **state, "files": files}
            _write_bytes(temporary / "state.json", json.dumps(document, indent=1).encode())
            sync_directory(temporary)
            if path.exists():  # saved here before a stop, and again with nothing trained in between
                shutil.rmtree(path)
            temporary.rename(path)
            sync_directory(self.directory)
            self.link_best(state.get("best"))
            self._prune()
        except OSError as error:
            raise GluonAFFError(f"cannot write checkpoint {path}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return path

    def load(self, report: Callable[[str], None]) -> Optional[Checkpoint]:
        """The newest good checkpoint, or None where there is none at all.

        Each damaged one on the way is reported in one line and set aside as ``<name>.damaged``. Raises GluonAFFError
        when all are damaged.
        """
        paths = self.paths()
        for path in reversed(paths):
            try:
                return read_checkpoint(path)
            except Damaged as error:
                aside = path.with_name(f"{path.name}.damaged")
                report(f"checkpoint {path} is damaged ({error}): set aside as {aside.name}, using the one before")
                shutil.rmtree(aside, ignore_errors=True)
                path.rename(aside)
        if paths:
            raise GluonAFFError(f"every checkpoint under {self.directory} is damaged: start again with --overwrite")
        return None

    def erase(self) -> None:
        """Remove every checkpoint and the link, and nothing that is not ours."""
        if self.best_link.is_symlink():
            self.best_link.unlink()
        if self.directory.is_dir():
            for path in list(self.directory.iterdir()):
                if _NAME.match(path.name.lstrip(".")):
                    shutil.rmtree(path)

    def link_best(self, best: Optional[Dict[str, Any]]) -> None:
        """Point the link at the best checkpoint, and give its weights their second name; only there."""
        if best is None:
            return
        target = self.directory / best["checkpoint"]
        previous = self.best_link.resolve() if self.best_link.is_symlink() else None
        name = self.best_name(best) if self.best_name else None
        if name and target.is_dir():
            weights = target / ("ema.params" if (target / "ema.params").exists() else "model.params")
            named = target / name
            if not named.exists():
                _hard_link(weights, named)
        if previous == target.resolve() or not target.is_dir():
            return
        temporary = self.best_link.with_name(f".{self.best_link.name}.tmp")
        temporary.unlink() if temporary.is_symlink() else None
        temporary.symlink_to(os.path.relpath(target, self.best_link.parent))
        os.replace(temporary, self.best_link)
        if previous and previous.is_dir():
            for path in previous.glob("*-best.params"):
                path.unlink()

    def _prune(self) -> None:
        paths = self.paths()
        kept = set(paths[-self.KEEP :])
        for path in list(kept):
            with suppress(Damaged):
                best = _read_state(path).get("best")
                kept.add(best and self.directory / best["checkpoint"])
        for path in paths:
            epoch, batch = map(int, _NAME.fullmatch(path.name).groups())
            periodic = self.every and batch == 0 and epoch % self.every == 0
            if path not in kept and not periodic:
                shutil.rmtree(path)


def checkpoint_name(epoch: int, batch: int) -> str:
    """Names sort by position: ``epoch`` finished epochs and ``batch`` batches of the next."""
    return f"epoch-{epoch:05d}-batch-{batch:06d}"


def read_checkpoint(path: PathLike) -> Checkpoint:
    """Read and verify one. Raises Damaged with the reason."""
    path = Path(path)
    state = _read_state(path)
    arrays = {}
    for name, expected in state["files"].items():
        if not (path / name).is_file():
            raise Damaged(f"{name} is missing")
        if sha256_of(path / name) != expected:
            raise Damaged(f"{name} has {(path / name).stat().st_size} bytes with another SHA-256 than was written")
        arrays[name[: -len(".params")]] = mx.nd.load(str(path / name))
    return Checkpoint(path, arrays, state)


def _read_state(path: Path) -> Dict[str, Any]:
    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        version = state["format"]
        state["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"state.json cannot be read: {error}") from error
    if version != FORMAT:
        raise GluonAFFError(f"{path} is of checkpoint format {version}, this version reads {FORMAT}")
    return state


def _write_arrays(path: Path, arrays: Dict[str, mx.nd.NDArray]) -> str:
    """Save, read back, sync; return the SHA-256. MXNet says nothing when the last bytes do not fit on the disk."""
    try:
        mx.nd.save(str(path), arrays)
        complete = set(mx.nd.load(str(path))) == set(arrays)
    except mx.MXNetError:
        complete = False
    if not complete:
        free = shutil.disk_usage(path.parent).free / 2**20
        raise GluonAFFError(f"cannot write {path}: the file is incomplete ({free:.0f} MB free on its disk)")
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())
    return sha256_of(path)


def _write_bytes(path: Path, content: bytes) -> None:
    with open(path, "wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def _hard_link(source: Path, target: Path) -> None:
    """A second name costs nothing; where the file system has no hard links, a symbolic one does."""
    try:
        os.link(source, target)
    except OSError:
        target.symlink_to(source.name)
