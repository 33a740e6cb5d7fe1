"""float16 and bfloat16 through MXNet's automatic mixed precision (AMP)."""

from __future__ import annotations

from typing import List, Optional

import mxnet as mx
from mxnet import autograd
from mxnet.contrib import amp

from ..errors import UsageError


def resolve_dtype(dtype: Optional[str], devices: List[mx.Context]) -> str:
    """``dtype``, or without one the authors' float16 on GPUs and float32 elsewhere."""
    on_gpus = all(device.device_type == "gpu" for device in devices)
    return dtype or ("float16" if on_gpus else "float32")


def start_mixed_precision(dtype: str, devices: List[mx.Context]) -> bool:
    """Switch AMP on for the rest of the process, unless ``dtype`` is float32; call it before building the network.

    Parameters
    ----------
    dtype : {"float32", "float16", "bfloat16"}
        What is computed in; the network's parameters stay float32.
    devices : list of Context

    Returns
    -------
    bool
        Whether AMP is on.

    Raises
    ------
    UsageError
        Where the devices cannot compute in ``dtype``.
    """
    if dtype == "float32":
        return False
    on_gpu = [device.device_type == "gpu" for device in devices]
    if dtype == "float16" and not all(on_gpu):
        raise UsageError("float16 needs a GPU: MXNet multiplies no float16 matrices on the CPU; use --dtype float32")
    if dtype == "bfloat16" and any(on_gpu):
        raise UsageError("bfloat16 is for the CPU in MXNet 1.9.1: on a GPU use --dtype float16")
    if dtype == "bfloat16" and not _cpu_has_bfloat16():
        raise UsageError("this CPU (or this build of MXNet) has no bfloat16 convolution: use --dtype float32")
    amp.init(dtype)
    return True


def _cpu_has_bfloat16() -> bool:
    """Whether a small convolution runs forward and backward: oneDNN wants AVX-512 for it."""
    try:
        data = mx.nd.ones((1, 8, 8, 8))
        weight = mx.nd.ones((8, 8, 3, 3))
        weight.attach_grad()
        with autograd.record():
            # AMP's own name for the type: NumPy knows none, and the operator does not take the word
            low = [mx.nd.amp_cast(array, dtype=amp.amp.bfloat16) for array in (data, weight)]
            output = mx.nd.Convolution(*low, kernel=(3, 3), num_filter=8, no_bias=True)
            loss = mx.nd.amp_cast(output, dtype="float32").sum()
        loss.backward()
        weight.grad.wait_to_read()
    except mx.MXNetError:
        return False
    return True
