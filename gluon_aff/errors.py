"""Errors that a user can act on.

Every message says what was found, what was expected and what to do next. A command line turns them into one
line on standard error and the exit code of the class; anything else is a fault of ours and keeps its traceback.
"""

from __future__ import annotations


class GluonAFFError(RuntimeError):
    """Something went wrong outside the program: data, disk, network, device. Exit code 1."""

    exit_code = 1


class UsageError(GluonAFFError, ValueError):
    """Something was asked for that cannot be: an unknown name, options that contradict each other. Exit code 2."""

    exit_code = 2
