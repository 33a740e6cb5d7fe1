"""Starts a plan's processes and watches them until all have ended."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Callable, List, Optional, Sequence

from .plan import Member
from .process import Process

STOPPED = (130, 143)  # what a training script answers a signal with, once its checkpoint is written
AFTER_FAILURE = 5.0  # seconds for others that fail of the same, to say so themselves
AFTER_STOP = 45.0  # for the first rank to write its checkpoint, when another has left already
AFTER_END = 5.0  # for servers and scheduler
_LOOK = 0.1
Report = Callable[[str], None]


def launch(members: Sequence[Member], log_dir: Path, report: Report) -> int:
    """Run all members to the end; return 0, 130 or 143 when stopped by a signal, or a failed one's code.

    The first SIGINT or SIGTERM is passed on to the workers, which stop together; the second ends everything. When a
    process fails, or a server ends before the workers, the rest is ended within a minute and ``report`` is given the
    names.
    """
    log_dir.mkdir(parents=True, exist_ok=True)
    crew = _Crew(report)
    with _Signals() as signals:
        try:
            for member in members:
                log = log_dir / f"{member.name.replace(' ', '-')}.log"
                crew.start(member, log)
            return crew.watch(signals)
        finally:
            crew.end_all()


class _Signals:
    """Counts SIGINT and SIGTERM while entered."""

    def __enter__(self) -> _Signals:
        self.received: List[int] = []
        self._previous = {n: signal.signal(n, self._note) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: Optional[FrameType]) -> None:
        self.received.append(number)


class _Crew:
    def __init__(self, report: Report) -> None:
        self.report = report
        self.workers: List[Process] = []
        self.others: List[Process] = []

    def start(self, member: Member, log: Path) -> None:
        worker = member.role == "worker"
        process = Process(member, log, shown=worker and member.number == 0)
        (self.workers if worker else self.others).append(process)

    def watch(self, signals: _Signals) -> int:
        forwarded, deadline = False, None
        while True:
            if len(signals.received) > 1:
                self.report("second signal: ending every process")
                return 128 + signals.received[0]
            if signals.received and not forwarded:
                for worker in self.workers:
                    worker.send(signals.received[0])
                forwarded = True
            for process in (*self.workers, *self.others):
                process.beat()
            failed = self._failed()
            if failed:
                return self._fail(failed[0])
            codes = [worker.code for worker in self.workers if worker.code is not None]
            if len(codes) == len(self.workers):
                return max(codes)
            if any(code in STOPPED for code in codes):
                deadline = deadline or time.monotonic() + AFTER_STOP
                if time.monotonic() > deadline:
                    late = ", ".join(worker.member.name for worker in self.workers if worker.code is None)
                    self.report(f"{late} did not stop within {AFTER_STOP:g} s of the others: ended")
                    return 1
            time.sleep(_LOOK)

    def _failed(self) -> List[Process]:
        failed = [worker for worker in self.workers if worker.code not in (None, 0, *STOPPED)]
        running = any(worker.code is None for worker in self.workers)
        return failed + [other for other in self.others if other.code is not None and running]

    def _fail(self, first: Process) -> int:
        self.report(first.describe())
        self._wait(self.workers, AFTER_FAILURE)
        for process in self._failed():
            if process is not first:
                self.report(process.describe())
        running = [process for process in (*self.workers, *self.others) if process.code is None]
        self.report(f"ending the other {len(running)} processes of the run; it can be resumed from its last checkpoint")
        return first.code or 1

    def end_all(self) -> None:
        """Leave nothing behind, whatever has happened."""
        everyone = [*self.workers, *self.others]
        if all(worker.code is not None for worker in self.workers):
            for process in self.others:
                process.send(signal.SIGTERM)
            self._wait(self.others, AFTER_END)
        for process in everyone:
            process.send(signal.SIGKILL)
        self._wait(everyone, AFTER_END)
        for process in everyone:
            if process.code is None:
                process.end()
            process.finish()

    def _wait(self, processes: Sequence[Process], seconds: float) -> None:
        end = time.monotonic() + seconds
        while any(process.code is None for process in processes) and time.monotonic() < end:
            time.sleep(_LOOK)


def to_stderr(line: str) -> None:
    print(f"launch: {line}", file=sys.stderr, flush=True)
