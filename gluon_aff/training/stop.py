"""Ending a run on SIGINT or SIGTERM without losing its work."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Dict, List, Optional, Sequence, Type

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """While entered, the first SIGINT or SIGTERM only sets ``requested``; the second ends the process at once.

    The loop looks at it after every update, saves and returns. ``exit_code`` is then 130 or 143, as shells
    expect. Outside the main thread, where Python allows no handlers, nothing is installed.
    """

    def __init__(self) -> None:
        self.requested: Optional[int] = None
        self._previous: Dict[int, Any] = {}
        self._owner = os.getpid()

    @property
    def exit_code(self) -> int:
        return 128 + self.requested if self.requested else 0

    def request(self, number: int = signal.SIGTERM) -> None:
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
            self._previous = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _handle(self, number: int, frame: Optional[FrameType]) -> None:
        if os.getpid() != self._owner:  # a forked worker has inherited this: its parent decides about Ctrl-C
            if number == signal.SIGTERM:
                os._exit(128 + number)
            return
        if self.requested:
            os._exit(128 + number)
        self.requested = number
        os.write(2, b"\nstopping: finishing the batch and saving; a second signal ends at once\n")
