"""Checkpoints: folders of arrays and a state file, complete or absent; and the descriptions beside weights.

A description is a small JSON file beside a weight file, ``model.json`` beside ``model.params``. It tells what a network
is and how it is to be used: task, network, data, input, class names and figure.
"""

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
from ..utils.files import PathLike, digest_of_document, json_text, sha256_of, sync
from .history import EpochRecord

READABLE = (1, 2)  # formats of state.json; 1 had no digest of the file itself, 2 is what is written
DESCRIPTION_FORMAT = 1
#: The groups of arrays that are a network's weights; the averaged ones, where there are any, are those to be used.
WEIGHTS = ("model", "ema")
AUTHORS_FOLDER = "params"  # the --save-dir of the scripts whose users look for params/*-best.params
_NAME = re.compile(r"epoch-(\d{5,})-batch-(\d{6,})")
_REMAINS = re.compile(rf"{_NAME.pattern}\.damaged|\.{_NAME.pattern}\.tmp")  # set aside; half written
_FILE = re.compile(r"\w+\.params")

ArrayGroups = Dict[str, Dict[str, mx.nd.NDArray]]
Description = Dict[str, Any]


class Checkpoint(NamedTuple):
    path: Path
    arrays: ArrayGroups
    state: Dict[str, Any]


class Damaged(GluonAFFError):
    """A checkpoint's files are not what was written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"checkpoint {path} is damaged ({reason})")


class Checkpoints:
    """The checkpoints of one run: ``<directory>/epoch-00012-batch-000000`` and the like, and the link ``best``.

    Each holds ``<group>.params`` (MXNet's array files) and ``state.json`` with the SHA-256 of every file and of its own
    content; nothing in it can run code. It is written under a temporary name, synced and renamed. Kept are the newest
    two, what each of them calls the best, and every ``every``-th epoch's (0: no more). A checkpoint is deleted with
    all that is in its folder; a link is deleted itself, what it points to never.

    Parameters
    ----------
    directory : path
        For the checkpoints; other files in it are left alone.
    best_link : path
        Where the link to the best checkpoint goes.
    every : int
        Epochs between the checkpoints that are kept for good; 0 keeps none.
    best_name : callable, optional
        From the state's ``best`` to a second name of the best weights' file, or None.
    """

    KEEP = 2

    def __init__(
        self,
        directory: PathLike,
        best_link: PathLike,
        every: int = 0,
        best_name: Optional[Callable[[EpochRecord], Optional[str]]] = None,
    ) -> None:
        self.directory = Path(directory)
        self.best_link = Path(best_link)
        self._temporary_link = self.best_link.with_name(f".{self.best_link.name}.tmp")
        self.every = every
        self.best_name = best_name

    def paths(self) -> List[Path]:
        """Return the complete checkpoints, oldest first."""
        return self._folders(_NAME)

    def newest(self) -> Optional[Path]:
        return max(self.paths(), default=None)

    def save(
        self,
        epoch: int,
        batch: int,
        arrays: ArrayGroups,
        state: Dict[str, Any],
        description: Optional[Description] = None,
    ) -> Path:
        """Write one, see `write_checkpoint`, delete older ones and point ``best`` at ``state["best"]["checkpoint"]``.

        Raises GluonAFFError when it cannot be written; what was there before is then still there.
        """
        path = self.directory / checkpoint_name(epoch, batch)
        temporary = self.directory / f".{path.name}.tmp"
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            write_checkpoint(temporary, arrays, state, description)
            sync(temporary)
            if path.exists():  # saved here before a stop, and again with nothing trained in between
                _remove(path)
            temporary.rename(path)
            sync(self.directory)
            self.link_best(state.get("best"))
            self._prune()
        except OSError as error:
            raise GluonAFFError(f"cannot write checkpoint {path}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return path

    def load(self, report: Callable[[str], None]) -> Optional[Checkpoint]:
        """Return the newest good checkpoint; None where there is none at all.

        A damaged one on the way is set aside as ``<name>.damaged``, of which ``report`` gets a line. Raises
        GluonAFFError when all are damaged.
        """
        paths = self.paths()
        for path in reversed(paths):
            try:
                return read_checkpoint(path)
            except Damaged as error:
                aside = path.with_name(f"{path.name}.damaged")
                report(f"{error}: set aside as {aside.name}, using the one before")
                shutil.rmtree(aside, ignore_errors=True)
                path.rename(aside)
        if paths:
            raise GluonAFFError(f"every checkpoint under {self.directory} is damaged: start again with --overwrite")
        return None

    def erase(self) -> None:
        """Remove what is the run's `own`, and nothing else."""
        for path in self.own():
            _remove(path)

    def own(self) -> List[Path]:
        """Return what a run may delete here: checkpoints, damaged and half-written ones, and links to the best.

        Where the folder of the checkpoints is a link, that is the link alone.
        """
        link = [self.best_link] if self.best_link.is_symlink() and not self.foreign() else []
        found = [*self.paths(), *self._folders(_REMAINS)]
        return [*link, *self._authors_links(), *([self.directory] if found and self.directory.is_symlink() else found)]

    def foreign(self) -> Optional[Path]:
        """Return what is not a run's and stands where the checkpoints or the link must go, if anything does."""
        if os.path.lexists(self.directory) and not self.directory.is_dir():
            return self.directory
        if self.best_link.is_symlink():
            ours = Path(os.path.abspath(self.best_link.parent / os.readlink(self.best_link))).parent
            return None if ours == Path(os.path.abspath(self.directory)) else self.best_link
        return self.best_link if self.best_link.exists() else None

    def remove_leftovers(self) -> None:
        """Remove what was half written when a process was killed. Only for whom the run belongs to."""
        for path in () if self.directory.is_symlink() else self._folders(_REMAINS):
            if path.name.startswith("."):
                _remove(path)
        if self._temporary_link.is_symlink():
            self._temporary_link.unlink()

    def link_best(self, best: Optional[EpochRecord]) -> None:
        """Point the link at the best checkpoint, and give its weights their second name; only there."""
        target = self.directory / best["checkpoint"] if best else None
        if not best or not target or not target.is_dir():
            return
        previous = self.best_link.resolve() if self.best_link.is_symlink() else None
        name = self.best_name(best) if self.best_name else None
        if name:
            weights, named = weights_in(target), target / name
            for source, second in ((weights, named), (description_path(weights), description_path(named))):
                if source.exists() and not second.exists():
                    _hard_link(source, second)
            self._link_as_the_authors(name)
        if previous == target.resolve():
            return
        if self._temporary_link.is_symlink():
            self._temporary_link.unlink()
        self._temporary_link.symlink_to(os.path.relpath(target, self.best_link.parent))
        os.replace(self._temporary_link, self.best_link)
        for path in previous.glob("*-best.params") if previous else ():
            for file in filter(Path.exists, (description_path(path), path)):
                file.unlink()

    def _folders(self, pattern: re.Pattern[str]) -> List[Path]:
        if not self.directory.is_dir():
            return []
        return sorted(path for path in self.directory.iterdir() if pattern.fullmatch(path.name) and path.is_dir())

    def _authors_links(self) -> List[Path]:
        folder = self.best_link.parent
        found = sorted(folder.glob("*-best.params")) if folder.name == AUTHORS_FOLDER else []
        return [path for path in found if path.is_symlink() and Path(os.readlink(path)).parent.name == "best"]

    def _link_as_the_authors(self, name: str) -> None:
        """``params/0.8357-...-best.params``, where their scripts leave it and others look for it."""
        for old in self._authors_links():
            old.unlink()
        link = self.best_link.parent / name
        if link.parent.name == AUTHORS_FOLDER and not os.path.lexists(link):
            link.symlink_to(Path(self.best_link.name, name))

    def _prune(self) -> None:
        paths = self.paths()
        kept = set(paths[-self.KEEP :])
        for path in list(kept):
            with suppress(Damaged):
                best = read_state(path).get("best")
                if best:
                    kept.add(self.directory / best["checkpoint"])
        for path in paths:
            epoch, batch = map(int, path.name.split("-")[1::2])
            periodic = self.every and batch == 0 and epoch % self.every == 0
            if path not in kept and not periodic:
                _remove(path)


def checkpoint_name(epoch: int, batch: int) -> str:
    """Return a name that sorts by position: ``epoch`` finished epochs and ``batch`` batches of the next."""
    return f"epoch-{epoch:05d}-batch-{batch:06d}"


def weights_in(checkpoint: Path) -> Path:
    """Return the file of the weights to be used: the averaged ones where the run averages."""
    averaged = checkpoint / "ema.params"
    return averaged if averaged.is_file() else checkpoint / "model.params"


def write_checkpoint(
    folder: Path, arrays: ArrayGroups, state: Dict[str, Any], description: Optional[Description] = None
) -> None:
    """Write a checkpoint's files into an empty folder, and sync them. Raises OSError, GluonAFFError.

    ``arrays`` are groups by name, of which empty ones have no file; ``state`` is everything else, as JSON;
    ``description`` is what the weights say of themselves.
    """
    files = {}
    for group, members in arrays.items():
        if members:
            path = folder / f"{group}.params"
            files[path.name] = digest = _write_arrays(path, members)
            if description and group in WEIGHTS:
                document = {"format": DESCRIPTION_FORMAT, **description, "weights_sha256": digest}
                write_document(description_path(path), document)
    write_document(folder / "state.json", {"format": READABLE[-1], **state, "files": files})


def read_checkpoint(path: PathLike) -> Checkpoint:
    """Read and verify a checkpoint.

    Raises Damaged with the reason, GluonAFFError when it is of a format that this version does not know.
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
    """Return what ``state.json`` of a checkpoint says, verified but for the arrays. Raises as `read_checkpoint`."""
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


def description_path(weights: PathLike) -> Path:
    """Return where the description of a weight file is: beside it, of the same name with the ending .json."""
    return Path(weights).with_suffix(".json")


def write_document(path: Path, document: Dict[str, Any]) -> None:
    """Write JSON with the digest of its content, and sync it. Raises OSError."""
    path.write_bytes(json_text({**document, "sha256": digest_of_document(document)}).encode())
    sync(path)


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
    sync(path)
    return sha256_of(path)


def _mxnet_name(path: Path) -> str:
    """Return a path for MXNet, which encodes names as UTF-8 whatever the locale is."""
    try:
        return os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        raise GluonAFFError(f"{os.fspath(path)!a}: MXNet takes names in UTF-8 only; rename the folder") from None


def _remove(path: Path) -> None:
    """Of a link the link alone."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path)


def _hard_link(source: Path, target: Path) -> None:
    """A second name costs nothing; where the file system has no hard links, a symbolic one does."""
    try:
        os.link(source, target)
    except OSError:
        target.symlink_to(source.name)
