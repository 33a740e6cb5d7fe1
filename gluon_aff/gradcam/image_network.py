"""A network together with its preprocessing and class names, ready for image files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional

import mxnet as mx

from ..data.pictures import NetworkInput
from ..tasks.opening import open_trained


@dataclass
class ImageNetwork:
    """A network and all that is needed to show it image files.

    Attributes
    ----------
    name : str
        For headings: the id, or the file's or run's name.
    net : HybridBlock
        On one device.
    segments : bool
        Whether it gives segmentation logits (N, classes, H, W) rather than class logits (N, classes).
    outputs : int
        Number of classes it tells apart.
    input : NetworkInput
        How an image file becomes its input, and the names of its classes.
    """

    name: str
    net: mx.gluon.HybridBlock
    segments: bool
    outputs: int
    input: NetworkInput


def open_image_network(
    weights: str,
    devices: List[mx.Context],
    model: Optional[str] = None,
    options: Optional[Dict[str, Any]] = None,
    data: Optional[Dict[str, Any]] = None,
) -> ImageNetwork:
    """Open a catalogue id, a .params file or a run, of classification or segmentation.

    Parameters
    ----------
    weights : str
        The id, file or run.
    devices : list of Context
        Where the network is to lie.
    model, options
        The network of a file, as for ``create_model``; without them it is recognised.
    data : dict, optional
        What is known of the images and wins over what the weights tell: ``dataset``, ``labels``, ``size`` (ImageNet's
        crop, or what other images are resized to), ``normalisation`` (ImageNet: "folder" or "records").

    Raises
    ------
    UsageError, GluonAFFError
        For weights that cannot be opened, and for a normalisation where there is no choice.
    """
    trained = open_trained(weights, model, options or {}, devices, data)
    path = Path(weights).expanduser()
    return ImageNetwork(
        name=path.resolve().name if path.exists() else trained.name,
        net=trained.net,
        segments=trained.segments,
        outputs=trained.outputs,
        input=trained.input,
    )
