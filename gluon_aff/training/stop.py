"""Ending a run on SIGINT or SIGTERM without losing its work."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType
from typing import Any, Dict, List, Optional, Sequence

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """While entered, the first SIGINT, SIGTERM or SIGHUP only sets ``requested``; the second ends the process at once.

    The loop looks at it after every update, saves and returns. SIGHUP comes when the terminal closes; where it is
    ignored, as under nohup, it stays ignored. Outside the main thread, where Python allows no handlers, nothing is
    installed.

    Attributes
    ----------
    requested : int or None
        The signal that came.
    """

    def __init__(self) -> None:
        self.requested: Optional[int] = None
        self._previous: Dict[int, Any] = {}
        self._owner = os.getpid()

    @property
    def exit_code(self) -> int:
        """130, 143 or 129 after SIGINT, SIGTERM or SIGHUP, as shells expect; 0 while nothing was requested."""
        return 128 + self.requested if self.requested else 0

    def request(self, number: int = signal.SIGTERM) -> None:
        """Ask for a stop as signal ``number`` does."""
        self.requested = int(number)

    def flags(self) -> List[int]:
        """For each of SIGNALS 1 where it was requested, else 0: what processes that stop together add up."""
        return [int(self.requested == number) for number in SIGNALS]

    def join(self, flags: Sequence[float]) -> bool:
        """Take over what others were asked, as the sum of their `flags`; return whether anybody was asked to stop.

        It goes by ``flags`` alone, not by a signal that has come in the meantime: the others do not know of that one.
        """
        asked = next((number for number, flag in zip(SIGNALS, flags) if flag), None)
        self.requested = self.requested or asked
        return asked is not None

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            wanted = [number for number in SIGNALS if number != signal.SIGHUP or not ignored]
            self._previous = {number: signal.signal(number, self._handle) for number in wanted}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _handle(self, number: int, frame: Optional[FrameType]) -> None:
        if os.getpid() != self._owner:  # a forked worker has inherited this: its parent decides about Ctrl-C
            if number != signal.SIGINT:
                os._exit(128 + number)
            return
        if self.requested:
            os._exit(128 + number)
        self.requested = number
        with suppress(OSError):  # the terminal may be what has gone
            os.write(2, b"\nstopping: finishing the batch and saving; a second signal ends at once\n")
