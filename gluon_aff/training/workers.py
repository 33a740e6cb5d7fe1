"""Ranks as workers of MXNet's parameter server, as `gluon-aff launch` starts them."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
from contextlib import contextmanager
from typing import Any, Dict, Iterable, Iterator, List, Sequence

import mxnet as mx
import numpy as np

from ..errors import GluonAFFError, UsageError
from .ranks import SingleProcess

#: What `gluon-aff launch` tells its workers beside the variables that MXNet reads.
RANK, TIMEOUT = "GLUON_AFF_RANK", "GLUON_AFF_TIMEOUT"
_NEEDED = ("DMLC_PS_ROOT_URI", "DMLC_PS_ROOT_PORT", "DMLC_NUM_WORKER", "DMLC_NUM_SERVER")
_CHECKS = 5


class Workers(SingleProcess):
    """A rank among several processes. Every method waits for the others.

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
        with _waiting("the scheduler, the servers and the other workers to start"):
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
        for array, part in zip(arrays, _parts(row, arrays)):
            array.copyto(part)
        if len(numbers):
            row[length:] = np.array(numbers, "float32")
        self._reduce(row)
        for array, part in zip(arrays, _parts(row, arrays)):
            part.copyto(array)
        return row[length:].asnumpy().tolist() if len(numbers) else []

    def gather(self, numbers: Sequence[float]) -> List[List[float]]:
        return self._gather_bytes(np.array(numbers, "float64").view(np.uint8)).view("float64").tolist()

    def gather_arrays(self, arrays: Dict[str, mx.nd.NDArray]) -> List[Dict[str, mx.nd.NDArray]]:
        if not arrays:
            return [{} for _ in range(self.size)]
        mine = mx.nd.zeros(sum(array.size for array in arrays.values()))
        for array, part in zip(arrays.values(), _parts(mine, arrays.values())):
            array.copyto(part)
        rows = [zip(arrays.items(), _parts(row, arrays.values())) for row in self._gather(mine)]
        return [{name: part.as_in_context(array.context) for (name, array), part in row} for row in rows]

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
            with _waiting("the other workers"):
                self._store.init(str(length), self._rows[length])
        return self._rows[length]

    def _reduce(self, row: mx.nd.NDArray) -> None:
        key = str(len(row))
        with _waiting("the other workers"):
            row.wait_to_read()
            self._store.push(key, row)
            self._store.pull(key, out=row)
            row.wait_to_read()


def group(devices: Iterable[mx.Context] = ()) -> SingleProcess:
    """The Workers that `gluon-aff launch` started this process among, or SingleProcess. Raises UsageError."""
    return Workers(devices) if os.environ.get("DMLC_ROLE") == "worker" else SingleProcess()


def _parts(row: mx.nd.NDArray, arrays: Iterable[mx.nd.NDArray]) -> Iterator[mx.nd.NDArray]:
    """One piece of a row after another, as views of the arrays' shapes."""
    place = 0
    for array in arrays:
        yield row[place : place + array.size].reshape(array.shape)
        place += array.size


@contextmanager
def _waiting(what: str) -> Iterator[None]:
    """End the process, with one line and exit code 1, when this takes longer than GLUON_AFF_TIMEOUT, or 600 s.

    A call into MXNet that waits for a peer can be neither interrupted nor given a time limit. Ranks that fail are the
    launcher's business; this is for those that hang.
    """
    seconds = float(os.environ.get(TIMEOUT) or 600.0)

    def give_up() -> None:
        print(f"error: waited {seconds:g} s for {what}: giving up", file=sys.__stderr__, flush=True)
        os._exit(1)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
