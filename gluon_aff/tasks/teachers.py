"""The network that a student learns from, by the name a user gives it."""

from __future__ import annotations

from pathlib import Path
from typing import List

import mxnet as mx

from .. import published
from ..errors import UsageError, last_line
from ..models import list_models
from ..zoo import create_model
from .gluoncv_zoo import pretrained_zoo_network


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
        net = pretrained_zoo_network(name, devices)
    net.hybridize(static_alloc=True)
    try:
        shape = net(mx.nd.zeros((1, 3, size, size), ctx=devices[0])).shape
    except (mx.MXNetError, AttributeError, ValueError) as error:
        raise UsageError(f"--teacher {name} cannot take images of {size}x{size}: {last_line(error)}") from None
    if shape != (1, classes):
        raise UsageError(
            f"--teacher {name} gives {shape[1:]} values per image: a student of {classes} classes needs "
            "a teacher of the same classes"
        )
    return net
