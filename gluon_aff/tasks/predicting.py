"""Pictures through a network or weights of any kind: a catalogue id, a file, a run, an exported network."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Union

import mxnet as mx
import numpy as np

from ..data.pictures import NetworkInput, find_pictures
from ..data.pictures.network_input import AnyPicture, checked, one_by_one
from ..deploy.exported import open_exported
from ..deploy.manifest import is_exported
from ..deploy.predicting import (
    Item,
    Prediction,
    Predictor,
    predict_stream,
    predictor_of_exported,
    predictor_of_net,
)
from ..errors import GluonAFFError, UsageError
from ..evaluation.trained_network import head_width
from ..models import model_entry
from ..models.common import SegmentationNet
from .opening import open_trained
from .register import task_of_network

Images = Union[AnyPicture, Sequence[AnyPicture]]


def predict(
    net_or_weights: Any,
    images: Images,
    *,
    input: Optional[NetworkInput] = None,
    batch_size: int = 32,
    workers: int = 2,
    ctx: Optional[mx.Context] = None,
) -> List[Prediction]:
    """Predictions of a network on pictures, in their order.

    >>> for found in gluon_aff.predict("runs/mine", ["cat.jpg", "photos/"]):
    ...     print(found.name, found.top(3))

    Parameters
    ----------
    net_or_weights : HybridBlock or str or path
        A network, a catalogue id, a .params file, a run's directory, or the folder of an exported network.
    images : path, array, or a sequence of these
        Files, folders, zips, patterns (``"photos/*.jpg"``), or pixels uint8 (H, W, 3), RGB, of any size.
    input : NetworkInput, optional
        How a picture becomes the input of a network of one's own. Weights, and networks of ``create_model``, know.
    batch_size : int
        Pictures at once.
    workers : int
        Threads that read and decode.
    ctx : Context, optional
        Where weights are loaded (default: CPU).

    Returns
    -------
    list of Prediction
        ``top(k)`` and ``scores`` of a classifier, ``probability`` of a segmentation network. A picture that cannot be
        read has a ``fault`` and no logits.

    Raises
    ------
    UsageError, GluonAFFError
        For weights that cannot be opened, places without pictures, and a network of which nothing tells its input.
    """
    if isinstance(net_or_weights, mx.gluon.Block):
        predictor = _of_net(net_or_weights, input)
    else:
        predictor = open_predictor(os.fspath(net_or_weights), [ctx or mx.cpu()], network_input=input)
    items: List[Item] = []
    for image in one_by_one(images):
        if isinstance(image, np.ndarray):
            items.append(checked(image))
        else:
            items += find_pictures(expanded([str(image)])).chosen
    return list(predict_stream(predictor, items, batch_size, workers))


def open_predictor(
    weights: str,
    devices: List[mx.Context],
    model: Optional[str] = None,
    options: Optional[Dict[str, Any]] = None,
    data: Optional[Dict[str, Any]] = None,
    network_input: Optional[NetworkInput] = None,
) -> Predictor:
    """A network ready for pictures, of weights of any kind; the arguments are those of `open_trained`.

    Raises UsageError and GluonAFFError.
    """
    path = Path(weights).expanduser()
    if is_exported(path):
        given = [
            name for name, value in {"model": model, **(options or {}), **(data or {})}.items() if value is not None
        ]
        if given:
            flag = {"size": "input-size"}.get(given[0], given[0].replace("_", "-"))
            raise UsageError(f"{weights} is an exported network and says itself what it takes: leave --{flag} out")
        return predictor_of_exported(open_exported(path, devices[0]))
    trained = open_trained(weights, model, options or {}, devices, data)
    name = path.resolve().name if path.exists() else trained.name
    return predictor_of_net(trained.net, network_input or trained.input, trained.segments, trained.outputs, name)


def _of_net(net: mx.gluon.Block, network_input: Optional[NetworkInput]) -> Predictor:
    call, outputs = getattr(net, "call", None), head_width(net)
    if network_input is None:
        if not call or outputs is None:
            raise UsageError(f"nothing tells how pictures become the input of this {type(net).__name__}: give input=")
        network_input = task_of_network(model_entry(call["name"])).network_input({}, outputs)
    return predictor_of_net(net, network_input, isinstance(net, SegmentationNet), outputs or 0, type(net).__name__)


def expanded(places: Iterable[str]) -> List[str]:
    """Places, with patterns such as ``photos/*.jpg`` replaced by what they match. Raises UsageError for no match."""
    found: List[str] = []
    for place in places:
        path = os.path.expanduser(place)
        if glob.has_magic(path) and not os.path.exists(path):
            matches = sorted(glob.glob(path, recursive=True))
            if not matches:
                raise UsageError(f"nothing matches {place}")
            found += matches
        else:
            found.append(place)
    return found


def pictures_of_lines(lines: Iterable[str]) -> Iterator[Item]:
    """Pictures of a list of places, one a line, found as they are needed; what is not there comes as an error."""
    for line in lines:
        place = line.rstrip("\n")
        if place:
            try:
                yield from find_pictures([place]).chosen
            except GluonAFFError as error:
                yield error
