"""A network of any weights, opened for image files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional

import mxnet as mx

from ..evaluation import TrainedNetwork
from ..tasks.opening import open_trained


def open_image_network(
    weights: str,
    devices: List[mx.Context],
    model: Optional[str] = None,
    options: Optional[Dict[str, Any]] = None,
    data: Optional[Dict[str, Any]] = None,
) -> TrainedNetwork:
    """Open a catalogue id, a .params file or a run; its ``name`` is for headings: the id, or the file's or run's name.

    The arguments are those of `open_trained`, and so is what is raised.
    """
    trained = open_trained(weights, model, options or {}, devices, data)
    path = Path(weights).expanduser()
    if path.exists():
        trained.name = path.resolve().name
    return trained
