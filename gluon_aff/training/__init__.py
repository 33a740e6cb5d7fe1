"""Training: options, schedule, targets, the loop, checkpoints, history. Knows no data set and no network."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .course import Facts, LogBuffer, Outcome, Plan, carry_out, train_along
    from .listeners import BatchDone, Listener, Listeners
    from .loader import Loader
    from .loop import Job, fit, restore, save
    from .metrics import Diverged, accuracy, hits, soft_rmse
    from .ranks import SingleProcess, Workers, group
    from .run import Run, check_free
    from .schedule import Schedule
    from .state import State
    from .stop import Stop
    from .targets import Targets
    from .updater import Updater
else:
    from ..utils.lazy import attributes_of

    __getattr__ = attributes_of(__name__)

__all__ = [
    "SingleProcess",
    "BatchDone",
    "Diverged",
    "Facts",
    "Job",
    "Listener",
    "Listeners",
    "Loader",
    "LogBuffer",
    "Outcome",
    "Plan",
    "Run",
    "Schedule",
    "State",
    "Stop",
    "Targets",
    "Updater",
    "Workers",
    "accuracy",
    "carry_out",
    "fit",
    "group",
    "check_free",
    "hits",
    "restore",
    "save",
    "soft_rmse",
    "train_along",
]
