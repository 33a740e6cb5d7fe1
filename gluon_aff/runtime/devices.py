"""From the user's ``--gpus`` to MXNet's devices."""

from __future__ import annotations

import sys
from typing import List, Optional

import mxnet as mx

from ..errors import GluonAFFError, UsageError, last_line
from . import cuda


class NoSuchGPU(UsageError):
    """A GPU was named that is not there."""


def pick(gpus: Optional[str] = None) -> List[mx.Context]:
    """The devices to compute on.

    Parameters
    ----------
    gpus : str, optional
        Comma-separated GPU numbers such as '0,1'; '' is the CPU, None the first GPU.

    Returns
    -------
    list of Context
        The CPU wherever MXNet sees no GPU. Where one was asked for or is there, a line on standard error says why.

    Raises
    ------
    UsageError
        For anything but distinct numbers.
    NoSuchGPU
        For a GPU that is not there.
    GluonAFFError
        For a GPU that MXNet's code cannot run on, or a driver that it cannot talk to.
    """
    if gpus is not None and not gpus.strip():
        return [mx.cpu()]
    wanted = _parse(gpus) if gpus is not None else [0]
    found = count()
    if not found:
        _say_why(asked=gpus is not None)
        return [mx.cpu()]
    unknown = [number for number in wanted if number >= found]
    if unknown:
        there = "only GPU 0 is" if found == 1 else f"GPUs 0 to {found - 1} are"
        here = ",".join(str(number) for number in wanted if number < found)
        type_ = f"type --gpus {here}" if here else "name another"
        raise NoSuchGPU(f"--gpus {gpus}: no GPU {unknown[0]} here, {there} available: {type_}")
    capabilities = cuda.capabilities()
    for number in wanted:
        reason = number < len(capabilities) and cuda.unsupported(capabilities[number])
        if reason:
            raise GluonAFFError(
                f"GPU {number} cannot be used: {reason}. Name another with --gpus, or --gpus '' for the CPU"
            )
    return [mx.gpu(number) for number in wanted]


def _say_why(asked: bool) -> None:
    """Why the CPU is taken, unless that is no surprise: a machine without GPU, and nobody asked for one."""
    if mx.runtime.Features().is_enabled("CUDA"):
        print("no GPU found: running on the CPU", file=sys.stderr)
    elif asked or cuda.capabilities():
        print("this MXNet is built without CUDA: running on the CPU", file=sys.stderr)


def count() -> int:
    """Number of GPUs that MXNet sees. Raises GluonAFFError when the driver is there and does not answer it."""
    try:
        return mx.context.num_gpus()
    except mx.MXNetError as error:
        raise GluonAFFError(
            f"MXNet cannot talk to the NVIDIA driver: {last_line(error)}. See nvidia-smi; CUDA 11 needs driver 450.80 "
            "or later"
        ) from None


def _parse(gpus: str) -> List[int]:
    words = [word.strip() for word in gpus.split(",")]
    if not all(word.isdigit() for word in words) or len(set(words)) < len(words):
        raise UsageError(f"--gpus {gpus}: expected distinct GPU numbers such as '0' or '0,1', or '' for the CPU")
    return [int(word) for word in words]
