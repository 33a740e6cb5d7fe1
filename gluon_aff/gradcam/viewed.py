"""A network with all that is needed to show it pictures: size, normalisation, names of its classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import mxnet as mx
import numpy as np

from ..data.decoding import decode_image, resized
from ..data.imagenet.loaders import decode, normalisation
from ..data.transform import EvalTransform
from ..errors import GluonAFFError, UsageError
from ..models.common import SegmentationNet
from ..published.hosts import head_of
from ..tasks.trained import open_trained
from .class_names import ClassNames, class_names

_IMAGENET_SIZE, _CIFAR_SIZE, _SEGMENTATION_SIZE = 224, 32, 512


@dataclass
class Viewed:
    """``net`` on the first of its devices. ``pixels(content, where)`` gives what it is to see of an image file, uint8
    (H, W, 3), ``transform`` makes a batch (N, 3, H, W) of it. ``outputs`` is how many classes it tells apart,
    ``classes`` their names, None where these are not known.
    """

    name: str
    net: mx.gluon.HybridBlock
    segments: bool
    outputs: int
    classes: Optional[ClassNames]
    pixels: Callable[[bytes, str], np.ndarray]
    transform: EvalTransform


def open_viewed(
    weights: str,
    devices: List[mx.Context],
    model: Optional[str] = None,
    options: Optional[Dict[str, Any]] = None,
    data: Optional[Dict[str, Any]] = None,
) -> Viewed:
    """The network of a catalogue id, a .params file, or a run (classification or segmentation).

    Parameters
    ----------
    model, options : of a file, see ``evaluation.open_trained``; without them it is recognised.
    data : what is known of the images better than the weights tell: ``dataset``, ``labels``, ``size`` (ImageNet's
        crop, or what others are resized to), ``normalisation`` (ImageNet: "folder" or "records").

    Raises UsageError and GluonAFFError.
    """
    given = {name: value for name, value in (data or {}).items() if value is not None}
    path = Path(weights).expanduser()
    subject = open_trained(weights, model, options or {}, devices)
    if given.get("dataset", subject.data.get("dataset")) != subject.data.get("dataset"):
        subject.data = {}
    known = {**subject.data, **given}
    name = path.resolve().name if path.exists() else subject.name
    size = known.get("size")
    segments = isinstance(subject.net, SegmentationNet)
    if segments:
        reading = _square(size or _SEGMENTATION_SIZE), normalisation("folder")
    elif known.get("dataset") == "imagenet":
        crop = _crop(size or _IMAGENET_SIZE, known.get("crop_ratio"))
        reading = crop, normalisation(known.get("normalisation") or "folder")
    elif known.get("normalisation"):
        raise UsageError("--normalisation is for ImageNet networks: leave it out")
    else:
        size = size or (None if known.get("dataset") == "folder" else _CIFAR_SIZE)
        reading = _square(size) if size else decode_image, EvalTransform()
    outputs = _outputs(subject.net)
    names = None if segments else class_names(known, outputs)
    return Viewed(name, subject.net, segments, outputs, names, *reading)


def _outputs(net: mx.gluon.HybridBlock) -> int:
    shapes = {key: parameter.shape for key, parameter in net._collect_params_with_prefix().items()}
    return shapes[f"{head_of(shapes)}.weight"][0]


def _square(size: int) -> Callable[[bytes, str], np.ndarray]:
    return lambda content, where: resized(decode_image(content, where)[None], size)[0]


def _crop(size: int, ratio: Optional[float]) -> Callable[[bytes, str], np.ndarray]:
    def read(content: bytes, where: str) -> np.ndarray:
        try:
            return decode(content, size, ratio)
        except ValueError as error:
            raise GluonAFFError(f"{where} cannot be read as an image ({error}): replace or remove it") from None

    return read
