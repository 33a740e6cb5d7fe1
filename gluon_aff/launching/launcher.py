"""Starts the processes of a run and watches them until all have ended."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Sequence

from .cluster import Node

SUPERVISOR = Path(__file__).with_name("supervisor.py")
# ssh notices within half a minute that the other machine is gone or silent, and never asks for a password
SSH = ["ssh", "-T", "-oBatchMode=yes", "-oConnectTimeout=30", "-oServerAliveInterval=10", "-oServerAliveCountMax=3"]
SSH_FAILED = 255  # what ssh answers with when there is no connection, or no longer
BEAT, SILENCE = 10.0, 60.0  # seconds: another machine hears from the launcher so often, and ends without it so late
ORDERS = {signal.SIGINT: b"i", signal.SIGTERM: b"t", signal.SIGKILL: b"k"}

STOPPED = (130, 143)  # what a training script answers a signal with, once its checkpoint is written
AFTER_FAILURE = 5.0  # seconds for others that fail of the same, to say so themselves
AFTER_STOP = 45.0  # for the first rank to write its checkpoint, when another has left already
AFTER_END = 5.0  # for servers and scheduler
_LOOK = 0.1
Report = Callable[[str], None]


def launch(nodes: Sequence[Node], log_dir: Path, report: Report) -> int:
    """Run all to the end; return 0, 130 or 143 when stopped by a signal, or a failed one's code.

    The first SIGINT or SIGTERM is passed on to the workers, which stop together; the second ends everything. When a
    process fails, or a server ends before the workers, the rest is ended within a minute and ``report`` is given the
    names.
    """
    log_dir.mkdir(parents=True, exist_ok=True)
    workers: List[Process] = []
    others: List[Process] = []
    with _received_signals() as received:
        try:
            for node in nodes:
                log = log_dir / f"{node.name.replace(' ', '-')}.log"
                process = Process(node, log, shown=node.name == "worker 0")
                (workers if node.role == "worker" else others).append(process)
            return _watch(workers, others, received, report)
        finally:
            _end_all(workers, others)


@contextmanager
def _received_signals() -> Iterator[List[int]]:
    """The SIGINT and SIGTERM that come while entered."""
    received: List[int] = []
    previous = {n: signal.signal(n, lambda n, _: received.append(n)) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _watch(workers: List[Process], others: List[Process], received: List[int], report: Report) -> int:
    forwarded, deadline = False, None
    while True:
        if len(received) > 1:
            report("second signal: ending every process")
            return 128 + received[0]
        if received and not forwarded:
            for worker in workers:
                worker.send(received[0])
            forwarded = True
        for process in (*workers, *others):
            process.beat()
        failed = _failed(workers, others)
        if failed:
            _report_failure(workers, others, failed[0], report)
            return failed[0].code or 1
        codes = [worker.code for worker in workers if worker.code is not None]
        if len(codes) == len(workers):
            return max(codes)
        if any(code in STOPPED for code in codes):
            deadline = deadline or time.monotonic() + AFTER_STOP
            if time.monotonic() > deadline:
                late = ", ".join(worker.node.name for worker in workers if worker.code is None)
                report(f"{late} did not stop within {AFTER_STOP:g} s of the others: ended")
                return 1
        time.sleep(_LOOK)


def _failed(workers: List[Process], others: List[Process]) -> List[Process]:
    failed = [worker for worker in workers if worker.code not in (None, 0, *STOPPED)]
    running = any(worker.code is None for worker in workers)
    return failed + [other for other in others if other.code is not None and running]


def _report_failure(workers: List[Process], others: List[Process], first: Process, report: Report) -> None:
    report(first.describe())
    _wait(workers, AFTER_FAILURE)
    for process in _failed(workers, others):
        if process is not first:
            report(process.describe())
    running = [process for process in (*workers, *others) if process.code is None]
    report(f"ending the other {len(running)} processes of the run; it can be resumed from its last checkpoint")


def _end_all(workers: List[Process], others: List[Process]) -> None:
    """Leave nothing behind, whatever has happened."""
    everyone = [*workers, *others]
    if all(worker.code is not None for worker in workers):
        for process in others:
            process.send(signal.SIGTERM)
        _wait(others, AFTER_END)
    for process in everyone:
        process.send(signal.SIGKILL)
    _wait(everyone, AFTER_END)
    for process in everyone:
        process.finish()


def _wait(processes: Sequence[Process], seconds: float) -> None:
    end = time.monotonic() + seconds
    while any(process.code is None for process in processes) and time.monotonic() < end:
        time.sleep(_LOOK)


class Process:
    """A node that runs, under its supervisor. Its output goes to ``log`` and, when ``shown``, to the terminal, too."""

    def __init__(self, node: Node, log: Path, shown: bool) -> None:
        self.node = node
        self.log = log
        self._shown = shown
        here = node.host.is_here
        command = [sys.executable, "-I", str(SUPERVISOR), "0" if here else f"{SILENCE:g}", *node.command]
        self._beaten = time.monotonic()
        self._process = subprocess.Popen(
            command if here else [*SSH, node.host.login, remote_command(command, node.environment)],
            env=node.environment if here else None,
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
        """Tell a supervisor on another machine that the launcher is there; call it often."""
        if not self.node.host.is_here and time.monotonic() > self._beaten + BEAT:
            self._beaten = time.monotonic()
            self._write(b".")

    def finish(self) -> None:
        """Wait for the rest of its output; end it first, where an order to its supervisor has not helped."""
        if self.code is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._reader.join(timeout=2.0)
        with suppress(BrokenPipeError):
            self._orders.close()

    def describe(self) -> str:
        """Return what became of it, for whoever has to find out why."""
        code = self.code or 0
        how = f"exit code {code}"
        with suppress(ValueError):
            how = f"ended by {signal.Signals(code - 128).name}"
        if code == SSH_FAILED and not self.node.host.is_here:
            self._reader.join(timeout=2.0)
            lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")[1:]
            last = next((line.strip() for line in reversed(lines) if line.strip()), how)
            how = f"ssh failed or lost the connection ({last})"
        return f"{self.node.name} on {self.node.host.name}: {how}; its log: {self.log}"

    def _write(self, order: bytes) -> None:
        with suppress(BrokenPipeError, ValueError):
            self._orders.write(order)
            self._orders.flush()

    def _copy_output(self) -> None:
        with open(self.log, "wb", buffering=0) as log:
            log.write(f"---- log of {self.node.name} ----\n".encode())  # tells the next launch whose it is
            while True:
                piece = os.read(self._output.fileno(), 65536)
                if not piece:
                    return
                log.write(piece)
                if self._shown:
                    os.write(1, piece)


def remote_command(command: List[str], environment: Dict[str, str]) -> str:
    """Return a line for the shell at the other end: the same working directory, the environment written out."""
    settings = [f"{name}={value}" for name, value in sorted(environment.items())]
    return f"cd {shlex.quote(os.getcwd())} && exec env {' '.join(map(shlex.quote, [*settings, *command]))}"
