"""The symbol form: MXNet's own ``-symbol.json`` and ``-0000.params``, read back as if they came from anybody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Tuple

import mxnet as mx
import numpy as np

from ..errors import GluonAFFError, UsageError, last_line
from ..utils.container import read_container
from .graph import INPUT
from .inference import InferenceNetwork

SYMBOL, PARAMS = "model-symbol.json", "model-0000.params"
FILES = [SYMBOL, PARAMS]

_MOST_NODES, _LARGEST_JSON, _LARGEST_OUTPUT = 100_000, 64 << 20, 1 << 29  # nodes, bytes, elements

#: Operators that a graph may be made of: arithmetic alone. Others of MXNet's call Python, take addresses, or run graphs
#: of their own.
_NAMES = """
Activation BatchNorm BlockGrad Cast Concat Convolution Deconvolution Dropout Flatten FullyConnected GroupNorm
InstanceNorm LRN LayerNorm LeakyReLU Pad Pooling Reshape SliceChannel SwapAxis UpSampling
_contrib_AdaptiveAvgPooling2D _contrib_BilinearResize2D _contrib_SyncBatchNorm _contrib_arange_like
_contrib_dequantize _contrib_div_sqrt_dim _contrib_quantize_v2 _contrib_quantized_act _contrib_quantized_batch_norm
_contrib_quantized_concat _contrib_quantized_conv _contrib_quantized_elemwise_add _contrib_quantized_elemwise_mul
_contrib_quantized_flatten _contrib_quantized_fully_connected _contrib_quantized_pooling _contrib_requantize _copy
_div_scalar _maximum _maximum_scalar _minimum _minimum_scalar _minus_scalar _mul_scalar _plus_scalar _power_scalar
_rdiv_scalar _rminus_scalar _sg_mkldnn_conv _sg_mkldnn_fully_connected abs batch_dot broadcast_add broadcast_div
broadcast_like broadcast_maximum broadcast_minimum broadcast_mul broadcast_sub clip dot elemwise_add elemwise_div
elemwise_mul elemwise_sub exp expand_dims log log_softmax max mean min negative null relu reshape_like sigmoid slice
slice_axis slice_like softmax sqrt square squeeze stack sum tanh transpose
"""
OPERATORS = frozenset(_NAMES.split())


def write_symbol(directory: Path, symbol: mx.sym.Symbol, values: Dict[str, np.ndarray]) -> None:
    """Write a graph and its arrays as ``SymbolBlock.imports`` and ``Module.load`` take them.

    Raises UsageError for an operator that would not be read back.
    """
    unknown = sorted({node["op"] for node in json.loads(symbol.tojson())["nodes"]} - OPERATORS)
    if unknown:
        raise UsageError(f"the network uses {', '.join(unknown)}, which an exported network may not")
    symbol.save(str(directory / SYMBOL), remove_amp_cast=False)
    mx.nd.save(str(directory / PARAMS), {name: mx.nd.array(array, dtype=array.dtype) for name, array in values.items()})


def read_symbol(directory: Path, shape: Tuple[int, ...], input_type: str, device: mx.Context) -> InferenceNetwork:
    """The network of a folder that `write_symbol` wrote, nothing in it trusted.

    Parameters
    ----------
    shape : tuple of int
        Of an input, by which the arrays' shapes are checked.

    Raises
    ------
    GluonAFFError
        For a graph of other operators, one that is damaged or does not belong to its arrays, and one whose maps would
        take gigabytes.
    """
    path = directory / SYMBOL
    document = _checked_document(path)
    container = read_container(directory / PARAMS)
    names = list(container.arrays)
    values = dict(zip(names, container.read_all(names)))
    try:
        symbol = mx.sym.load_json(json.dumps(document))
        _check_fits(symbol, {name.split(":", 1)[-1]: array for name, array in values.items()}, shape, input_type)
        return InferenceNetwork(symbol, values, device, "an exported network", input_type)
    except (mx.MXNetError, ValueError, KeyError, AssertionError, TypeError) as error:
        raise _wrong(path, f"it does not belong to {PARAMS} ({last_line(error)})") from None


def _check_fits(symbol: mx.sym.Symbol, arrays: Dict[str, np.ndarray], shape: Tuple[int, ...], input_type: str) -> None:
    """Raise ValueError unless the variables are ``data`` and the arrays, of the shapes that the graph gives them."""
    wanted = set(symbol.list_inputs()) - {INPUT}
    if wanted != set(arrays) or INPUT not in symbol.list_inputs():
        raise ValueError(f"variables {sorted(wanted ^ set(arrays))[:3]} are on one side only")
    internals = symbol.get_internals()
    known = {name: array.shape for name, array in arrays.items()}
    _, outputs, _ = internals.infer_shape(**{INPUT: shape}, **known)
    largest = max((int(np.prod(output, dtype=np.float64)) for output in outputs), default=0)
    if largest > _LARGEST_OUTPUT:
        raise ValueError(f"an array of {largest:,} elements would be made")


def _checked_document(path: Path) -> Any:
    """The JSON of a graph whose operators are known and whose nodes read earlier nodes. Raises GluonAFFError."""
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise ValueError(f"it has more than {_LARGEST_JSON:,} bytes")
        document = json.loads(path.read_text(encoding="utf-8"))
        _check_nodes(document, 0)
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError, AttributeError) as error:
        raise _wrong(path, str(error) or type(error).__name__) from None
    return document


def _check_nodes(document: Dict[str, Any], depth: int) -> None:
    nodes: List[Dict[str, Any]] = document["nodes"]
    if not 0 < len(nodes) <= _MOST_NODES or depth > 1:
        raise ValueError(f"it has {len(nodes)} nodes")
    for number, node in enumerate(nodes):
        if node["op"] not in OPERATORS:
            raise ValueError(f"it uses the operator {str(node['op'])[:40]!r}, which is not arithmetic alone")
        for key, value in node.get("attrs", {}).items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise ValueError(f"the attributes of node {number} are no text")
        _check_places(node["inputs"], number)
        for inner in node.get("subgraphs", []):
            if not node["op"].startswith("_sg_mkldnn"):
                raise ValueError(f"node {number} holds a graph of its own")
            _check_nodes(inner, depth + 1)
    _check_places(document["heads"], len(nodes))
    if len(document["heads"]) != 1:
        raise ValueError(f"it has {len(document['heads'])} outputs")
    variables = [number for number, node in enumerate(nodes) if node["op"] == "null"]
    if document["arg_nodes"] != variables:
        raise ValueError("its list of variables is wrong")


def _check_places(places: List[List[int]], below: int) -> None:
    for place in places:
        if len(place) not in (2, 3) or not all(isinstance(each, int) and each >= 0 for each in place):
            raise ValueError(f"{place!r} is no output of a node")
        if place[0] >= below or place[1] > 16:
            raise ValueError(f"{place!r} is no output of an earlier node")


def _wrong(path: Path, problem: str) -> GluonAFFError:
    return GluonAFFError(f"{path} is no graph that can be used: {problem}; copy or export it again")
