"""The help of the package's own tasks, which needs their options alone: no network, and so no MXNet."""

from __future__ import annotations

import importlib
from typing import Optional

from .parser import OptionParser


def parser_of(task: str, prog: str) -> Optional[OptionParser]:
    """The command line of a task whose options are a file in this folder; None for any other task.

    Parameters
    ----------
    task : str
        Its name.
    prog : str
        What the help calls the program.

    Returns
    -------
    OptionParser or None
        The same as the task's own.
    """
    if not task.isidentifier():
        return None
    try:
        options = importlib.import_module(f".{task}", __package__)
    except ModuleNotFoundError:
        return None
    if not hasattr(options, "DESCRIPTION"):
        return None
    parser = OptionParser(prog=prog, description=options.DESCRIPTION)
    options.add_options(parser)
    return parser
