"""Networks that published weights fit: same structural names, shapes and dtypes."""

from __future__ import annotations

from typing import Optional

import mxnet as mx

from ..models import build_model, initializer_of
from ..models.common import ClassificationNet
from .catalogue import record


def build(identity: str, ctx: Optional[mx.Context] = None) -> ClassificationNet:
    """The initialised network of a catalogue id; ``(N, 3, H, W) -> (N, classes)``.

    ``_collect_params_with_prefix()`` gives the names, shapes and dtypes of the published file. A float16 entry gives a
    float16 network, which does not run on CPU: ``net.cast('float32')`` there. Raises UsageError for an unknown id.
    """
    entry = record(identity)
    name = entry["model"]["name"]
    net = build_model(name, **entry["model"]["options"])
    net.initialize(initializer_of(name), ctx=ctx)
    if entry["dtype"] != "float32":
        net.cast(entry["dtype"])
    return net
