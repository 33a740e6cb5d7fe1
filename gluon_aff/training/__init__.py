"""Training: the loop and its parts, checkpoints, a run's directory. Knows no data set and no network."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .listeners import BatchDone, Listener, Listeners
    from .loop import Job, fit, restore, save
    from .metrics import Diverged, Loader, accuracy, hits, soft_rmse
    from .optim import Updater
    from .ranks import SingleProcess
    from .run import LogBuffer, Run, check_free
    from .schedule import Schedule
    from .state import State
    from .stop import Stop
    from .targets import Targets
    from .workers import Workers, group
else:
    from ..utils.lazy import attributes_of

    __getattr__ = attributes_of(
        __name__,
        ".stop",  # without MXNet
        ".listeners",
        ".loop",
        ".metrics",
        ".optim",
        ".ranks",
        ".run",
        ".schedule",
        ".state",
        ".targets",
        ".workers",
    )

#: By MXNet's names, and here, as a command line's help has them before MXNet is imported.
OPTIMIZERS = ("nag", "sgd", "adam", "adagrad")

__all__ = [
    "OPTIMIZERS",
    "SingleProcess",
    "BatchDone",
    "Diverged",
    "Job",
    "Listener",
    "Listeners",
    "Loader",
    "LogBuffer",
    "Run",
    "Schedule",
    "State",
    "Stop",
    "Targets",
    "Updater",
    "Workers",
    "accuracy",
    "fit",
    "group",
    "check_free",
    "hits",
    "restore",
    "save",
    "soft_rmse",
]
