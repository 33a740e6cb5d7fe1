"""Where a run is: its progress, and its network's arrays; a batch cut for devices."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import mxnet as mx
import numpy as np

from ..errors import UsageError
from .history import EpochRecord
from .optim import EMA
from .ranks import SingleProcess


@dataclass
class State:
    """Position, the current epoch's sums, and the best validation so far.

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

    @property
    def loss(self) -> float:
        """Mean loss per image of the current epoch."""
        return self.loss_sum / max(self.images, 1)

    @property
    def metric(self) -> float:
        """Training metric of the current epoch."""
        return self.metric_sum / max(self.metric_count, 1)

    def sums(self) -> List[float]:
        """The epoch's sums, as far as this process has added them up."""
        return [self.images, self.loss_sum, self.metric_sum, self.metric_count]

    def with_sums(self, sums: Sequence[float]) -> State:
        """A copy with these in the place of its own."""
        images, loss_sum, metric_sum, metric_count = sums
        return replace(
            self, images=int(images), loss_sum=loss_sum, metric_sum=metric_sum, metric_count=int(metric_count)
        )

    def next_epoch(self) -> None:
        """Count the epoch as finished and reset the sums."""
        self.epoch += 1
        self.batch = self.images = self.metric_count = 0
        self.loss_sum = self.metric_sum = self.seconds = 0.0

    def to_json(self) -> Dict[str, Any]:
        """As a dictionary of plain values, from which ``State(**...)`` makes it again."""
        return asdict(self)


Arrays = Dict[str, mx.nd.NDArray]


def network_arrays(net: mx.gluon.Block) -> Arrays:
    """What ``save_parameters`` writes. Running statistics, each device's own, are averaged over the devices."""
    arrays = {}
    for name, parameter in net._collect_params_with_prefix().items():
        copies = parameter.list_data()
        arrays[name] = copies[0] if parameter.grad_req != "null" or len(copies) == 1 else parameter._reduce()
    return arrays


def device_statistics(net: mx.gluon.Block) -> Arrays:
    """Every device's own running statistics as ``"<device>:<name>"``; nothing for a network on one device."""
    return {
        f"{device}:{name}": data
        for name, parameter in net._collect_params_with_prefix().items()
        if parameter.grad_req == "null" and len(parameter.list_data()) > 1
        for device, data in enumerate(parameter.list_data())
    }


def rank_statistics(net: mx.gluon.Block, ema: Optional[EMA]) -> Arrays:
    """What differs between ranks that train together: running statistics of every device, and their averages."""
    statistics = {}
    for name, parameter in net._collect_params_with_prefix().items():
        if parameter.grad_req == "null":
            statistics.update({f"{device}:{name}": data for device, data in enumerate(parameter.list_data())})
            if ema:
                statistics[f"ema:{name}"] = ema.arrays[name]
    return statistics


def average_statistics(group: SingleProcess, statistics: Arrays) -> None:
    """Replace what `rank_statistics` gave by the mean over the ranks; what is equal on all stays so to the bit."""
    if group.size > 1:
        first, *others = group.gather_arrays(statistics)
        for name, array in statistics.items():
            array[:] = first[name] + sum(other[name] - first[name] for other in others) / group.size


def restore_network(net: mx.gluon.Block, arrays: Arrays, statistics: Arrays) -> None:
    """Put back what `network_arrays` and `device_statistics` gave.

    Raises
    ------
    UsageError
        As `set_arrays` does.
    """
    set_arrays(net, arrays, "the checkpoint")
    parameters = net._collect_params_with_prefix()
    for key, array in statistics.items():
        device, _, name = key.partition(":")
        array.copyto(parameters[name].list_data()[int(device)])


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
    """Whether a batch norm without trained gamma and beta is in the network, as the CIFAR hosts have on their input.

    On the CPU MXNet updates running statistics in the backward pass, and leaves that out for a norm below which nothing
    wants a gradient: this one would stay at mean 0 and variance 1, so the input is made to want one.
    """
    found = []

    def look(block: mx.gluon.Block) -> None:
        if isinstance(block, mx.gluon.nn.BatchNorm) and not block._kwargs["use_global_stats"]:
            found.append(block.gamma.grad_req == block.beta.grad_req == "null")

    net.apply(look)
    return any(found)


def set_arrays(net: mx.gluon.Block, arrays: Arrays, source: str) -> None:
    """Fill a network with arrays of exactly its names and shapes, cast to its dtypes.

    Parameters
    ----------
    net : Block
    arrays : dict
        By structural names.
    source : str
        Where they are from, for the error.

    Raises
    ------
    UsageError
        Naming arrays that are missing, unknown to the network, or of another shape.
    """
    parameters = net._collect_params_with_prefix()
    missing = [name for name in parameters if name not in arrays]
    extra = [name for name in arrays if name not in parameters]
    if missing or extra:
        raise UsageError(
            f"{source} does not fit the network: {_some(missing)} missing, {_some(extra)} unknown to it; "
            "build the network that the weights belong to (model, fusion, blocks, ...)"
        )
    wrong = [name for name in arrays if arrays[name].shape != parameters[name].shape]
    if wrong:
        name = wrong[0]
        raise UsageError(
            f"{source} does not fit the network: {name} is {arrays[name].shape}, expected {parameters[name].shape}"
            + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else "")
        )
    for name, parameter in parameters.items():
        parameter.set_data(arrays[name].astype(parameter.dtype))


def first_not_finite(net: mx.gluon.Block) -> Optional[str]:
    """The name of an array that holds NaN or infinity, or None."""
    parameters = net._collect_params_with_prefix()
    for device in range(len(next(iter(parameters.values())).list_ctx())):
        arrays = [parameter.list_data()[device] for parameter in parameters.values()]
        if not _finite(arrays):
            return next(name for name, array in zip(parameters, arrays) if not _finite([array]))
    return None


def _finite(arrays: List[mx.nd.NDArray]) -> bool:
    chunks = [arrays[start : start + 100] for start in range(0, len(arrays), 100)]  # 201 would crash MXNet
    return all(mx.nd.multi_all_finite(*chunk, num_arrays=len(chunk)).asscalar() for chunk in chunks)


def _some(names: List[str]) -> str:
    if not names:
        return "no array"
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} array{'s' if len(names) > 1 else ''} ({shown})"


Part = Tuple[List[mx.nd.NDArray], List[mx.nd.NDArray]]


class Rounds:
    """Cuts batches into ``count`` rounds of one part for each device.

    Parameters
    ----------
    net : Block
        Whose running statistics are kept apart.
    devices : list of Context
    count : int
        1: a batch is a part for each device.
    """

    def __init__(self, net: mx.gluon.Block, devices: List[mx.Context], count: int = 1) -> None:
        self.devices = devices
        self.count = count
        parameters = net._collect_params_with_prefix()
        self._statistics = [parameters[name] for name in sorted(parameters) if name.endswith(("_mean", "_var"))]

    def of(self, x: np.ndarray, y: np.ndarray) -> Iterator[Part]:
        """Images and labels of round after round, lists of one array per device.

        Forward and backward pass of a round are to be done before the next is asked for. Parts are as large as if each
        had a device; a batch of few images has fewer parts of at least two.
        """
        if self.count == 1:
            yield split_batch(x, y, self.devices)
            return
        parts = max(1, min(len(self.devices) * self.count, len(x) // 2))
        bounds = np.cumsum([0] + [len(x) // parts + (part < len(x) % parts) for part in range(parts)])
        began = [[data.copy() for data in parameter.list_data()] for parameter in self._statistics]
        sums = [[mx.nd.zeros_like(data) for data in copies] for copies in began]
        rounds = -(-parts // len(self.devices))
        for number in range(rounds):
            first = number * len(self.devices)
            used = self.devices[: parts - first]
            images = slice(bounds[first], bounds[first + len(used)])
            if number:
                self._set(began)
            yield split_batch(x[images], y[images], used)
            mx.nd.waitall()  # a compiled backward pass writes statistics behind the back of MXNet's scheduler
            for parameter, copies in zip(self._statistics, sums):
                for total, data in zip(copies[: len(used)], parameter.list_data()):
                    total += data
        counts = [-(-(parts - device) // len(self.devices)) for device in range(len(self.devices))]
        self._set(
            [
                [total / count if count > 0 else data for total, data, count in zip(copies, own, counts)]
                for copies, own in zip(sums, began)
            ]
        )

    def _set(self, statistics: List[List[mx.nd.NDArray]]) -> None:
        for parameter, copies in zip(self._statistics, statistics):
            for data, value in zip(parameter.list_data(), copies):
                value.copyto(data)


def split_batch(
    x: np.ndarray, y: np.ndarray, devices: List[mx.Context]
) -> Tuple[List[mx.nd.NDArray], List[mx.nd.NDArray]]:
    """A batch's parts on the devices. A batch need not divide by them, and may be smaller than their number."""
    used = devices[: len(x)]
    return tuple(mx.gluon.utils.split_and_load(part, used, even_split=False) for part in (x, y.astype(np.float32)))
