"""Files by their path below a root, which is a folder, a zip or a tar: the one reader of all data sets.

Archives are read in place or in memory, never unpacked to disk, so no member's path or link leads anywhere.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import tarfile
import threading
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Callable, Collection, Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple

from ..errors import GluonAFFError
from .decoding import some

#: Bytes of the largest file that is read, and of a packed archive when unpacked. COCO's annotations have 0.5 GB.
MAX_BYTES = 1 << 30
#: Endings of image files, in lower case: what Pillow's formats that are opened are called.
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")

#: Beginnings of names that are left out: hidden ones, and what systems put beside a user's files.
_HIDDEN = (".", "__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found")
_OTHER = "files with other endings"
_CHUNK = 1 << 20
_MOST_SIZES = 10_000  # of files in a digest
_COMPRESSED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


class LeftOut:
    """What a reader passes over: names by the reason."""

    UNREADABLE = "folders that cannot be read"

    def __init__(self) -> None:
        self.names: Dict[str, List[str]] = {}

    def add(self, reason: str, *names: str) -> None:
        if names:
            self.names.setdefault(reason, []).extend(names)

    def has(self, name: str) -> bool:
        return any(name in names for names in self.names.values())

    def note(self, belongs: Callable[[str], bool] = bool) -> List[str]:
        """Return a line about those of a kind, if there are any."""
        found = {why: sorted(filter(belongs, names)) for why, names in sorted(self.names.items())}
        parts = [f"{why}: {len(names)} ({some(names, 3)})" for why, names in found.items() if names]
        return [f"left out: {'; '.join(parts)}"] if parts else []


class FileTree:
    """The files of a folder, links followed; archives list and read theirs by the same names.

    Names are paths below the root with slashes, "" is the root. Threads may share a tree.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def folders(self, folder: str = "") -> List[str]:
        """Return the folders directly in a folder, sorted, hidden ones left out; none if there is no such folder."""
        return sorted(entry.name for entry in self._entries(folder) if _kind(entry) == "folder")

    def files(self, folder: str = "") -> List[str]:
        """Return the same for files."""
        return sorted(entry.name for entry in self._entries(folder) if _kind(entry) == "file")

    def exists(self, name: str) -> bool:
        """Return whether there is a file of that name."""
        return (self.path / name).is_file()

    def read(self, name: str) -> bytes:
        """Return a file's content. Raises GluonAFFError when it cannot be read or is larger than `MAX_BYTES`."""
        try:
            with open(self.path / name, "rb") as handle:
                self._check_size(name, os.fstat(handle.fileno()).st_size)
                return handle.read()
        except OSError as error:
            raise GluonAFFError(f"cannot read {self.where(name)}: {error.strerror or error}") from error

    def state(self, name: str) -> Tuple[int, int]:
        """Return size and time (in a zip its checksum, in a tar its place): what changes when the file does."""
        found = (self.path / name).stat()
        return found.st_size, found.st_mtime_ns

    def where(self, name: str) -> str:
        """Return the file's place, for a message."""
        return f"{self.path}/{name}" if name else str(self.path)

    def below(self, folder: str, endings: Tuple[str, ...], left_out: Optional[LeftOut] = None) -> List[str]:
        """Return all files in a folder and below it whose names end so, in whichever case, sorted by their paths.

        Every real folder is read once, under its own name before that of a link. ``left_out`` is told of links that
        lead there again, upwards or nowhere, of folders that cannot be read and of other files.
        """
        found: List[str] = []
        left_out = left_out or LeftOut()
        seen: Set[str] = set()
        folders = [(folder, os.path.realpath(self.path / folder))]
        links: List[Tuple[str, str]] = []
        while folders or links:
            name, real = folders.pop() if folders else links.pop(0)
            if real in seen:
                left_out.add("links to folders that are read already", name)
                continue
            seen.add(real)
            try:
                entries = self._listed(name)
            except OSError:
                left_out.add(LeftOut.UNREADABLE, name)
                continue
            for entry in entries:
                kind, member = _kind(entry), joined(name, entry.name)
                if kind == "folder" and not entry.is_symlink():
                    folders.append((member, os.path.join(real, entry.name)))
                elif kind == "folder":
                    target = os.path.realpath(entry.path)
                    if os.path.join(real, "").startswith(os.path.join(target, "")):
                        left_out.add("links to a folder above", member)
                    else:
                        links.append((member, target))
                elif kind != "file":
                    left_out.add("links that lead nowhere", member)
                elif entry.name.lower().endswith(endings):
                    found.append(member)
                else:
                    left_out.add(_OTHER, member)
        return sorted(found)

    def _entries(self, folder: str) -> List[os.DirEntry]:
        try:
            return self._listed(folder)
        except OSError:
            return []

    def _listed(self, folder: str) -> List[os.DirEntry]:
        with os.scandir(self.path / folder) as entries:
            return sorted((each for each in entries if not each.name.startswith(_HIDDEN)), key=lambda each: each.name)

    def _check_size(self, name: str, size: int) -> None:
        if size > MAX_BYTES:
            raise GluonAFFError(f"{self.where(name)} has {size:,} bytes, more than {MAX_BYTES:,}: it is not read")


class _Archive(FileTree):
    """A file that lists its members: looking one up takes no listing of its folder.

    Members may be called ``/a/b``, ``./a/b``, ``a//b`` or ``a\\b``: all of them are ``a/b`` here.
    """

    def _index(self, names: Iterable[str]) -> None:
        self._files: Dict[str, Set[str]] = {}
        self._folders: Dict[str, Set[str]] = {}
        self._members: Dict[str, str] = {}
        for name in names:
            slashed = name.replace("\\", "/")
            parts = [part for part in slashed.split("/") if part not in ("", ".")]
            folders = parts if slashed.endswith("/") else parts[:-1]
            if folders is not parts and parts:
                self._members["/".join(parts)] = name
            if not parts or any(part.startswith(_HIDDEN) for part in parts):
                continue
            for depth, folder in enumerate(folders):
                self._folders.setdefault("/".join(folders[:depth]), set()).add(folder)
            if folders is not parts:
                self._files.setdefault("/".join(folders), set()).add(parts[-1])

    def folders(self, folder: str = "") -> List[str]:
        return sorted(self._folders.get(folder, ()))

    def files(self, folder: str = "") -> List[str]:
        return sorted(self._files.get(folder, ()))

    def below(self, folder: str, endings: Tuple[str, ...], left_out: Optional[LeftOut] = None) -> List[str]:
        found: List[str] = []
        left_out = left_out or LeftOut()
        for place, files in self._files.items():
            if not folder or f"{place}/".startswith(f"{folder}/"):
                begin = f"{place}/" if place else ""
                images = [file for file in files if file.lower().endswith(endings)]
                found += [begin + file for file in images]
                if len(images) < len(files):
                    left_out.add(_OTHER, *(begin + file for file in files.difference(images)))
        return sorted(found)

    def exists(self, name: str) -> bool:
        return name in self._members


class ZipTree(_Archive):
    """A .zip. ``kinds`` are what else the user might have given."""

    def __init__(self, path: Path, kinds: str = "a folder") -> None:
        super().__init__(path)
        self._lock = threading.Lock()
        try:
            self._open()
        except (zipfile.BadZipFile, OSError) as error:
            size = f" ({path.stat().st_size} bytes)" if path.is_file() else ""
            raise GluonAFFError(
                f"{path}{size} is neither {kinds} nor a whole zip archive ({error}): copy or download it again"
            ) from error
        self._index(self._zip.namelist())

    def _open(self) -> None:
        self._zip = zipfile.ZipFile(self.path)
        self._process = os.getpid()

    def read(self, name: str) -> bytes:
        try:
            member = self._members[name]
            self._check_size(name, self._zip.getinfo(member).file_size)
            with self._lock:  # on Python 3.8, threads reading one ZipFile now and then get wrong bytes
                if self._process != os.getpid():  # a forked worker shares its parent's position in the open file
                    self._open()
                return self._zip.read(member)
        except GluonAFFError:
            raise
        except Exception as error:  # a damaged archive can raise nearly anything
            raise GluonAFFError(f"cannot read {self.where(name)}: {error}") from error

    def state(self, name: str) -> Tuple[int, int]:
        found = self._zip.getinfo(self._members[name])
        return found.file_size, found.CRC


class TarTree(_Archive):
    """A tar as it was published, not unpacked. A tar inside it (``n01440764.tar``) is a folder of that name."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._places: Dict[str, Tuple[int, int]] = {}  # where a file begins in the outermost tar, and its length
        names: List[str] = []
        try:
            self._handle = open(path, "rb")  # noqa: SIM115
            for name, begin, length in _tar_members(self._handle, 0, None):
                if not name.endswith(".tar"):
                    self._places[name] = (begin, length)
                    continue
                names.append(f"{name[:-4]}/")
                for member, *place in _tar_members(self._handle, begin, length):
                    self._places[f"{name[:-4]}/{member}"] = (place[0], place[1])
        except (tarfile.TarError, EOFError) as error:
            raise GluonAFFError(f"{path} is not a whole, uncompressed tar ({error}): download it again") from error
        except OSError as error:
            raise GluonAFFError(f"cannot read {path}: {error.strerror or error}") from error
        self._index([*names, *self._places])

    def read(self, name: str) -> bytes:
        begin, length = self._places[self._members[name]]
        self._check_size(name, length)
        try:
            return os.pread(self._handle.fileno(), length, begin)
        except OSError as error:
            raise GluonAFFError(f"cannot read {self.where(name)}: {error.strerror or error}") from error

    def state(self, name: str) -> Tuple[int, int]:
        begin, length = self._places[self._members[name]]
        return length, begin


def _tar_members(handle: BinaryIO, begin: int, length: Optional[int]) -> Iterator[Tuple[str, int, int]]:
    """Name, place and length of the files of the tar at ``begin``. Raises tarfile.TarError when it is not whole."""
    size = os.fstat(handle.fileno()).st_size
    end = size if length is None else begin + length
    handle.seek(begin)
    with tarfile.open(fileobj=handle, mode="r:") as archive:
        for member in archive:
            if member.offset_data + member.size > min(end, size):
                raise tarfile.ReadError(f"{member.name} reaches beyond its end")
            if member.isfile():
                yield member.name[2:] if member.name.startswith("./") else member.name, member.offset_data, member.size
            vars(archive)["members"] = []  # it would keep all 1.3 million
        handle.seek(archive.offset)
        if handle.read(tarfile.BLOCKSIZE).strip(b"\0") or archive.offset >= end:
            raise tarfile.ReadError("it has no end")


class PackedTree(_Archive):
    """The regular files of a .tar or .tar.gz whose base name is in ``wanted``, held in memory.

    Reads to the very end, so that gzip's checksum covers what is used. Raises GluonAFFError when the archive is
    damaged, cut short, or unpacks to far more than any data set has.
    """

    def __init__(self, path: Path, wanted: Collection[str]) -> None:
        super().__init__(path)
        self._contents: Dict[str, bytes] = {}
        try:
            with tarfile.open(fileobj=self._unpacked(), mode="r:") as archive:
                for member in archive:
                    name = member.name.rsplit("/", 1)[-1]
                    if member.isfile() and name in wanted:
                        self._contents[name] = archive.extractfile(member).read()  # type: ignore[union-attr]
        except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
            reason = str(error).split("\n")[0].rstrip(":")
            raise GluonAFFError(
                f"{path} ({path.stat().st_size} bytes) cannot be read to its end as a .tar.gz archive ({reason}): "
                "it is cut short, damaged or something else, delete it and download it again"
            ) from error
        self._index(self._contents)

    def _unpacked(self) -> BinaryIO:
        with open(self.path, "rb") as packed:
            begin = packed.read(8)
        opened = next((opened for magic, opened in _COMPRESSED.items() if begin.startswith(magic)), open)
        content = io.BytesIO()
        with opened(self.path, "rb") as unpacked:  # type: ignore[operator]
            while content.write(unpacked.read(_CHUNK)):
                if content.tell() > MAX_BYTES:
                    raise GluonAFFError(
                        f"{self.path} ({self.path.stat().st_size:,} bytes) unpacks to more than {MAX_BYTES:,}: this "
                        "is not a data set's archive, delete it and download it again"
                    )
        content.seek(0)
        return content

    def read(self, name: str) -> bytes:
        return self._contents[self._members[name]]


def _kind(entry: os.DirEntry) -> str:
    """Return "folder" or "file", links followed, or "" for a link that leads nowhere and what else a disk holds."""
    try:
        return "folder" if entry.is_dir() else "file" if entry.is_file() else ""
    except OSError:  # a link to itself, or through a folder that is closed
        return ""


def open_file_tree(path: Path) -> FileTree:
    """The tree of a folder or a zip. Raises GluonAFFError when it is neither."""
    return FileTree(path) if path.is_dir() else ZipTree(path)


def digest_of(tree: FileTree, names: Sequence[str]) -> str:
    """Return the SHA-256 of a list of files: their order, names below the folder of all of them, and sizes.

    It is the same in a folder and in a zip, wherever they lie. Of more than `_MOST_SIZES` files so many sizes count,
    evenly spaced, as looking each up takes minutes on a network's disk.
    """
    top = os.path.commonprefix([min(names, default=""), max(names, default="")]).rfind("/") + 1
    digest, step = hashlib.sha256(), -(-len(names) // _MOST_SIZES)
    for number, name in enumerate(names):
        size = tree.state(name)[0] if number % step == 0 else ""
        digest.update(f"{name[top:]}\t{size}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def class_order(names: Iterable[str]) -> List[str]:
    """Names of class folders in the order of their numbers: integers as such, then all others by the alphabet."""

    def place(name: str) -> Tuple[bool, int, str, str]:
        if not (name.isascii() and name.isdecimal()):
            return True, 0, name, ""
        digits = name.lstrip("0")
        return False, len(digits), digits, name

    return sorted(names, key=place)


def joined(*parts: str) -> str:
    """A name of its parts; empty ones count nothing."""
    return "/".join(part for part in parts if part)
