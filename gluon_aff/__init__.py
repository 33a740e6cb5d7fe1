"""Attentional Feature Fusion (AFF, iAFF, MS-CAM; Dai et al., WACV 2021) for Apache MXNet/Gluon.

>>> net = gluon_aff.create_model("cifar_aff_resnet32", classes=10)
>>> fuse = gluon_aff.create_fusion("iaff", channels=64)

Importing it imports MXNet, which it makes importable on newer NumPy and Python first. A command of ours only gets
ready for that: it imports MXNet when it needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .utils import streams

streams.begin_command()  # if this process is a command of ours: before the slow imports

from ._version import __version__  # noqa: E402
from .runtime import importing  # noqa: E402


def _native() -> None:
    from .nn.native import loading

    loading.install()  # if it is built


importing.after_mxnet.append(_native)
importing.begin(streams.is_command())  # raises a GluonAFFError that says what to run when MXNet cannot work here

if TYPE_CHECKING:
    from . import published
    from .nn import create_fusion, list_fusions
    from .tasks.opening import load_run
    from .tasks.predicting import predict
    from .zoo import create_model, get_model, list_models
else:
    from .utils.lazy import attributes_of

    _attribute = attributes_of(__name__, ".nn", ".zoo", ".tasks.predicting", ".tasks.opening")

    def __getattr__(name: str) -> object:
        if name in __all__ and name != "published":  # which is needed without MXNet, too
            importing.import_mxnet()
        return _attribute(name)


__all__ = [
    "__version__",
    "create_fusion",
    "create_model",
    "get_model",
    "list_fusions",
    "list_models",
    "load_run",
    "predict",
    "published",
]
