"""The register of tasks: what `gluon-aff train` offers, and whose rules a run follows."""

from __future__ import annotations

import importlib
from typing import Dict, List

from ..errors import UsageError, near_matches
from ..models import ModelEntry
from .task import Task

_BUILT_IN = ("cifar", "imagenet", "seg")
_TASKS: Dict[str, Task] = {}


def load_built_in() -> None:
    """Import the package's own tasks, which register themselves."""
    for name in _BUILT_IN:
        importlib.import_module(f".{name}", __package__)


def _registered() -> Dict[str, Task]:
    load_built_in()
    return _TASKS


def register_task(task: Task) -> Task:
    """Make a task known under its name, here and to every command. Raises UsageError when the name is taken."""
    if task.name in _TASKS:
        raise UsageError(f"task {task.name!r} is registered already, as {type(_TASKS[task.name]).__name__}")
    _TASKS[task.name] = task
    return task


def list_tasks() -> List[str]:
    """Names of the tasks, in the order they were registered."""
    return list(_registered())


def get_task(name: str) -> Task:
    """The task of a name. Raises UsageError for an unknown one."""
    tasks = _registered()
    if name not in tasks:
        raise UsageError(f"unknown task {name!r}: {near_matches(name, tasks)}")
    return tasks[name]


def task_of_dataset(dataset: str) -> Task:
    """The task that trains on a data set. Raises UsageError when none does."""
    for task in _registered().values():
        if dataset in task.datasets():
            return task
    known = [name for task in _registered().values() for name in task.datasets()]
    raise UsageError(f"no task has the data set {dataset!r}: {near_matches(dataset, known)}")


def task_of_network(entry: ModelEntry) -> Task:
    """The task that a network of `gluon-aff models` is for, by its output and the size of its input."""
    return next(task for task in _registered().values() if task.supports(entry))


def task_of_host(host: str) -> Task:
    """The task whose ``--model`` an ablation's host network is. Raises UsageError when none has it."""
    for task in _registered().values():
        if host in task.ablation_hosts:
            return task
    raise UsageError(f"no ablation of {host!r}: choose from {', '.join(list_ablation_hosts())}")


def list_ablation_hosts() -> List[str]:
    """The host networks of all tasks that an ablation may have."""
    return [host for task in _registered().values() for host in task.ablation_hosts]
