"""What lies in ``{train,test}/<class>/*``, in a folder or inside a .zip."""

from __future__ import annotations

import threading
import zipfile
from pathlib import Path
from typing import Dict, Iterable, List, Tuple

from ..errors import GluonAFFError

SUFFIXES = (".png", ".jpg", ".jpeg")
_SPLIT_FOLDERS = ("train", "test", "val")

Listing = Dict[str, Dict[str, List[str]]]  # split -> class -> members, both sorted


class ImageTree:
    """Listing and reading of the images; ``val`` stands in for a missing ``test``, a folder around all is skipped.

    Hidden files and whatever is no image by its suffix are left out. Raises GluonAFFError when a zip cannot be read.
    """

    listing: Listing

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, member: str) -> bytes:
        """The content of one file; OSError or zipfile.BadZipFile when it cannot be had."""
        raise NotImplementedError

    def fingerprint(self, split: str) -> str:
        """Changes when an image of the split is added, removed or written anew."""
        raise NotImplementedError

    def where(self, member: str) -> str:
        return f"{self.path}/{member}"


class FolderTree(ImageTree):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        roots = [path, *sorted(child for child in path.iterdir() if child.is_dir())]
        root = path if _has_split(path) or len(roots) != 2 else roots[1]
        files = (file.relative_to(path) for split in _SPLIT_FOLDERS for file in root.glob(f"{split}/*/*"))
        self.listing = _listed(path, (file.parts for file in files))

    def read(self, member: str) -> bytes:
        return (self.path / member).read_bytes()

    def fingerprint(self, split: str) -> str:
        members = (member for members in self.listing[split].values() for member in members)
        states = ((member, (self.path / member).stat()) for member in members)
        return repr([(member, state.st_size, state.st_mtime_ns) for member, state in states])


class ZipTree(ImageTree):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._lock = threading.Lock()
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise GluonAFFError(
                f"{path} ({path.stat().st_size} bytes) is not a whole zip archive ({error}): expected a zip or a "
                "folder of images; copy or download it again"
            ) from error
        self.listing = _listed(path, (tuple(name.split("/")) for name in self._zip.namelist()))

    def read(self, member: str) -> bytes:
        with self._lock:  # on Python 3.8, threads reading one ZipFile now and then get wrong bytes
            return self._zip.read(member)

    def fingerprint(self, split: str) -> str:
        state = self.path.stat()
        return repr((state.st_size, state.st_mtime_ns))


def open_tree(path: Path) -> ImageTree:
    return FolderTree(path) if path.is_dir() else ZipTree(path)


def _has_split(folder: Path) -> bool:
    return any((folder / split).is_dir() for split in _SPLIT_FOLDERS)


def _listed(path: Path, files: Iterable[Tuple[str, ...]]) -> Listing:
    """Sort split/class/file paths, with or without a top folder, into splits and classes."""
    listing: Listing = {}
    tops = set()
    for parts in files:
        if not 3 <= len(parts) <= 4 or any(part.startswith((".", "__MACOSX")) for part in parts):
            continue
        split, class_name, file = parts[-3:]
        if split in _SPLIT_FOLDERS and file.lower().endswith(SUFFIXES):
            tops.add("/".join(parts[:-3]) or ".")
            listing.setdefault(split, {}).setdefault(class_name, []).append("/".join(parts))
    if len(tops) > 1:
        raise GluonAFFError(
            f"{path} holds several sets of images ({', '.join(sorted(tops)[:3])}), expected one: give each its own zip"
        )
    if "val" in listing:
        listing.setdefault("test", listing.pop("val"))
    return {
        split: {name: sorted(classes[name]) for name in sorted(classes)} for split, classes in sorted(listing.items())
    }
