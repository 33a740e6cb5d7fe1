"""A member's process: its keeper, its log, and what is sent to it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Dict, List, Optional

from .plan import Member

KEEPER = Path(__file__).with_name("keeper.py")
# ssh notices within half a minute that the other machine is gone or silent, and never asks for a password
SSH = ["ssh", "-T"]
for _option in ("BatchMode=yes", "ConnectTimeout=30", "ServerAliveInterval=10", "ServerAliveCountMax=3"):
    SSH += ["-o", _option]
SSH_FAILED = 255  # what ssh answers with when there is no connection, or no longer
BEAT, SILENCE = 10.0, 60.0  # seconds: another machine hears from the launcher so often, and ends without it so late
ORDERS = {signal.SIGINT: b"i", signal.SIGTERM: b"t", signal.SIGKILL: b"k"}


class Process:
    """A running member. Its output goes to ``log`` and, when ``shown``, to the terminal, too."""

    def __init__(self, member: Member, log: Path, shown: bool) -> None:
        self.member = member
        self.log = log
        self._shown = shown
        here = member.host.is_here
        silence = "0" if here else f"{SILENCE:g}"
        keeper = [sys.executable, "-I", str(KEEPER), silence, *member.command]
        self._beaten = time.monotonic()
        self._process = subprocess.Popen(
            keeper if here else [*SSH, member.host.login, remote_command(keeper, member.environment)],
            env=member.environment if here else None,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the launcher alone, which passes it on
        )
        assert self._process.stdin is not None and self._process.stdout is not None  # both are pipes
        self._orders, self._output = self._process.stdin, self._process.stdout
        self._reader = threading.Thread(target=self._copy_output, daemon=True)
        self._reader.start()

    @property
    def code(self) -> Optional[int]:
        """The exit code, 128 + n for signal n; None while it runs."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def send(self, number: int) -> None:
        self._write(ORDERS[signal.Signals(number)])

    def beat(self) -> None:
        """Tell a keeper on another machine that the launcher is there; call it often."""
        if not self.member.host.is_here and time.monotonic() > self._beaten + BEAT:
            self._beaten = time.monotonic()
            self._write(b".")

    def end(self) -> None:
        """The last resort, when an order to its keeper has not helped."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def finish(self) -> None:
        """Wait for the rest of its output."""
        self._reader.join(timeout=2.0)
        with suppress(BrokenPipeError):
            self._orders.close()

    def describe(self) -> str:
        """What became of it, for whoever has to find out why."""
        code = self.code
        try:
            killed = code is not None and code > 128
            how = f"ended by {signal.Signals(code - 128).name}" if killed and code else f"exit code {code}"
        except ValueError:
            how = f"exit code {code}"
        if code == SSH_FAILED and not self.member.host.is_here:
            self._reader.join(timeout=2.0)
            how = f"ssh failed or lost the connection ({self._last_line() or how})"
        return f"{self.member.name} on {self.member.host.name}: {how}; its log: {self.log}"

    def _write(self, order: bytes) -> None:
        with suppress(BrokenPipeError, ValueError):
            self._orders.write(order)
            self._orders.flush()

    def _last_line(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")[1:]
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def _copy_output(self) -> None:
        with open(self.log, "wb", buffering=0) as log:
            log.write(f"---- log of {self.member.name} ----\n".encode())  # tells the next launch whose it is
            while True:
                piece = os.read(self._output.fileno(), 65536)
                if not piece:
                    return
                log.write(piece)
                if self._shown:
                    os.write(1, piece)


def remote_command(command: List[str], environment: Dict[str, str]) -> str:
    """A line for the shell at the other end: the same working directory, and an environment that is written out."""
    settings = [f"{name}={value}" for name, value in sorted(environment.items())]
    return f"cd {shlex.quote(os.getcwd())} && exec env {' '.join(map(shlex.quote, [*settings, *command]))}"
