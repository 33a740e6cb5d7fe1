"""Tasks: what is trained, from the command line to what is made of a run. See `Task` for how to add one."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..evaluation import ScoreRequest
    from .parts import make_job, make_network, own_network
    from .setup import Data, Setup
    from .task import (
        Task,
        get_task,
        list_ablation_hosts,
        list_tasks,
        register_task,
        task_of_dataset,
        task_of_host,
        task_of_network,
    )
else:
    from ..utils.lazy import attributes_of

    _attribute = attributes_of(__name__, ".setup", ".task", "..evaluation", ".parts")

    def __getattr__(name: str) -> object:
        if name in __all__:  # the options alone need no task, and no MXNet
            _attribute("task").load_built_in()
        return _attribute(name)


__all__ = [
    "Data",
    "ScoreRequest",
    "Setup",
    "Task",
    "get_task",
    "list_ablation_hosts",
    "list_tasks",
    "make_job",
    "make_network",
    "own_network",
    "register_task",
    "task_of_dataset",
    "task_of_host",
    "task_of_network",
]
