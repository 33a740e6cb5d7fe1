"""Pictures that are no data set, and how they become a network's input."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple, Union, cast

import numpy as np

from ..errors import GluonAFFError, UsageError
from .decoding import decode_image, resizing
from .image_set import resized
from .imagenet_batches import centre, centre_rule
from .registry import ClassNames, names_of_classes
from .transform import CIFAR_MEAN, CIFAR_STD, EvalTransform

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
        with resizing(where):
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
        """Plain values, from which `from_json` makes it again: all that makes the network's input of a picture."""
        names = list(self.classes.names) if self.classes else None
        return {**vars(self), **self._facts(), "mean": list(self.mean), "std": list(self.std), "classes": names}

    def _facts(self) -> Dict[str, Any]:
        """What `fitted` does; ``steps`` say it in words."""
        steps = ["take the pixels as stored, in RGB: EXIF's orientation is ignored"]
        if self.size is None:
            return {"steps": steps}
        if self.fit == "crop":
            rule = centre_rule(self.size, self.crop_ratio)
            return {**rule._asdict(), "antialias": False, "steps": steps + rule.steps(self.size)}
        steps += [f"resize to {self.size} x {self.size}, whatever the shape, bilinear with antialias as Pillow's"]
        return {"interpolation": "bilinear", "antialias": True, "steps": steps}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> NetworkInput:
        """What `to_json` gave, of earlier versions as well, which left to the size how a centre is cut out.

        Raises KeyError, TypeError and ValueError for anything else, such as an interpolation that is not ours.
        """
        names, size, ratio = document["classes"], document["size"], document["crop_ratio"]
        if not (size is None or (isinstance(size, int) and size > 0)):
            raise ValueError(f"size {size!r}")
        mean, std = (tuple(float(value) for value in document[name]) for name in ("mean", "std"))
        if len(mean) != 3 or len(std) != 3 or not min(std) > 0:
            raise ValueError(f"mean {mean} and std {std}")
        classes = names_of_classes([str(name) for name in names]) if names else None
        if not (ratio is None or 1e-6 <= ratio <= 1):
            raise ValueError(f"crop_ratio {ratio}, expected a share of the short side")
        for tried in (None, ratio) if "interpolation" in document else (ratio,):
            found = cls(size, str(document["fit"]), tried, mean, std, classes)
            facts = found._facts()
            other = [name for name in facts if name != "steps" and document.get(name) not in (None, facts[name])]
            if not other:
                return found
        raise ValueError(f"{other[0]} {document[other[0]]!r}, where pictures are given {facts[other[0]]!r}")
