"""A network's arrays: taking them out, putting them back, checking that they are finite."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Dict, Iterator, List, Optional

import mxnet as mx

from ..errors import UsageError
from .ema import EMA
from .ranks import SingleProcess

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
