"""Errors that a user can act on.

Every message says what was found, what was expected and what to do next, and names a parameter in backticks. A command
line turns it into one line on standard error, where `val_fraction` is --val-fraction, and the exit code of the class;
the traceback of anything else is kept in a file.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Iterable, List


class GluonAFFError(RuntimeError):
    """Something went wrong outside the program: data, disk, network, device. Exit code 1."""

    exit_code = 1


class UsageError(GluonAFFError, ValueError):
    """Something was asked for that cannot be: an unknown name, options that contradict each other. Exit code 2."""

    exit_code = 2


def last_line(reason: object) -> str:
    """The last line of an error or of a program's output, which has the cause: before it stand MXNet's tracebacks."""
    lines = str(reason).strip().splitlines()
    return lines[-1].strip() if lines else type(reason).__name__ if isinstance(reason, BaseException) else ""


def similar(name: str, choices: Iterable[str]) -> List[str]:
    """Return the ``choices``, five at most, that begin like ``name``, hold it, or are spelt alike."""
    by_lower = {choice.lower(): choice for choice in sorted(choices)}
    typed = name.lower()
    begun = [choice for choice in by_lower if typed and choice.startswith(typed)]
    holding = [choice for choice in by_lower if len(typed) > 2 and typed in choice]
    misspelt = get_close_matches(typed, by_lower, n=5, cutoff=0.6)
    return [by_lower[choice] for choice in list(dict.fromkeys(begun + holding + misspelt))[:5]]


def near_matches(name: str, choices: Iterable[str], command: str = "") -> str:
    """The end of an error message: the ``choices`` `similar` to ``name``; else all, or what ``command`` lists."""
    choices = sorted(choices)
    close = similar(name, choices)
    if close:
        return f"did you mean {', '.join(close)}?"
    return f"`{command}` lists all {len(choices)}" if command else f"choose one of {', '.join(choices)}"
