"""Tasks: what is trained, from the command line to what is made of a run. See `Task` for how to add one."""

from . import cifar, imagenet, seg  # noqa: F401  (they register themselves)
from .parts import Data, Setup, make_job, make_network, own_network
from .register import (
    get_task,
    list_ablation_hosts,
    list_tasks,
    register_task,
    task_of_dataset,
    task_of_host,
    task_of_network,
)
from .task import Task

__all__ = [
    "Data",
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
