"""The int8 form: MXNet's quantization for oneDNN, calibrated on pictures, with what stays float and why."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from typing import Any, Dict, Tuple

import mxnet as mx
import numpy as np

from ..errors import UsageError, last_line
from .symbol import INPUT, NORMS, Arrays, Graph, Node

CALIBRATIONS = ("naive", "entropy")

_BATCH = 8
_APART = "BlockGrad"
_QUANTIZED = ("_sg_mkldnn", "_contrib_quantized_")
_BETWEEN = ("_contrib_quantize_v2", "_contrib_dequantize", "_contrib_requantize", "null")
_REASONS = {
    "Activation": "oneDNN's int8 kernels have no sigmoid",
    "BatchNorm": "it could be folded into no convolution, and its input is not int8",
    "Cast": "it makes numbers of pixels for the normalisation, which stays float",
    "Convolution": "oneDNN has no int8 kernel for this convolution, or its input is float",
    "Dropout": "it does nothing at inference",
    "Pooling": "its input is float, or oneDNN has no int8 kernel for this pool",
    "_contrib_AdaptiveAvgPooling2D": "MXNet has no int8 kernel for a pool to one value",
    _APART: "it keeps a sum apart from a convolution, which oneDNN fuses wrongly",
    "broadcast_add": "MXNet has no int8 kernel for sums of unequal shapes",
    "broadcast_like": "MXNet has no int8 kernel for it",
    "broadcast_mul": "MXNet has no int8 kernel for products of unequal shapes",
    "elemwise_add": "an input is float, so that quantizing would cost more than it saves",
    "elemwise_mul": "its input, the sigmoid's output, is float",
    "elemwise_sub": "MXNet has no int8 kernel for it",
    "relu": "its input is float",
    "transpose": "it is part of the normalisation of pixels, which stays float",
}


def quantize(graph: Graph, inputs: np.ndarray, calibration: str = "naive") -> Tuple[mx.sym.Symbol, Arrays]:
    """Return a graph in int8, symbol and arrays, for the CPU, calibrated on ``inputs``, float32 (N, 3, H, W).

    Norms behind convolutions are folded by oneDNN itself. Ranges of maps are their minimum and maximum ("naive"), or
    those that lose least information by Kullback-Leibler divergence ("entropy"), which takes minutes. Raises UsageError
    for another calibration, where oneDNN cannot run int8, and for a network of which nothing can be quantized.
    """
    if calibration not in CALIBRATIONS:
        raise UsageError(f"calibration {calibration!r}: choose one of {', '.join(CALIBRATIONS)}")
    if not mx.runtime.Features().is_enabled("MKLDNN"):
        raise UsageError("int8 needs an MXNet with oneDNN (MKLDNN), which this one does not have: use the form onnx")
    from mxnet.contrib import quantization

    _part_sums(graph)
    kinds: Dict[str, Dict[str, mx.nd.NDArray]] = {"arg": {}, "aux": {}}
    for name, value in graph.values().items():
        kind, plain = name.split(":", 1)
        kinds[kind][plain] = mx.nd.array(value, dtype=value.dtype)
    whole = len(inputs) // _BATCH * _BATCH or len(inputs)
    data = mx.io.NDArrayIter(inputs[:whole], batch_size=min(_BATCH, len(inputs)), data_name=INPUT)
    try:
        with warnings.catch_warnings():  # of MXNet's Python about what it was not given
            warnings.simplefilter("ignore")
            symbol, arguments, states = quantization.quantize_model_mkldnn(
                graph.symbol(),
                kinds["arg"],
                kinds["aux"],
                data_names=[INPUT],
                label_names=[],
                ctx=mx.cpu(),
                calib_mode=calibration,
                calib_data=data,
                num_calib_examples=whole,
                quantized_dtype="auto",
                quantize_mode="smart",
            )
    except mx.MXNetError as error:
        raise UsageError(f"oneDNN cannot run this network in int8 ({last_line(error)}): use the form onnx") from error
    if not any("conv" in op for op in quantization_of(symbol)["int8"]):
        raise UsageError("oneDNN can quantize no convolution of this network: use the form onnx")
    names = set(symbol.list_inputs())
    arrays = {f"arg:{name}": value.asnumpy() for name, value in arguments.items() if name in names}
    arrays.update({f"aux:{name}": value.asnumpy() for name, value in states.items() if name in names})
    return symbol, arrays


def quantization_of(symbol: mx.sym.Symbol) -> Dict[str, Any]:
    """Return what a manifest says of an int8 network: which operators are, which stay float and why, and lines."""
    operators = sorted(Counter(node["op"] for node in json.loads(symbol.tojson())["nodes"]).items())
    int8 = {op: count for op, count in operators if op.startswith(_QUANTIZED)}
    floats = {
        op: {"count": count, "reason": _REASONS.get(op, "MXNet has no int8 kernel for it")}
        for op, count in operators
        if op not in int8 and op not in _BETWEEN
    }
    said = [f"{sum(int8.values())} operators in int8, among them {int8.get('_sg_mkldnn_conv', 0)} convolutions"]
    said += [f"{each['count']} {op} stay float: {each['reason']}" for op, each in floats.items()]
    return {"int8": int8, "float": floats, "lines": said}


def _part_sums(graph: Graph) -> None:
    """Keep oneDNN from fusing a convolution with a sum that no ReLU follows, in place.

    Fused in int8, those of pre-activation networks come out wrong: by an eighth of the logits' range instead of a
    hundredth. An operator that does nothing at inference stands between the two, one that MXNet does not remove.
    """
    readers = graph.readers()
    for total in [node for node in graph.nodes() if node.op == "elemwise_add"]:
        behind = [reader for reader, _ in readers[id(total)]]
        if len(behind) == 1 and behind[0] is not None and _is_relu(behind[0]):
            continue
        for place, (source, number) in enumerate(total.inputs):
            if source.op in ("Convolution", *NORMS):
                apart = Node(_APART, f"{total.name}_input{place}", {}, [(source, number)])
                total.inputs[place] = (apart, 0)


def _is_relu(node: Node) -> bool:
    return node.op == "relu" or (node.op == "Activation" and node.attribute("act_type", "") == "relu")
