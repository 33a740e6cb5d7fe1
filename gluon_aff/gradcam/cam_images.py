"""Grad-CAM of image files: what a network predicts for each, whether that is right, and where it looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional, Sequence

import numpy as np

from ..data.class_names import ClassNames
from ..data.pictures import Picture, Pictures
from ..errors import UsageError
from ..utils.logits import softmax
from .cam import Explanation, explain
from .image_network import ImageNetwork


@dataclass(frozen=True, eq=False)
class ExplainedImage:
    """One network's prediction for one image, with its heat map.

    Attributes
    ----------
    picture : Picture
        The file.
    pixels : array
        The network's input before normalisation, uint8 (H, W, 3).
    heat : array
        float32 (H, W) in [0, 1].
    predicted : str
        The predicted class's name, or a phrase for what a segmentation found.
    score : float or None
        The prediction's softmax score, or IoU with the mask; None where there is no mask.
    truth : str or None
        Name of the true class; None where it is not known.
    target : str or None
        Name of the class whose evidence the heat map shows; None for a segmentation.
    wrong : bool or None
        Whether the prediction is wrong; None where the truth is not known.
    mask : array or None
        The true foreground of a segmentation, bool (H, W); None where there is none.
    """

    picture: Picture
    pixels: np.ndarray
    heat: np.ndarray
    predicted: str
    score: Optional[float]
    truth: Optional[str]
    target: Optional[str]
    wrong: Optional[bool]
    mask: Optional[np.ndarray] = None


def explain_images(
    network: ImageNetwork,
    pictures: Pictures,
    target: Optional[str] = None,
    layer: Optional[str] = None,
    method: str = "grad_cam",
    batch_size: int = 8,
) -> List[ExplainedImage]:
    """Run every chosen picture through a network and Grad-CAM, ``batch_size`` at a time.

    Parameters
    ----------
    target : str, optional
        Name or number of the class whose evidence is wanted (default: the predicted one). It counts as the truth of a
        picture whose folder is not called like a class of the network.
    layer, method
        As for `grad_cam`.

    Raises
    ------
    UsageError
        For a class or layer that the network does not have, and for images of unequal size where nothing says what to
        resize them to.
    GluonAFFError
        For an image that cannot be read.
    """
    classes = network.input.classes or ClassNames(pictures.folders if len(pictures.folders) == network.outputs else ())
    if network.segments and network.outputs == 1 and target is not None:
        raise UsageError(f"--class {target}: {network.name} is a segmentation network and has no classes; leave it out")
    if network.segments and network.outputs > 1 and target is None:
        raise UsageError(
            f"{network.name} segments {network.outputs} classes: --class NAME|INDEX says which one to show"
        )
    wanted = None if target is None else classes.number(target, network.outputs)
    explained: List[ExplainedImage] = []
    for start in range(0, len(pictures.chosen), batch_size):
        batch = pictures.chosen[start : start + batch_size]
        pixels = [network.input.read(picture.content(), picture.where) for picture in batch]
        _check_sizes(pixels, batch)
        found = explain(network.net, network.input.transform(np.stack(pixels)), wanted, layer, method)
        if network.segments:
            explained += _segmented(batch, pixels, found, None if wanted is None else classes[wanted])
        else:
            explained += _classified(batch, pixels, found, classes, wanted)
    return explained


def _check_sizes(pixels: Sequence[np.ndarray], batch: Sequence[Picture]) -> None:
    for image, picture in zip(pixels, batch):
        if image.shape != pixels[0].shape:
            raise UsageError(
                f"{batch[0].where} is {_size(pixels[0])}, {picture.where} {_size(image)}: give "
                "--input-size N to resize all images"
            )


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


def _classified(
    batch: Sequence[Picture],
    pixels: Sequence[np.ndarray],
    found: Explanation,
    classes: ClassNames,
    wanted: Optional[int],
) -> List[ExplainedImage]:
    scores = softmax(found.outputs, axis=1)
    explained = []
    for i, picture in enumerate(batch):
        predicted = int(scores[i].argmax())
        truth = classes.find(picture.folder)
        truth = wanted if truth is None else truth
        explained.append(
            ExplainedImage(
                picture,
                pixels[i],
                found.maps[i],
                predicted=classes[predicted],
                score=float(scores[i, predicted]),
                truth=None if truth is None else classes[truth],
                target=classes[int(found.classes[i])],
                wrong=None if truth is None else predicted != truth,
            )
        )
    return explained


def _segmented(
    batch: Sequence[Picture], pixels: Sequence[np.ndarray], found: Explanation, target: Optional[str]
) -> List[ExplainedImage]:
    """``target``: the class that the maps are of, where there are several; there truth is not looked for."""
    explained = []
    for picture, image, heat, logits, number in zip(batch, pixels, found.maps, found.outputs, found.classes):
        foreground = logits[0] > 0 if target is None else logits.argmax(axis=0) == number
        mask = picture.mask(image.shape[:2]) if target is None else None
        truth = None if mask is None else mask > 0
        predicted, score, wrong = f"{100 * foreground.mean():.2g} % {target or 'foreground'}", None, None
        if truth is not None:
            both, either = (foreground & truth).sum(), (foreground | truth).sum()
            predicted, score, wrong = "IoU", float(both / either) if either else 1.0, bool(either and not both)
        explained.append(ExplainedImage(picture, image, heat, predicted, score, None, target, wrong, truth))
    return explained
