"""What a command of ours does before its imports: Ctrl-C in one line, and three standard streams that exist."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Optional

from . import streams

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def is_ours() -> bool:
    """Whether this process is ``gluon-aff``, ``python -m gluon_aff`` or one of the training scripts.

    Returns
    -------
    bool
        While Python imports the package of the module that ``-m`` names, and only then, ``sys.argv[0]`` is "-m".
    """
    program = (sys.argv or [""])[0]
    name = os.path.basename(program)
    beside_package = os.path.dirname(os.path.abspath(program)) == _ROOT
    return name in ("-m", "gluon-aff") or (beside_package and name.startswith("train_"))


def begin() -> None:
    """Get a command of ours ready for its imports; `imported` ends that. In any other process nothing happens."""
    if is_ours():
        streams.open_missing()
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _leave)


def imported() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, frame: Optional[FrameType]) -> None:
    """At once: there is nothing to save yet, and a KeyboardInterrupt may come back as another error from an import."""
    try:
        os.write(2, b"stopped\n")
    finally:
        os._exit(128 + number)
