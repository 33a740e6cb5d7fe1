"""Files by their path below a root, which is a folder, a .zip or a .tar: the one reader of all data sets."""

from pathlib import Path

from .archives import TarTree, ZipTree
from .holding_out import OFFER, hold_out
from .packed import PackedTree
from .tree import MAX_BYTES, FileTree, FolderTree, joined

#: Endings of image files, in lower case, in class folders.
IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png")

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_BYTES",
    "FileTree",
    "FolderTree",
    "OFFER",
    "PackedTree",
    "TarTree",
    "ZipTree",
    "hold_out",
    "joined",
    "open_file_tree",
]


def open_file_tree(path: Path) -> FileTree:
    """The tree of a folder or a zip. Raises GluonAFFError when it is neither."""
    return FolderTree(path) if path.is_dir() else ZipTree(path)
