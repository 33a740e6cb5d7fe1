"""An end to waiting for a process that will never answer."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import contextmanager
from typing import Iterator, Optional, Tuple

_LOOK = 0.5  # seconds


class Patience:
    """Ends the process, with one line and exit code 1, when one wait takes longer than ``seconds``.

    A call into MXNet that waits for a peer can be neither interrupted nor given a time limit. Ranks that fail are the
    launcher's business; this is for those that hang.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._wait: Optional[Tuple[float, str]] = None
        threading.Thread(target=self._watch, name="patience", daemon=True).start()

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        self._wait = (time.monotonic() + self.seconds, what)
        try:
            yield
        finally:
            self._wait = None

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK)
            wait = self._wait
            if wait and time.monotonic() > wait[0]:
                print(f"error: waited {self.seconds:g} s for {wait[1]}: giving up", file=sys.__stderr__, flush=True)
                os._exit(1)
