"""Where MXNet, GluonCV and this package keep data sets and weights."""

from __future__ import annotations

import os
from pathlib import Path


def mxnet_home() -> Path:
    """MXNet's place for data sets and weights: $MXNET_HOME, by default ~/.mxnet."""
    return Path(os.environ.get("MXNET_HOME") or "~/.mxnet").expanduser()
