"""Pictures that are no data set: which ones a user names, and how they become a network's input."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union, cast

import numpy as np
from PIL import Image

from ..errors import GluonAFFError, UsageError
from .decoding import decode_image, decode_mask
from .image_set import resized
from .imagenet_batches import centre
from .pairs import SUFFIXES
from .registry import ClassNames, names_of_classes
from .transform import CIFAR_MEAN, CIFAR_STD, EvalTransform
from .trees import FileTree, joined, open_file_tree

_MASK_ENDINGS = ("", "_pixels0")  # the second is SIRST's


@dataclass(frozen=True, eq=False)
class Picture:
    """An image file. ``folder`` is the one that holds it: its class, where folders are classes."""

    tree: FileTree
    member: str

    @property
    def name(self) -> str:
        return self.member.rsplit("/", 1)[-1].rsplit(".", 1)[0]

    @property
    def folder(self) -> str:
        parts = self.member.split("/")
        return parts[-2] if len(parts) > 1 else self.tree.path.name

    @property
    def where(self) -> str:
        return self.tree.where(self.member)

    def content(self) -> bytes:
        """The file's content. Raises GluonAFFError when it cannot be read."""
        return self.tree.read(self.member)

    def mask(self, size: Optional[Tuple[int, ...]] = None, classes: int = 1) -> Optional[np.ndarray]:
        """The foreground, uint8 (H, W) of 0 and 1, of a picture in images/ that has a mask in masks/ beside it.

        Of several ``classes`` their numbers, as `decode_mask` gives them. With a ``size``, height and width, it is
        resized to that.
        """
        *above, folder, _ = ["", *self.member.split("/")]
        if folder != "images":
            return None
        for ending in _MASK_ENDINGS:
            for suffix in SUFFIXES:
                name = joined(*above, "masks", f"{self.name}{ending}{suffix}")
                if self.tree.exists(name):
                    mask = decode_mask(self.tree.read(name), self.tree.where(name), classes=classes)
                    if size is None:
                        return mask
                    return np.asarray(Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.NEAREST))
        return None


@dataclass(frozen=True, eq=False)
class Pictures:
    """Those chosen, and the names of all folders that any lie in."""

    chosen: List[Picture]
    folders: Tuple[str, ...]


def find_pictures(places: Sequence[str], count: Optional[int] = None) -> Pictures:
    """The pictures at ``places``: files, folders, zips, or folders and files inside a zip (``set.zip/test/cat``).

    Of a folder or zip with splits, those in test/ (or val/) count; of one with images/ and masks/, the images. With
    ``count``, that many of them, evenly spaced over the sorted list. Raises UsageError for a place that is not there or
    holds none, GluonAFFError for a damaged zip.
    """
    found = [picture for place in places for picture in _at(Path(place).expanduser())]
    folders = tuple(sorted({picture.folder for picture in found}))
    if count is not None and count < len(found):
        found = [found[i] for i in np.linspace(0, len(found) - 1, count).round().astype(int)]
    return Pictures(found, folders)


def _at(path: Path) -> List[Picture]:
    inner = ""
    archive = next((parent for parent in path.parents if parent.is_file()), None)
    if archive is not None:
        path, inner = archive, path.relative_to(archive).as_posix()
    if not path.exists():
        raise UsageError(f"no picture at {path}: there is no such file or folder")
    if path.is_file() and path.suffix.lower() != ".zip":
        top = path.parent.parent  # so that the folder, and a masks/ beside it, are seen
        return [Picture(open_file_tree(top), path.relative_to(top).as_posix())]
    tree = open_file_tree(path)
    if inner and tree.exists(inner):
        return [Picture(tree, inner)]
    members = _usual(list(tree.below(inner, SUFFIXES)))
    if not members:
        where = tree.where(inner)
        raise UsageError(f"{where} holds no pictures: expected files that end in {', '.join(SUFFIXES)}")
    return [Picture(tree, member) for member in members]


def _usual(members: List[str]) -> List[str]:
    """Without training images and masks, where there are others."""
    folders = {member: member.split("/")[:-1] for member in members}
    for wanted in ("test", "val", "images"):
        members = [member for member in members if wanted in folders[member]] or members
    return members


#: What `NetworkInput.prepare` takes: a file, a file's content, or pixels.
AnyPicture = Union[str, "os.PathLike[str]", bytes, np.ndarray]

FITS = ("stretch", "crop")


def one_by_one(pictures: Union[AnyPicture, Sequence[AnyPicture]]) -> Sequence[AnyPicture]:
    """The pictures of a list or of a batch (N, H, W, 3); a single one as a list of one."""
    several = isinstance(pictures, (list, tuple)) or (isinstance(pictures, np.ndarray) and pictures.ndim == 4)
    return cast(Sequence[AnyPicture], pictures) if several else [cast(AnyPicture, pictures)]


def checked(pixels: np.ndarray) -> np.ndarray:
    """Pixels as they are. Raises UsageError unless they are uint8 (H, W, 3)."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise UsageError(f"a picture is {pixels.dtype} {pixels.shape}: expected uint8 (H, W, 3), RGB")
    return pixels


@dataclass(frozen=True)
class NetworkInput:
    """How a picture becomes the input of a network, and what the network's classes are called.

    Attributes
    ----------
    size : int or None
        Width and height of the input, in pixels; None: as the picture is.
    fit : str
        "stretch": to a square, without regard to the picture's shape, as CIFAR's and segmentation's images are.
        "crop": the short side is resized and the centre cut out, as in ImageNet's validation.
    crop_ratio : float or None
        Of "crop": size divided by the short side that it is cut from; None for what is usual.
    mean, std : tuple of float
        Of the normalisation (pixel / 255 - mean) / std, for red, green and blue.
    classes : ClassNames or None
        Names of the classes that the network tells apart, where they are known.
    """

    size: Optional[int] = None
    fit: str = "stretch"
    crop_ratio: Optional[float] = None
    mean: Tuple[float, ...] = CIFAR_MEAN
    std: Tuple[float, ...] = CIFAR_STD
    classes: Optional[ClassNames] = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise UsageError(f"fit {self.fit!r}: choose one of {', '.join(FITS)}")
        if self.fit == "crop" and self.size is None:
            raise UsageError("a crop needs its size")

    def read(self, content: bytes, where: str) -> np.ndarray:
        """A file's content as the pixels that the network is to see: uint8 (H, W, 3).

        ``where`` names the file in messages. Raises GluonAFFError when it cannot be read as an image.
        """
        return self.fitted(decode_image(content, where, opencv=self.fit == "crop"))

    def fitted(self, pixels: np.ndarray) -> np.ndarray:
        """A picture's pixels, uint8 (H, W, 3), at the size of the input."""
        if self.size is None:
            return pixels
        if self.fit == "crop":
            return centre(pixels, self.size, self.crop_ratio)
        return resized(pixels[None], self.size)[0]

    def transform(self, pixels: np.ndarray) -> np.ndarray:
        """The input, float32 (N, 3, H, W), of pixels uint8 (N, H, W, 3) as `read` gives them."""
        return EvalTransform(self.mean, self.std)(pixels)

    def prepare(self, pictures: Union[AnyPicture, Sequence[AnyPicture]]) -> np.ndarray:
        """Return the input, float32 (N, 3, H, W), for one picture or several: files, their contents, or pixels (RGB).

        Pixels are uint8 (H, W, 3) of any size, or a batch (N, H, W, 3). Raises UsageError for a file that is not there,
        an array of another kind, and pictures of unequal size where the network has no size of its own, GluonAFFError
        for a file that cannot be read.
        """
        pixels = [self._pixels(picture) for picture in one_by_one(pictures)]
        if not pixels:
            raise UsageError("no pictures were given")
        sizes = sorted({f"{image.shape[1]}x{image.shape[0]}" for image in pixels})
        if len(sizes) > 1:
            raise UsageError(f"the pictures differ in size ({', '.join(sizes[:3])}): give them one by one")
        return self.transform(np.stack(pixels))

    def _pixels(self, picture: AnyPicture) -> np.ndarray:
        if isinstance(picture, np.ndarray):
            return self.fitted(checked(picture))
        if isinstance(picture, bytes):
            return self.read(picture, "the picture")
        path = Path(picture).expanduser()
        try:
            return self.read(path.read_bytes(), str(path))
        except FileNotFoundError:
            raise UsageError(f"no picture at {path}: there is no such file") from None
        except OSError as error:
            raise GluonAFFError(f"cannot read {path}: {error.strerror or error}") from error

    def to_json(self) -> Dict[str, Any]:
        """Plain values, from which `from_json` makes it again: size, fit, crop_ratio, mean, std, classes."""
        names = list(self.classes.names) if self.classes else None
        return {**vars(self), "mean": list(self.mean), "std": list(self.std), "classes": names}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> NetworkInput:
        """What `to_json` gave. Raises KeyError, TypeError and ValueError for anything else."""
        names, size, ratio = document["classes"], document["size"], document["crop_ratio"]
        if not (size is None or (isinstance(size, int) and size > 0)):
            raise ValueError(f"size {size!r}")
        mean, std = (tuple(float(value) for value in document[name]) for name in ("mean", "std"))
        if len(mean) != 3 or len(std) != 3 or not min(std) > 0:
            raise ValueError(f"mean {mean} and std {std}")
        classes = names_of_classes([str(name) for name in names]) if names else None
        return cls(size, str(document["fit"]), None if ratio is None else float(ratio), mean, std, classes)
