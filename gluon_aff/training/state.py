"""Where a run is: its progress, and its network's arrays; a batch cut for devices."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Dict, Iterator, List, Optional, Tuple

import mxnet as mx
import numpy as np

from ..errors import UsageError
from .history import EpochRecord
from .optim import EMA
from .ranks import SingleProcess

Arrays = Dict[str, mx.nd.NDArray]


@dataclass
class State:
    """Position, the current epoch's sums, and the best validation so far: what a checkpoint carries besides arrays.

    Sums are Python floats, added in the order of the batches, so that a JSON file carries them without a loss.

    Attributes
    ----------
    epoch : int
        Finished epochs, trained and validated.
    batch : int
        Batches of the current epoch that have gone into an update.
    update : int
        The optimizer's steps since the start of the run.
    images : int
        Of the current epoch so far, as are the next four.
    loss_sum, metric_sum : float
    metric_count : int
    seconds : float
    best : EpochRecord or None
        The best validation, with its epoch and checkpoint.
    history : str
        The running digest of the history's epochs, see `chained`; empty on ranks that keep none.
    """

    epoch: int = 0
    batch: int = 0
    update: int = 0
    images: int = 0
    loss_sum: float = 0.0
    metric_sum: float = 0.0
    metric_count: int = 0
    seconds: float = 0.0
    best: Optional[EpochRecord] = None
    history: str = ""

    def next_epoch(self) -> None:
        """Count the epoch as finished and reset the sums."""
        self.epoch += 1
        self.batch = self.images = self.metric_count = 0
        self.loss_sum = self.metric_sum = self.seconds = 0.0

    def to_json(self) -> Dict[str, Any]:
        """Return a dictionary of plain values, from which ``State(**...)`` makes it again."""
        return asdict(self)


def network_arrays(net: mx.gluon.Block) -> Arrays:
    """Return what ``save_parameters`` writes. Running statistics, each device's own, are averaged over the devices."""
    arrays = {}
    for name, parameter in net._collect_params_with_prefix().items():
        copies = parameter.list_data()
        arrays[name] = copies[0] if parameter.grad_req != "null" or len(copies) == 1 else parameter._reduce()
    return arrays


def device_statistics(net: mx.gluon.Block) -> Arrays:
    """Return every device's own running statistics as ``"<device>:<name>"``."""
    return {
        f"{device}:{name}": data
        for name, parameter in net._collect_params_with_prefix().items()
        if parameter.grad_req == "null"
        for device, data in enumerate(parameter.list_data())
    }


def rank_statistics(net: mx.gluon.Block, ema: Optional[EMA]) -> Arrays:
    """Return what differs between ranks that train together: `device_statistics`, and their averages."""
    statistics = device_statistics(net)
    for name, parameter in net._collect_params_with_prefix().items() if ema else ():
        if ema and parameter.grad_req == "null":
            statistics[f"ema:{name}"] = ema.arrays[name]
    return statistics


def average_statistics(group: SingleProcess, statistics: Arrays) -> None:
    """Replace what `rank_statistics` gave by the mean over the ranks; what is equal on all stays so to the bit."""
    if group.size > 1:
        first, *others = group.gather_arrays(statistics)
        for name, array in statistics.items():
            array[:] = first[name] + sum(other[name] - first[name] for other in others) / group.size


def set_arrays(net: mx.gluon.Block, arrays: Arrays, source: str) -> None:
    """Fill a network with arrays of exactly its names and shapes, cast to its dtypes.

    Raises UsageError, naming ``source`` and an array that is missing, unknown to the network, or of another shape.
    """
    parameters = net._collect_params_with_prefix()
    found = {name: array.shape for name, array in arrays.items()}
    expected = {name: parameter.shape for name, parameter in parameters.items()}
    wrong = [name for name in sorted({*found, *expected}) if found.get(name) != expected.get(name)]
    if wrong:
        raise UsageError(
            f"{source} does not fit the network: {wrong[0]} is {found.get(wrong[0], 'missing')}, expected "
            f"{expected.get(wrong[0], 'no such array')}" + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else "")
        )
    for name, parameter in parameters.items():
        parameter.set_data(arrays[name].astype(parameter.dtype))


@contextmanager
def evaluating(net: mx.gluon.Block, arrays: Optional[Arrays] = None) -> Iterator[None]:
    """Within the block the network computes with copies of its arrays, or of ``arrays``; its own are left alone.

    Inference rearranges convolution weights in memory for oneDNN. Training would continue with them, but round
    differently, and not the same way in every run.
    """
    own = {name: (parameter, parameter._data) for name, parameter in net._collect_params_with_prefix().items()}
    for name, (parameter, copies) in own.items():
        parameter._data = [(arrays[name] if arrays else data).copyto(data.context) for data in copies]
    try:
        yield
    finally:
        for parameter, copies in own.values():
            parameter._data = copies


def needs_input_gradient(net: mx.gluon.Block) -> bool:
    """Return whether a batch norm without trained gamma and beta is in it, as the CIFAR hosts have on their input.

    On the CPU MXNet updates running statistics in the backward pass, and leaves that out for a norm below which nothing
    wants a gradient: this one would stay at mean 0 and variance 1, so the input is made to want one.
    """
    found = []

    def look(block: mx.gluon.Block) -> None:
        if isinstance(block, mx.gluon.nn.BatchNorm) and not block._kwargs["use_global_stats"]:
            found.append(block.gamma.grad_req == block.beta.grad_req == "null")

    net.apply(look)
    return any(found)


def first_not_finite(net: mx.gluon.Block) -> Optional[str]:
    """Return the name of an array that holds NaN or infinity, or None."""
    parameters = net._collect_params_with_prefix()
    for device in range(len(next(iter(parameters.values())).list_ctx())):
        arrays = [parameter.list_data()[device] for parameter in parameters.values()]
        if not _finite(arrays):
            return next(name for name, array in zip(parameters, arrays) if not _finite([array]))
    return None


def _finite(arrays: List[mx.nd.NDArray]) -> bool:
    chunks = [arrays[start : start + 100] for start in range(0, len(arrays), 100)]  # 201 would crash MXNet
    return all(mx.nd.multi_all_finite(*chunk, num_arrays=len(chunk)).asscalar() for chunk in chunks)


Parts = Tuple[List[mx.nd.NDArray], List[mx.nd.NDArray]]


def split_batch(x: np.ndarray, y: np.ndarray, devices: List[mx.Context]) -> Parts:
    """Return images and labels as lists of one array per device.

    A batch need not divide by the devices, and may be smaller than their number.
    """
    used = devices[: len(x)]
    return tuple(mx.gluon.utils.split_and_load(part, used, even_split=False) for part in (x, y.astype(np.float32)))


def micro_batches(
    net: mx.gluon.Block, devices: List[mx.Context], count: int, x: np.ndarray, y: np.ndarray
) -> Iterator[Parts]:
    """Yield a batch in ``count`` rounds of one part per device: the arithmetic is that of as many devices as parts.

    Forward and backward pass of a round are to be done before the next is asked for. Every part is normalised by
    itself. Each starts from the running statistics that the update began with, and in the end these are the mean over
    the parts, as the mean over devices is what a network trained on several devices is saved with. Parts are as large
    as if each had a device; a batch of few images has fewer parts of at least two.
    """
    if count == 1:
        yield split_batch(x, y, devices)
        return
    parts = max(1, min(len(devices) * count, len(x) // 2))
    bounds = np.cumsum([0] + [len(x) // parts + (part < len(x) % parts) for part in range(parts)])
    statistics = [
        (device, data)
        for name, parameter in net._collect_params_with_prefix().items()
        if name.endswith(("_mean", "_var"))
        for device, data in enumerate(parameter.list_data())
    ]
    began = [data.copy() for _, data in statistics]
    sums = [mx.nd.zeros_like(data) for data in began]
    for first in range(0, parts, len(devices)):
        used = devices[: parts - first]
        images = slice(bounds[first], bounds[first + len(used)])
        for (_, data), value in zip(statistics, began):
            value.copyto(data)
        yield split_batch(x[images], y[images], used)
        mx.nd.waitall()  # a compiled backward pass writes statistics behind the back of MXNet's scheduler
        for (device, data), total in zip(statistics, sums):
            if device < len(used):
                total += data
    for (device, data), value, total in zip(statistics, began, sums):
        rounds = len(range(device, parts, len(devices)))
        (total / rounds if rounds else value).copyto(data)
