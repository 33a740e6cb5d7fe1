"""What a command may write: never over what it reads, over a file of a run or data set, or over what others wrote.

Every option for a place says so by its type, `Reads` or `Writes`. `guarded` compares them before the command begins;
`check_replacing` looks at each file that is about to take another's place. What is there may be replaced where its
content tells that the same kind of output wrote it, and anything that is no input, run or data set with --overwrite.

======================  ==============================================================
what is there           the same kind of output wrote it when
======================  ==============================================================
PNG, PDF, SVG           its metadata name gluon_aff (`MARK`)
JSON, safetensors       it shares most of its keys with the new file
JSON lines              the same of its first line
npz                     it shares most of its arrays' names with the new file
CSV, Markdown, text     its first line is the new file's
log                     one of its lines begins like one of ours
predictions             its first line begins with a name and a share
======================  ==============================================================
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import re
import struct
import zipfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, Iterator, List, NamedTuple, Optional, Tuple, Union

from ..errors import UsageError

#: What the metadata of a picture say of the program that wrote it: "Software" in a PNG, "Creator" in PDF and SVG.
MARK = "gluon_aff"

_HEAD = 2**16  # bytes that tell what a file is
_MOST = 2**28  # bytes of a document that is read as a whole
_SOFTWARE = re.compile(rb"(tEXt|iTXt)Software\0+(gluon_aff|Matplotlib.*(tEXt|iTXt)Source\0)", re.DOTALL)
_CREATORS = (b"/Creator (gluon_aff", b"<dc:title>gluon_aff")
_LOG_LINE = re.compile(rb"^(device: .*OMP_NUM_THREADS|---- run in |---- log of )", re.MULTILINE)
_PREDICTED = re.compile(rb"\S.*?  [01]\.\d{4,6}( |$)")  # a picture's line in a table of `gluon-aff predict`
_NAMES = {"figure": "picture", "json": "JSON document", "text": "table", "log": "log"}


@dataclass(frozen=True)
class Reads:
    """An argparse type: a place that the command reads; with ``several``, separated by commas.

    Of ``pictures`` all that lies below a folder is read. What is read ``first`` is not needed once writing begins.
    """

    kind: Callable[[str], Any] = str
    several: bool = False
    pictures: bool = False
    first: bool = False

    def __call__(self, text: str) -> Any:
        return self.kind(text)


@dataclass(frozen=True)
class Writes:
    """An argparse type: a file or ``folder`` that the command writes.

    ``forms`` are the contents that an existing file may have, as far as they are known beforehand; in a folder those
    of the files called ``names`` (patterns). ``inside``: the option for the folder that a file's name is relative to.
    A ``run`` keeps its own files in the folder, a ``grid`` in folders in it. ``masks`` never go to a data set's folder.
    """

    kind: Callable[[str], Any] = str
    forms: Tuple[str, ...] = ()
    folder: bool = False
    names: Tuple[str, ...] = ()
    inside: str = ""
    run: bool = False
    grid: bool = False
    masks: bool = False

    def __call__(self, text: str) -> Any:
        return self.kind(text)


class Content(NamedTuple):
    """What a file is: its form, and what two files of one kind have in common."""

    form: str
    shared: Union[str, FrozenSet[str]] = ""

    def same_kind(self, other: Content) -> bool:
        """Whether one kind of output may have written both."""
        if isinstance(self.shared, frozenset) and isinstance(other.shared, frozenset):
            common = len(self.shared & other.shared)
            return self.form == other.form and 2 * common > len(self.shared | other.shared)
        return self == other


def content_of(path: Path) -> Optional[Content]:
    """What an existing file is; None for a form that no output has, or a picture of another program."""
    with open(path, "rb") as handle:
        head = handle.read(_HEAD)
    if head.startswith(b"\x89PNG"):
        return Content("figure", "run" if b"Source\0" in head else "") if _SOFTWARE.search(head) else None
    if head.startswith(b"%PDF") or b"<svg" in head:
        return Content("figure") if any(creator in path.read_bytes() for creator in _CREATORS) else None
    if head.startswith(b"PK\x03\x04"):
        with suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            return Content("npz", frozenset(archive.namelist()))
        return None
    if head[8:9] == b"{":
        with open(path, "rb") as handle, suppress(ValueError, RecursionError):
            length = min(struct.unpack("<Q", handle.read(8))[0], _MOST)
            return Content("safetensors", _keys(handle.read(length)))
    if b"\0" in head:
        return None
    lines = head.splitlines()
    if head.lstrip()[:1] in (b"{", b"["):
        whole = path.read_bytes() if path.stat().st_size <= _MOST else head
        for text in (whole, lines[0]):  # a document, or lines of documents
            with suppress(ValueError, RecursionError):
                return Content("json", _keys(text))
    if _LOG_LINE.search(head):
        return Content("log")
    if lines and _PREDICTED.match(lines[0]):
        return Content("text", "predictions")
    return Content("text", lines[0].decode("utf-8", "surrogateescape") if lines else "")


def _keys(text: bytes) -> FrozenSet[str]:
    document = json.loads(text)
    document = document[0] if isinstance(document, list) and document else document
    if not isinstance(document, dict):
        raise ValueError("no keys")
    return frozenset(document)


class _Guard:
    """What one command reads and writes."""

    def __init__(self, overwrite: bool) -> None:
        self.overwrite = overwrite
        self.files: Dict[Tuple[int, int], str] = {}
        self.kept: List[Path] = []  # files that are read until the end
        self.pictures: List[Path] = []
        self.allowed: List[Path] = []
        self.outputs: List[Tuple[Path, Writes]] = []

    def read(self, text: str, reads: Reads) -> None:
        """Take note of what ``text`` names: a file, a folder, a pattern, or a place inside a zip."""
        name = os.path.expanduser(text)
        for found in [name] if os.path.lexists(name) else glob.glob(name, recursive=True) or _archives(name):
            with suppress(OSError):
                status = os.stat(found)
                if os.path.isfile(found):
                    self.files.setdefault((status.st_dev, status.st_ino), found)
                    self.kept += [] if reads.first else [Path(os.path.realpath(found))]
                elif reads.pictures:
                    self.pictures.append(Path(os.path.realpath(found)))

    def write(self, text: str, writes: Writes, flag: str = "") -> None:
        """Look at a place that the command will write. Raises UsageError."""
        if text == "-" or text.startswith(("/dev/", "/proc/")):
            return
        place = Path(os.path.realpath(os.path.expanduser(text)))
        self.outputs.append((place, writes))
        about = f"{flag} {text}".strip()
        self._check_sets(place / "any" if writes.folder else place, about)
        if writes.masks and _is_data_set(place):
            raise UsageError(
                f"{about}: the folder holds images/ and masks/ of a data set, whose masks would be replaced: choose "
                "another folder"
            )
        if place.is_file() and (writes.folder or writes.run):
            self._check_read(place, about)  # that it is no folder is told where one is made
        elif writes.run:
            inside = [path for path in self.kept if place in path.parents]
            if inside and self.overwrite:
                raise UsageError(f"{about}: --overwrite would remove {inside[0]}, which is read: choose another folder")
        elif place.is_file():
            self._check(place, about, writes.forms)
        elif writes.names and place.is_dir():
            for name in writes.names:
                for path in sorted(place.glob(name)):
                    self._check(path, f"{about}: {path.name}", writes.forms)

    def replace(self, target: Path, new: Path) -> None:
        """Look at a file that is about to take the place of another. Raises UsageError."""
        if any(_covers(place, writes, target) for place, writes in self.outputs):
            self._check_sets(target, str(target))
            if target.is_file() and target not in self.allowed:
                self._check(target, str(target), new=content_of(new))

    def _check_sets(self, path: Path, about: str) -> None:
        for folder in path.parents:
            if folder.name in ("images", "masks") and _is_data_set(folder.parent):
                raise UsageError(f"{about} lies in a data set, {folder.parent}: choose another place")

    def _check_read(self, path: Path, about: str) -> None:
        status = path.stat()
        read = self.files.get((status.st_dev, status.st_ino))
        if read is None and path.suffix.lower() == ".png" and any(folder in path.parents for folder in self.pictures):
            read = str(path)
        if read is not None:
            raise UsageError(f"{about} is a file that is read here ({read}): choose another place to write to")

    def _check(self, path: Path, about: str, forms: Tuple[str, ...] = (), new: Optional[Content] = None) -> None:
        self._check_read(path, about)
        if not path.stat().st_size or not (forms or new):
            return
        try:
            old = content_of(path)
        except OSError as error:
            raise UsageError(f"{about} is there and cannot be read ({error.strerror}): choose another place") from None
        if old is not None and (old.same_kind(new) if new else old.form in forms):
            return
        expected = " or ".join(_NAMES.get(form, form) for form in forms or ([new.form] if new else []))
        what = f"{about} is there and is no {expected or 'file'} that this kind of output wrote"
        run = next((folder for folder in list(path.parents)[:3] if _is_run(folder)), None)
        if run is not None and path.suffix != ".log":
            raise UsageError(f"{what}, but a file of the run {run}: choose another place")
        if not self.overwrite:
            raise UsageError(f"{what}: choose another name, or --overwrite to lose it")


_guard: Optional[_Guard] = None


@contextmanager
def guarded(parser: argparse.ArgumentParser, args: argparse.Namespace) -> Iterator[None]:
    """While entered, no file is replaced but as this module says.

    Raises
    ------
    UsageError
        At once, when an output of ``args``, which ``parser`` has read, is such a file.
    """
    global _guard
    guard, before = _Guard(bool(getattr(args, "overwrite", False))), _guard
    actions = list(chosen_actions(parser, args))
    for action in actions:
        if isinstance(action.type, Reads):
            for text in _texts(getattr(args, action.dest), action.type.several):
                guard.read(text, action.type)
    for action in actions:
        if isinstance(action.type, Writes):
            folder = getattr(args, action.type.inside, None) or ""
            for text in _texts(getattr(args, action.dest)):
                name = text if text == "-" else os.path.join(folder, text)
                guard.write(name, action.type, "/".join(action.option_strings) or str(action.metavar))
    _guard = guard
    try:
        yield
    finally:
        _guard = before


def claim(path: Union[str, Path], writes: Writes) -> None:
    """Look at an output that no option names. Raises UsageError as `guarded` does."""
    if _guard is not None:
        _guard.write(str(path), writes)


def allow(path: Path) -> None:
    """Let ``path`` be replaced, as its owner knows it."""
    if _guard is not None:
        _guard.allowed.append(Path(os.path.realpath(path)))


def check_replacing(target: Path, new: Path) -> None:
    """Raise UsageError when the file ``new`` must not take the place of ``target``; without `guarded` it always may."""
    if _guard is not None:
        _guard.replace(target, new)


def chosen_actions(parser: argparse.ArgumentParser, args: argparse.Namespace) -> Iterator[argparse.Action]:
    """The options and arguments of a parser and of the subcommands that ``args`` chose."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from chosen_actions(action.choices[getattr(args, action.dest)], args)
        elif action.dest != argparse.SUPPRESS and hasattr(args, action.dest):
            yield action


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Give every subcommand that writes the option --overwrite, if it has none."""
    for action in list(parser._actions):
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                add_overwrite(command)
        elif isinstance(action.type, Writes) and "--overwrite" not in parser._option_string_actions:
            parser.add_argument("--overwrite", action="store_true", help="replace files that others wrote, too")


def _texts(value: Any, several: bool = False) -> List[str]:
    values = value if isinstance(value, list) else [value]
    texts = [str(each) for each in values if isinstance(each, (str, Path)) and str(each).strip()]
    return [part for text in texts for part in text.split(",") if part] if several else texts


def _archives(name: str) -> List[str]:
    """The file that a path leads into."""
    return [str(parent) for parent in Path(name).parents if parent.is_file()][:1]


def _is_data_set(folder: Path) -> bool:
    return (folder / "images").is_dir() and (folder / "masks").is_dir()


def _is_run(folder: Path) -> bool:
    return (folder / "config.yaml").is_file() and (folder / "history.jsonl").is_file()


def _covers(place: Path, writes: Writes, target: Path) -> bool:
    """Whether a file belongs to an output: it, one beside it (sheet-2.png), or one in its folder."""
    if writes.run:
        return False
    beside = not writes.folder and not place.is_dir() and target.parent == place.parent
    return target == place or beside or target.parent == place or (place in target.parents and not writes.grid)
