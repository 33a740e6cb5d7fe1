"""Grad-CAM on pictures: what a network says of each, whether that is right, and where it looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional

import numpy as np
from PIL import Image

from ..data.class_names import ClassNames
from ..data.pictures import Picture, Pictures
from ..errors import UsageError
from . import Explanation, explain
from .viewed import Viewed


@dataclass(frozen=True, eq=False)
class Seen:
    """One picture as one network sees it.

    pixels : uint8 (H, W, 3), the network's input. heat : float32 (H, W) in [0, 1].
    verdict : the predicted class's name, or what a segmentation found. score : its softmax score, or IoU with the
        mask; None where there is no mask.
    truth, target : name of the true class, and of the class whose evidence the heat is; None where there is none.
    wrong : whether the verdict is; None where the truth is not known.
    mask : bool (H, W), the true foreground of a segmentation; None where there is none.
    """

    picture: Picture
    pixels: np.ndarray
    heat: np.ndarray
    verdict: str
    score: Optional[float]
    truth: Optional[str]
    target: Optional[str]
    wrong: Optional[bool]
    mask: Optional[np.ndarray] = None


def see(
    viewed: Viewed,
    pictures: Pictures,
    target: Optional[str] = None,
    layer: Optional[str] = None,
    method: str = "grad_cam",
    batch_size: int = 8,
) -> List[Seen]:
    """Every chosen picture through the network and Grad-CAM, ``batch_size`` at a time.

    target : name or number of the class whose evidence is wanted (default: the predicted one). It counts as the truth
        of a picture whose folder is no class of the network.

    Raises UsageError for a class or layer that the network does not have, and for pictures of unequal size where
    nothing says what to resize them to; GluonAFFError for an image that cannot be read.
    """
    found: List[Seen] = []
    for start in range(0, len(pictures.chosen), batch_size):
        batch = pictures.chosen[start : start + batch_size]
        pixels = [viewed.pixels(picture.content(), picture.where) for picture in batch]
        _check_sizes(pixels, batch)
        x = viewed.transform(np.stack(pixels))
        if viewed.segments:
            found += _segmented(batch, pixels, explain(viewed.net, x, None, layer, method))
        else:
            found += _classified(viewed, pictures, batch, pixels, x, target, layer, method)
    return found


def _check_sizes(pixels: List[np.ndarray], batch: List[Picture]) -> None:
    for image, picture in zip(pixels, batch):
        if image.shape != pixels[0].shape:
            raise UsageError(
                f"{batch[0].where} is {_size(pixels[0])}, {picture.where} {_size(image)}: say with --input-size N what "
                "to resize all pictures to"
            )


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


def _classified(
    viewed: Viewed,
    pictures: Pictures,
    batch: List[Picture],
    pixels: List[np.ndarray],
    x: np.ndarray,
    target: Optional[str],
    layer: Optional[str],
    method: str,
) -> List[Seen]:
    names = viewed.classes or ClassNames(pictures.folders if len(pictures.folders) == viewed.outputs else ())
    wanted = None if target is None else names.number(target, viewed.outputs)
    explained = explain(viewed.net, x, wanted, layer, method)
    scores = _softmax(explained.outputs)
    found = []
    for i, picture in enumerate(batch):
        predicted = int(scores[i].argmax())
        truth = names.find(picture.folder)
        truth = wanted if truth is None else truth
        found.append(
            Seen(
                picture,
                pixels[i],
                explained.maps[i],
                names[predicted],
                float(scores[i, predicted]),
                None if truth is None else names[truth],
                names[int(explained.classes[i])],
                None if truth is None else predicted != truth,
            )
        )
    return found


def _segmented(batch: List[Picture], pixels: List[np.ndarray], explained: Explanation) -> List[Seen]:
    seen = []
    for picture, image, heat, logits in zip(batch, pixels, explained.maps, explained.outputs):
        found, truth = logits[0] > 0, _mask(picture, image)
        verdict, score, wrong = f"{100 * found.mean():.2g} % foreground", None, None
        if truth is not None:
            both, either = (found & truth).sum(), (found | truth).sum()
            verdict, score, wrong = "IoU", float(both / either) if either else 1.0, bool(either and not both)
        seen.append(Seen(picture, image, heat, verdict, score, None, None, wrong, truth))
    return seen


def _mask(picture: Picture, image: np.ndarray) -> Optional[np.ndarray]:
    mask = picture.mask()
    if mask is None:
        return None
    height, width = image.shape[:2]
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.NEAREST)) > 0


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
