"""Where ImageNet's validation images lie: class folders, a flat folder with a list of labels, a zip, or a .rec file.

Class numbers are those of Gluon and of the authors: the 1000 wnids in alphabetical order.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..errors import GluonAFFError, UsageError
from .record_file import RecordFile

SUFFIXES = (".jpeg", ".jpg", ".png")


class EncodedImage(NamedTuple):
    """An image file's content with its class number; ``where`` names it in messages."""

    where: str
    label: int
    content: bytes


class ImageNetSource:
    """``len()`` images, each once and always in the same order through ``images()``; ``classes`` names the numbers."""

    path: Path
    classes: Tuple[str, ...]

    def __len__(self) -> int:
        raise NotImplementedError

    def images(self) -> Iterator[EncodedImage]:
        """Raises GluonAFFError for a file that cannot be had."""
        raise NotImplementedError


class RecordSource(ImageNetSource):
    def __init__(self, path: Path, wnids: Sequence[str]) -> None:
        self.path, self.classes = path, tuple(wnids)
        self._file = RecordFile(path)

    def __len__(self) -> int:
        return len(self._file)

    def images(self) -> Iterator[EncodedImage]:
        handle = os.open(self.path, os.O_RDONLY)
        try:
            for number in range(len(self)):
                label, content = self._file.read(number, handle)
                if label != int(label) or label < 0:
                    raise GluonAFFError(f"{self._file.where(number)} has the label {label}: expected a class number")
                yield EncodedImage(self._file.where(number), int(label), content)
        finally:
            os.close(handle)


class TreeSource(ImageNetSource):
    """Image files in a folder or zip. With a ``val`` folder anywhere among their parents, only what lies in it."""

    def __init__(self, path: Path, wnids: Sequence[str], ground_truth: Optional[Path] = None) -> None:
        self.path = path
        self._zip = None if path.is_dir() else _open_zip(path)
        names = _listed_zip(self._zip) if self._zip else _listed_folder(path)
        files = [tuple(name.split("/")) for name in sorted(names)]
        files = [file for file in files if "val" in file[:-1]] or files
        if not files:
            raise GluonAFFError(
                f"{path} holds no .JPEG, .jpg or .png images: expected val/<wnid>/*.JPEG or a flat val/"
            )
        if ground_truth is None:
            self.classes, labels = _labels_of_folders(path, files, wnids)
        else:
            self.classes = tuple(wnids)
            labels = _labels_of_list(files, read_ground_truth(ground_truth, wnids), ground_truth)
        self._members = [("/".join(file), label) for file, label in zip(files, labels)]

    def __len__(self) -> int:
        return len(self._members)

    def images(self) -> Iterator[EncodedImage]:
        for name, label in self._members:
            where = f"{self.path}/{name}"
            try:
                content = self._zip.read(name) if self._zip else (self.path / name).read_bytes()
            except (OSError, zipfile.BadZipFile) as error:
                raise GluonAFFError(f"cannot read {where}: {getattr(error, 'strerror', None) or error}") from error
            yield EncodedImage(where, label, content)


def open_imagenet(path: Path, wnids: Sequence[str], ground_truth: Optional[Path] = None) -> ImageNetSource:
    """The images at ``path``: a .rec file, a folder or a zip. ``wnids`` are the names of all classes, in order.

    Images in class folders need no list; a flat folder needs ``ground_truth`` (see `read_ground_truth`). Folders of
    which none is a known wnid are classes of their own, in alphabetical order. Raises UsageError and GluonAFFError.
    """
    if not path.exists():
        raise UsageError(f"no data at {path}: there is no such file or folder")
    if path.suffix == ".rec":
        if ground_truth is not None:
            raise UsageError(f"{path} holds its labels: leave the ground truth file out")
        return RecordSource(path, wnids)
    return TreeSource(path, wnids, ground_truth)


def read_ground_truth(path: Path, wnids: Sequence[str]) -> Dict[str, int]:
    """Image name without suffix -> class number, from lines ``name number`` (Caffe's val.txt) or ``name,wnid ...``.

    The second is Kaggle's LOC_val_solution.csv. The development kit's plain list of numbers cannot be used: its
    numbers are not in the order of the wnids. Raises UsageError naming the line.
    """
    numbers = {wnid: number for number, wnid in enumerate(wnids)}
    labels: Dict[str, int] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    for line_number, line in enumerate(lines, 1):
        words = line.replace(",", " ").split()
        if not words or words[0] == "ImageId":
            continue
        label = numbers.get(words[1]) if len(words) > 1 else None
        if label is None and len(words) > 1 and words[1].isdigit() and int(words[1]) < len(wnids):
            label = int(words[1])
        if label is None:
            raise UsageError(
                f"{path}, line {line_number}: {line[:60]!r} is not an image's name with its class, a number below "
                f"{len(wnids)} or a wnid (the development kit's plain numbers are in another order and of no use here)"
            )
        labels[_stem(words[0])] = label
    return labels


def _labels_of_list(files: Sequence[Tuple[str, ...]], listed: Dict[str, int], path: Path) -> List[int]:
    missing = [file[-1] for file in files if _stem(file[-1]) not in listed]
    if missing:
        raise UsageError(f"{path} has no label for {len(missing)} of {len(files)} images, such as {missing[0]}")
    return [listed[_stem(file[-1])] for file in files]


def _labels_of_folders(
    path: Path, files: Sequence[Tuple[str, ...]], wnids: Sequence[str]
) -> Tuple[Tuple[str, ...], List[int]]:
    folders = sorted({file[-2] if len(file) > 1 else "" for file in files})
    if folders in ([""], ["val"]):
        raise UsageError(
            f"the {len(files)} images in {path} lie in no class folders: name a file with their classes "
            "(--ground-truth), or sort them into val/<wnid>/"
        )
    unknown = sorted(set(folders) - set(wnids))
    if unknown and len(unknown) < len(folders):
        raise GluonAFFError(
            f"{path}: {len(folders) - len(unknown)} folders are wnids of ImageNet, {len(unknown)} are not, such as "
            f"{unknown[0]!r}: remove these, or give none a wnid"
        )
    classes = tuple(folders) if unknown else tuple(wnids)
    numbers = {name: number for number, name in enumerate(classes)}
    return classes, [numbers[file[-2]] for file in files]


def _listed_folder(path: Path) -> List[str]:
    names = []
    for parent, folders, files in os.walk(path, followlinks=True):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        relative = Path(parent).relative_to(path)
        names += [(relative / file).as_posix() for file in files if _is_image(file)]
    return names


def _listed_zip(archive: zipfile.ZipFile) -> List[str]:
    names = (name for name in archive.namelist() if _is_image(name.rsplit("/", 1)[-1]))
    return [name for name in names if not name.startswith("__MACOSX")]


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise GluonAFFError(f"{path} is neither a folder, a .rec file nor a whole zip archive ({error})") from error


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
