"""Checkpoints: directories of arrays and a state file, complete or absent."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from ..errors import GluonAFFError, UsageError
from ..utils.files import PathLike, sha256_of, sync
from .checkpoint_file import (
    ArrayGroups,
    Checkpoint,
    Damaged,
    read_checkpoint,
    read_state,
    weights_in,
    write_checkpoint,
)
from .description import Description, description_path
from .epoch_record import EpochRecord

_NAME = re.compile(r"epoch-(\d{5,})-batch-(\d{6,})")
AUTHORS_FOLDER = "params"  # the --save-dir of the scripts whose users look for params/*-best.params
_REMAINS = re.compile(rf"{_NAME.pattern}\.damaged|\.{_NAME.pattern}\.tmp")  # set aside; half written


class Checkpoints:
    """The checkpoints of one run: ``<directory>/epoch-00012-batch-000000`` and the like, and the link ``best``.

    Each holds ``<group>.params`` (MXNet's array files) and ``state.json`` with the SHA-256 of every file and of its own
    content; nothing in it can run code. It is written under a temporary name, synced and renamed. Kept are the newest
    two, what each of them calls the best, and every ``every``-th epoch's (0: no more). A checkpoint is deleted with
    all that is in its folder.

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
        self.every = every
        self.best_name = best_name

    def paths(self) -> List[Path]:
        """Complete checkpoints, oldest first."""
        if not self.directory.is_dir():
            return []
        return sorted(path for path in self.directory.iterdir() if _NAME.fullmatch(path.name) and path.is_dir())

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
        """Write one, prune older ones and point ``best`` at ``state["best"]["checkpoint"]``.

        Parameters
        ----------
        epoch, batch : int
            Its place in the run, see `checkpoint_name`.
        arrays : dict
            Groups of arrays by name; empty groups have no file.
        state : dict
            Everything else, as JSON.
        description : dict, optional
            What its weights say of themselves, see `description`.

        Returns
        -------
        Path
            Of the checkpoint.

        Raises
        ------
        GluonAFFError
            When it cannot be written; what was there before is then still there.
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
        """The newest good checkpoint.

        Parameters
        ----------
        report : callable
            Gets one line for each damaged checkpoint on the way, which is set aside as ``<name>.damaged``.

        Returns
        -------
        Checkpoint or None
            None where there is none at all.

        Raises
        ------
        GluonAFFError
            When all are damaged.
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
        """What a run may delete here: checkpoints, also damaged and half-written ones, and the link to the best."""
        link = [self.best_link] if self.best_link.is_symlink() and not self.foreign() else []
        return [*link, *self._authors_links(), *self.paths(), *self._remains()]

    def foreign(self) -> Optional[Path]:
        """What is not a run's and stands where the checkpoints or the link must go, if anything does."""
        if os.path.lexists(self.directory) and not self.directory.is_dir():
            return self.directory
        if self.best_link.is_symlink():
            ours = Path(os.path.abspath(self.best_link.parent / os.readlink(self.best_link))).parent
            return None if ours == Path(os.path.abspath(self.directory)) else self.best_link
        return self.best_link if self.best_link.exists() else None

    def remove_leftovers(self) -> None:
        """Remove what was half written when a process was killed. Only for whom the run belongs to."""
        for path in self._remains():
            if path.name.startswith("."):
                _remove(path)
        self._temporary_link().unlink() if self._temporary_link().is_symlink() else None

    def _remains(self) -> List[Path]:
        if not self.directory.is_dir():
            return []
        return sorted(path for path in self.directory.iterdir() if _REMAINS.fullmatch(path.name) and path.is_dir())

    def _temporary_link(self) -> Path:
        return self.best_link.with_name(f".{self.best_link.name}.tmp")

    def link_best(self, best: Optional[EpochRecord]) -> None:
        """Point the link at the best checkpoint, and give its weights their second name; only there."""
        if best is None:
            return
        target = self.directory / best["checkpoint"]
        previous = self.best_link.resolve() if self.best_link.is_symlink() else None
        name = self.best_name(best) if self.best_name else None
        if name and target.is_dir():
            weights, named = weights_in(target), target / name
            for source, second in ((weights, named), (description_path(weights), description_path(named))):
                if source.exists() and not second.exists():
                    _hard_link(source, second)
        if name and self.best_link.parent.name == AUTHORS_FOLDER:
            self._link_as_the_authors(name)
        if previous == target.resolve() or not target.is_dir():
            return
        temporary = self._temporary_link()
        temporary.unlink() if temporary.is_symlink() else None
        temporary.symlink_to(os.path.relpath(target, self.best_link.parent))
        os.replace(temporary, self.best_link)
        if previous and previous.is_dir():
            for path in previous.glob("*-best.params"):
                with suppress(FileNotFoundError):
                    description_path(path).unlink()
                path.unlink()

    def _authors_links(self) -> List[Path]:
        folder = self.best_link.parent
        if folder.name != AUTHORS_FOLDER or not folder.is_dir():
            return []
        return [path for path in sorted(folder.glob("*-best.params")) if path.is_symlink()]

    def _link_as_the_authors(self, name: str) -> None:
        """``params/0.8357-...-best.params``, where their scripts leave it and others look for it."""
        link = self.best_link.parent / name
        for old in self._authors_links():
            old.unlink()
        if not os.path.lexists(link):
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


def find_checkpoint(run: Path, which: str = "best") -> Optional[Path]:
    """The checkpoint that ``run`` is, or one of a run; None where it has none.

    Parameters
    ----------
    run : Path
        A run's directory, or a checkpoint's, which is taken whatever ``which`` says.
    which : {"best", "last"}
        The best by validation, or the newest before there is a best; or the newest.

    Raises
    ------
    UsageError
        For another ``which``.
    """
    if which not in ("best", "last"):
        raise UsageError(f"which={which!r}: choose 'best' or 'last'")
    if (run / "state.json").is_file():
        return run
    if which == "best" and (run / "best").is_dir():
        return run / "best"
    return Checkpoints(run / "checkpoints", run / "best").newest()


def checkpoint_weights(run: Path, which: str = "best") -> Path:
    """The verified file of the weights of a run's checkpoint, the averaged ones where the run averages.

    Raises
    ------
    UsageError
        As `find_checkpoint` does.
    GluonAFFError
        When there is no checkpoint, or it is damaged.
    """
    place = find_checkpoint(run, which)
    if place is None:
        raise GluonAFFError(f"{run} is a directory without a checkpoint: expected a training run, or a .params file")
    weights = weights_in(place)
    if not weights.is_file() or sha256_of(weights) != read_state(place)["files"].get(weights.name):
        raise Damaged(place, f"{weights.name} is not what was written")
    return weights


def checkpoint_name(epoch: int, batch: int) -> str:
    """Names sort by position: ``epoch`` finished epochs and ``batch`` batches of the next."""
    return f"epoch-{epoch:05d}-batch-{batch:06d}"


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
