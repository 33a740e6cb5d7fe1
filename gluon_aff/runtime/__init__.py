"""What makes MXNet 1.9.1 importable and quick, which devices it can use, and where it keeps its files."""

from __future__ import annotations

import os
from pathlib import Path


def mxnet_home() -> Path:
    """MXNet's place for data sets and weights: $MXNET_HOME, by default ~/.mxnet."""
    return Path(os.environ.get("MXNET_HOME") or "~/.mxnet").expanduser()
