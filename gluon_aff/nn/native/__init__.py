"""The native operator of MS-CAM's fusions: built by the machine's own compiler, kept in a cache, loaded if it is there.

``source/`` holds its C++, `operator` says where blocks use it. Nothing here must ever fail an import or a training:
without a compiler, or with a damaged cache, the blocks compute the same in MXNet's operators.

Attributes
----------
enabled : bool
    False has every block of this process that is called or traced from now on use its own arithmetic.
in_all_graphs : bool
    True has blocks use the operator also in graphs that are traced for others.
identity : str or None
    Of the operator that is loaded: what the bits of its results depend on.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator, Optional

from .building import VARIABLE, Entry, State, build, clean, compiler, entry, switched_off

__all__ = [
    "VARIABLE",
    "Entry",
    "State",
    "active",
    "build",
    "clean",
    "compiler",
    "entry",
    "for_this_process",
    "in_words",
    "own_arithmetic",
    "switched_off",
]

OPERATOR = "_gluon_aff_attend"

enabled = True
in_all_graphs = False
identity: Optional[str] = None
_prepared = False


def active(wanted: Optional[str] = None) -> Optional[str]:
    """Return the identity of the operator that blocks use from now on where it fits, None for their own arithmetic.

    At the first call it is built, where a compiler is, and loaded: if it is not slower than MXNet's operators here, or
    is the ``wanted`` one that a run began with.
    """
    global _prepared
    if enabled and (not _prepared or wanted):
        _prepared = True
        from .loading import prepare

        prepare(wanted)
    return identity if enabled else None


def in_words() -> str:
    """Which form blocks use from now on where the operator fits."""
    if active():
        return "fusions by the native operator"
    speed = entry().speed
    return f"fusions by MXNet's operators{f' (the native one has {speed} of their speed)' if speed < 1 else ''}"


@contextmanager
def own_arithmetic() -> Iterator[None]:
    """Have blocks use their own arithmetic meanwhile."""
    global enabled
    before, enabled = enabled, False
    try:
        yield
    finally:
        enabled = before


@contextmanager
def for_this_process() -> Iterator[None]:
    """Have blocks use the operator in the graphs that are traced meanwhile: they run in this process only."""
    global in_all_graphs
    in_all_graphs = True
    try:
        yield
    finally:
        in_all_graphs = False
