"""The network that a student learns from, by the name a user gives it."""

from __future__ import annotations

from pathlib import Path
from typing import List

import mxnet as mx

from .. import published
from ..errors import GluonAFFError, UsageError
from ..models import list_models
from ..runtime.gluoncv import import_gluoncv
from ..zoo import create_model


def open_teacher(name: str, classes: int, size: int, devices: List[mx.Context]) -> mx.gluon.HybridBlock:
    """A trained network on the devices: a .params file or catalogue id of ours, one of our models, or of GluonCV's.

    GluonCV fetches its weights. Raises UsageError for a name that none of these knows, or when the network does not
    take images (N, 3, size, size) to (N, classes), GluonAFFError when the weights cannot be had.
    """
    if name in published.catalogue() or Path(name).expanduser().exists():
        net = published.load(name if name in published.catalogue() else Path(name).expanduser(), ctx=devices)
    elif name in list_models():
        net = create_model(name, pretrained=True, ctx=devices)
    else:
        net = _of_gluoncv(name, devices)
    net.hybridize(static_alloc=True)
    try:
        shape = net(mx.nd.zeros((1, 3, size, size), ctx=devices[0])).shape
    except (mx.MXNetError, AttributeError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise UsageError(f"--teacher {name} cannot take images of {size}x{size}: {reason}") from None
    if shape != (1, classes):
        raise UsageError(
            f"--teacher {name} gives {shape[1:]} values per image: a student of {classes} classes needs "
            "a teacher of the same classes"
        )
    return net


def _of_gluoncv(name: str, devices: List[mx.Context]) -> mx.gluon.HybridBlock:
    model_zoo = import_gluoncv("gluoncv.model_zoo")

    try:
        return model_zoo.get_model(name, pretrained=True, ctx=devices)
    except ValueError:  # its message is a list of hundreds of names
        raise UsageError(
            f"--teacher {name} is neither a file, an id of `gluon-aff published list`, one of `gluon-aff models` nor a "
            "network of GluonCV's model zoo"
        ) from None
    except Exception as error:  # no connection, a damaged download, a name without weights: each has its own kind
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise GluonAFFError(f"GluonCV cannot give the weights of --teacher {name}: {reason[-1]}") from error
