"""Attentional Feature Fusion (AFF, iAFF, MS-CAM; Dai et al., WACV 2021) for Apache MXNet/Gluon.

>>> net = gluon_aff.create_model("cifar_aff_resnet32", classes=10)
>>> fuse = gluon_aff.create_fusion("iaff", channels=64)
"""

from __future__ import annotations

from .utils import program

program.begin()  # if this process is a command of ours: before the slow imports

from ._version import __version__  # noqa: E402
from .runtime.importing import load  # noqa: E402

load()  # raises a GluonAFFError that says what to run when MXNet cannot work here

from . import published  # noqa: E402
from .models import list_models  # noqa: E402
from .nn import create_fusion, list_fusions  # noqa: E402
from .zoo import create_model  # noqa: E402

__all__ = ["__version__", "create_fusion", "create_model", "list_fusions", "list_models", "published"]
