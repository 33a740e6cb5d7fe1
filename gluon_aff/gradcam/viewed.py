"""A network with all that is needed to show it pictures: size, normalisation, names of its classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import mxnet as mx
import numpy as np

from ..data.class_names import ClassNames
from ..data.transform import EvalTransform
from ..models.common import SegmentationNet
from ..published.hosts import head_of
from ..tasks import get_task, task_of_dataset
from ..tasks.trained import open_trained


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
    outputs = _outputs(subject.net)
    task = get_task(subject.task)
    if known.get("dataset", subject.task) not in (subject.task, *task.datasets()):
        task = task_of_dataset(known["dataset"])
    seen = task.input_of(known, outputs)
    segments = isinstance(subject.net, SegmentationNet)
    return Viewed(name, subject.net, segments, outputs, seen.classes, seen.read, seen.transform)


def _outputs(net: mx.gluon.HybridBlock) -> int:
    shapes = {key: parameter.shape for key, parameter in net._collect_params_with_prefix().items()}
    return shapes[f"{head_of(shapes)}.weight"][0]
