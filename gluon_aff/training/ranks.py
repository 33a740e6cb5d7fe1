"""The processes that train one network together, one rank each, and all that they tell each other.

Every method of a group is called by all ranks in the same order, or none of them comes back from it.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import os
import sys
import threading
import time
from contextlib import contextmanager
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

import mxnet as mx
import numpy as np

from ..errors import GluonAFFError, UsageError
from .stop import Stop

#: What `gluon-aff launch` tells its workers beside the variables that MXNet reads.
RANK, TIMEOUT = "GLUON_AFF_RANK", "GLUON_AFF_TIMEOUT"
_TIMEOUT = 600.0
_NEEDED = ("DMLC_PS_ROOT_URI", "DMLC_PS_ROOT_PORT", "DMLC_NUM_WORKER", "DMLC_NUM_SERVER")
_CHECKS = 5


class SingleProcess:
    """The group of a run in one process: sums of one, agreed with oneself."""

    rank, size = 0, 1

    def sum(self, arrays: Sequence[mx.nd.NDArray], numbers: Sequence[float] = ()) -> List[float]:
        """Replace float32 ``arrays``, of the same shapes on every rank, by their sums over the ranks.

        The sums of ``numbers``, which take the same way and are exact for whole numbers below 2^24, are returned.
        """
        return [float(number) for number in numbers]

    def gather(self, numbers: Sequence[float]) -> List[List[float]]:
        """Every rank's numbers, unrounded, by rank."""
        return [[float(number) for number in numbers]]

    def gather_arrays(self, arrays: Dict[str, mx.nd.NDArray]) -> List[Dict[str, mx.nd.NDArray]]:
        """Every rank's float32 arrays, by rank; names and shapes are the same on all."""
        return [arrays]

    def gather_object(self, value: Any) -> List[Any]:
        """Every rank's value, which JSON must be able to carry, by rank."""
        return [value]

    def broadcast(self, arrays: Sequence[mx.nd.NDArray]) -> None:
        """Replace float32 ``arrays`` by the first rank's."""

    def self_check(self) -> None:
        """Raise GluonAFFError unless known sums come out right, several times."""

    def barrier(self) -> None:
        """Wait until every rank is here."""
        self.gather([0])

    def sum_numbers(self, numbers: Sequence[float]) -> List[float]:
        """Sums over the ranks, added in their order: the same to the bit on all, and every time."""
        return [math.fsum(column) for column in zip(*self.gather(numbers))]

    def broadcast_object(self, value: Any) -> Any:
        """The first rank's value, which JSON must be able to carry."""
        return self.gather_object(value if self.rank == 0 else None)[0]

    def agree(self, stop: Stop) -> bool:
        """Whether any rank was asked to stop; from now on all of them were."""
        return stop.join(self.sum_numbers(stop.flags()))

    def check_equal(self, arrays: Dict[str, mx.nd.NDArray], when: str) -> None:
        """Raise GluonAFFError, naming the ranks, unless all hold the same bits."""
        digests = [row[0] for row in self.gather([_digest(arrays)])]
        others = [str(rank) for rank, digest in enumerate(digests) if digest != digests[0]]
        if others:
            raise GluonAFFError(
                f"the network of rank {', '.join(others)} is no longer that of rank 0 {when}: the ranks' sums were "
                "wrong, so the run ends here; resume from the last checkpoint, with MXNET_ENGINE_TYPE=NaiveEngine"
            )


class Workers(SingleProcess):
    """Workers of MXNet's parameter server, as `gluon-aff launch` starts them.

    One key holds all arrays of a sum, copied into a row, so a sum is one message each way. On CPU workers MXNet's
    default engine gives wrong sums without a word, so it is refused there. A wait of more than GLUON_AFF_TIMEOUT
    seconds for the others ends the process.

    Parameters
    ----------
    devices
        What this rank computes on.

    Raises
    ------
    UsageError
        The default engine with CPU devices, or variables of the parameter server are missing.
    """

    def __init__(self, devices: Iterable[mx.Context] = ()) -> None:
        on_gpu = any(device.device_type == "gpu" for device in devices)
        if not on_gpu and os.environ.get("MXNET_ENGINE_TYPE") != "NaiveEngine":
            raise UsageError(
                "a worker on the CPU needs MXNET_ENGINE_TYPE=NaiveEngine before Python starts, MXNet's default engine "
                "adds wrongly there: start it with `gluon-aff launch`, which sets it"
            )
        missing = [name for name in _NEEDED if not os.environ.get(name)]
        if missing:
            raise UsageError(f"DMLC_ROLE=worker, but {', '.join(missing)} is not set: start it with `gluon-aff launch`")
        self._watchdog = Watchdog(float(os.environ.get(TIMEOUT) or _TIMEOUT))
        with self._watchdog.waiting("the scheduler, the servers and the other workers to start"):
            self._store = mx.kv.create("dist_device_sync" if on_gpu else "dist_sync")
        # a rank that fails must not wait for the others at its exit
        mx.base.check_call(mx.base._LIB.MXKVStoreSetBarrierBeforeExit(self._store.handle, ctypes.c_int(0)))
        self.size = self._store.num_workers
        self.rank = int(os.environ.get(RANK) or self._store.rank)
        self._rows: Dict[int, mx.nd.NDArray] = {}

    def sum(self, arrays: Sequence[mx.nd.NDArray], numbers: Sequence[float] = ()) -> List[float]:
        length = sum(array.size for array in arrays)
        if not length + len(numbers):
            return []
        row = self._row(length + len(numbers), arrays[0].context if arrays else mx.cpu())
        _copy(arrays, row)
        if len(numbers):
            row[length:] = np.array(numbers, "float32")
        self._reduce(row)
        place = 0
        for array in arrays:
            array[:] = row[place : place + array.size].reshape(array.shape)
            place += array.size
        return row[length:].asnumpy().tolist() if len(numbers) else []

    def gather(self, numbers: Sequence[float]) -> List[List[float]]:
        return self._gather_bytes(np.array(numbers, "float64").view(np.uint8)).view("float64").tolist()

    def gather_arrays(self, arrays: Dict[str, mx.nd.NDArray]) -> List[Dict[str, mx.nd.NDArray]]:
        if not arrays:
            return [{} for _ in range(self.size)]
        mine = mx.nd.zeros(sum(array.size for array in arrays.values()))
        _copy(arrays.values(), mine)
        gathered = []
        for row in self._gather(mine):
            parts, place = {}, 0
            for name, array in arrays.items():
                parts[name] = row[place : place + array.size].reshape(array.shape).as_in_context(array.context)
                place += array.size
            gathered.append(parts)
        return gathered

    def gather_object(self, value: Any) -> List[Any]:
        text = json.dumps(value).encode()
        lengths = [int(row[0]) for row in self.gather([len(text)])]
        size = 1 << max(lengths).bit_length()  # few different lengths: the servers keep a row of each
        rows = self._gather_bytes(np.frombuffer(text.ljust(size), np.uint8))
        return [json.loads(bytes(row[:length])) for row, length in zip(rows, lengths)]

    def broadcast(self, arrays: Sequence[mx.nd.NDArray]) -> None:
        for array in arrays if self.rank else ():
            array[:] = 0
        self.sum(arrays)

    def self_check(self) -> None:
        """Sums of whole numbers that float32 holds exactly, others on each rank and each time."""
        pattern = mx.nd.arange(3000) % 251
        for repeat in range(_CHECKS):
            array = pattern * (self.rank + 1) + repeat
            ranks = self.sum([array], [self.rank, self.rank**2])
            expected = pattern * (self.size * (self.size + 1) // 2) + repeat * self.size
            squares = [sum(rank**power for rank in range(self.size)) for power in (1, 2)]
            if ranks != squares or not np.array_equal(array.asnumpy(), expected.asnumpy()):
                raise GluonAFFError(
                    f"a sum over {self.size} workers came out wrong (check {repeat + 1} of {_CHECKS}): nothing trained "
                    "with it could be trusted; set MXNET_ENGINE_TYPE=NaiveEngine for every worker"
                )

    def _gather_bytes(self, mine: np.ndarray) -> np.ndarray:
        """(N,) of each rank -> (ranks, N), a float32 for each byte: the servers round float64, if not every time."""
        return np.ascontiguousarray(self._gather(mx.nd.array(mine, dtype="float32")).asnumpy().astype(np.uint8))

    def _gather(self, mine: mx.nd.NDArray) -> mx.nd.NDArray:
        """(N,) of each rank -> (ranks, N): each adds its own to a row of zeros, which rounds nothing."""
        rows = self._row(self.size * len(mine), mx.cpu())
        rows[:] = 0
        rows[self.rank * len(mine) : (self.rank + 1) * len(mine)] = mine
        self._reduce(rows)
        return rows.reshape((self.size, -1)).copy()

    def _row(self, length: int, device: mx.Context) -> mx.nd.NDArray:
        """A float32 row to sum in. One for each length, which is its key: the servers keep it, too."""
        if length not in self._rows:
            self._rows[length] = mx.nd.zeros(length, ctx=device)
            with self._watchdog.waiting("the other workers"):
                self._store.init(str(length), self._rows[length])
        return self._rows[length]

    def _reduce(self, row: mx.nd.NDArray) -> None:
        key = str(len(row))
        with self._watchdog.waiting("the other workers"):
            row.wait_to_read()
            self._store.push(key, row)
            self._store.pull(key, out=row)
            row.wait_to_read()


def group(devices: Iterable[mx.Context] = ()) -> SingleProcess:
    """The Workers that `gluon-aff launch` started this process among, or SingleProcess. Raises UsageError."""
    return Workers(devices) if os.environ.get("DMLC_ROLE") == "worker" else SingleProcess()


def _copy(arrays: Iterable[mx.nd.NDArray], row: mx.nd.NDArray) -> None:
    place = 0
    for array in arrays:
        row[place : place + array.size] = array.reshape((-1,)).as_in_context(row.context)
        place += array.size


def _digest(arrays: Dict[str, mx.nd.NDArray]) -> int:
    """48 bits of a SHA-256, which a float64 holds."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(arrays[name].asnumpy().tobytes())
    return int.from_bytes(digest.digest()[:6], "big")


_LOOK = 0.5  # seconds


class Watchdog:
    """Ends the process, with one line and exit code 1, when one wait takes longer than ``seconds``.

    A call into MXNet that waits for a peer can be neither interrupted nor given a time limit. Ranks that fail are the
    launcher's business; this is for those that hang.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._wait: Optional[Tuple[float, str]] = None
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

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
