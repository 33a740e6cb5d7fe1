"""A network's symbolic graph: traced, changed node by node, written in MXNet's own form and read as if from anybody."""

from __future__ import annotations

import ast
import io
import json
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import mxnet as mx
import numpy as np

from ..data.pictures import NetworkInput
from ..data.transform import EvalTransform
from ..errors import GluonAFFError, UsageError, last_line
from ..models.features import FeatureMaps
from ..nn import ResizeLike
from ..utils.container import read_container
from ..utils.files import cannot_write

#: Name of the only input of every graph.
INPUT = "data"
#: Operators that are batch normalisation: x, gamma, beta, running mean, running variance.
NORMS = ("BatchNorm", "_contrib_SyncBatchNorm")

SYMBOL, PARAMS = "model-symbol.json", "model-0000.params"
FILES = [SYMBOL, PARAMS]

#: Values by name, with ``arg:`` or ``aux:`` in front.
Arrays = Dict[str, np.ndarray]

_MOST_NODES, _LARGEST_JSON, _LARGEST_OUTPUT = 100_000, 64 << 20, 1 << 29  # nodes, bytes, elements
_MOST_OUTPUTS = 16

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


@dataclass(eq=False)
class Node:
    """An operator, or a variable: ``op`` is then "null". ``inputs`` are nodes with the number of the output meant."""

    op: str
    name: str
    attrs: Dict[str, str] = field(default_factory=dict)
    inputs: List[Tuple[Node, int]] = field(default_factory=list)

    def attribute(self, name: str, default: Any) -> Any:
        """Return an attribute's value: MXNet writes them as Python literals, and words as they are."""
        if name not in self.attrs:
            return default
        try:
            return ast.literal_eval(self.attrs[name])
        except (ValueError, SyntaxError):
            return self.attrs[name]


class Graph:
    """A network of one input ``data``; ``heads`` are its outputs, mostly one.

    ``arrays`` are the values of all variables but ``data``, by name; ``auxiliary`` names those that MXNet calls
    auxiliary states: running statistics.
    """

    def __init__(self, heads: List[Tuple[Node, int]], arrays: Dict[str, np.ndarray], auxiliary: set) -> None:
        self.heads = heads
        self.arrays = arrays
        self.auxiliary = auxiliary

    def nodes(self) -> List[Node]:
        """Return all nodes that the outputs depend on, inputs before what reads them."""
        ordered: List[Node] = []
        every = Node("", "", inputs=list(self.heads))
        seen = {id(every)}
        waiting: List[Tuple[Node, Iterator[Tuple[Node, int]]]] = [(every, iter(every.inputs))]
        while waiting:
            node, inputs = waiting[-1]
            below = next((each for each, _ in inputs if id(each) not in seen), None)
            if below is None:
                ordered.append(node)
                waiting.pop()
            else:
                seen.add(id(below))
                waiting.append((below, iter(below.inputs)))
        return ordered[:-1]

    def readers(self) -> Dict[int, List[Tuple[Optional[Node], int]]]:
        """Map a node's ``id`` to who reads it and at which input; (None, 0) is an output of the network."""
        found: Dict[int, List[Tuple[Optional[Node], int]]] = {id(head): [(None, 0)] for head, _ in self.heads}
        for node in self.nodes():
            for place, (source, _) in enumerate(node.inputs):
                found.setdefault(id(source), []).append((node, place))
        return found

    def replace(self, old: Node, new: Tuple[Node, int]) -> None:
        """Let everything that reads the first output of ``old`` read ``new``."""

        def changed(inputs: List[Tuple[Node, int]]) -> List[Tuple[Node, int]]:
            return [new if each is old and number == 0 else (each, number) for each, number in inputs]

        for node in self.nodes():
            node.inputs = changed(node.inputs)
        self.heads = changed(self.heads)

    def variable(self, name: str, value: np.ndarray) -> Node:
        """Return a new variable that knows its shape. Its name gets a stroke where it is taken."""
        while name in self.arrays:
            name += "_"
        self.arrays[name] = value
        return Node("null", name, {"__shape__": str(tuple(value.shape))})

    def symbol(self) -> mx.sym.Symbol:
        """Return the graph for MXNet."""
        nodes = self.nodes()
        number = {id(node): index for index, node in enumerate(nodes)}
        document = {
            "nodes": [
                {
                    "op": node.op,
                    "name": node.name,
                    **({"attrs": node.attrs} if node.attrs else {}),
                    "inputs": [[number[id(source)], output, 0] for source, output in node.inputs],
                }
                for node in nodes
            ],
            "arg_nodes": [index for index, node in enumerate(nodes) if node.op == "null"],
            "heads": [[number[id(head)], output, 0] for head, output in self.heads],
            "attrs": {"mxnet_version": ["int", 10901]},
        }
        return mx.sym.load_json(json.dumps(document))

    def values(self) -> Arrays:
        """Return the variables that the outputs depend on, by name with ``arg:`` or ``aux:`` in front."""
        names = [node.name for node in self.nodes() if node.op == "null" and node.name != INPUT]
        return {f"{'aux' if name in self.auxiliary else 'arg'}:{name}": self.arrays[name] for name in names}


def graph_of(net: mx.gluon.HybridBlock) -> Graph:
    """Trace the graph of an initialised network at inference.

    Maps of an FPN are resized by MXNet's operator instead of `ResizeLike`'s products with matrices, equal but for
    rounding. MXNet's executor lets arrays share memory and on the products stops with "The size of NDArray doesn't
    match the requested MKLDNN memory desc".

    Raises UsageError for a network without weights, one that cannot be traced as a symbol, and one of several outputs
    that are no `FeatureMaps`.
    """
    parameters = {parameter.name: parameter for parameter in net.collect_params().values()}
    missing = [name for name, parameter in parameters.items() if parameter._data is None]
    if missing:
        raise UsageError(f"the network has no weights yet ({missing[0]} has none): initialise it, or load a file")
    several = isinstance(net, FeatureMaps)
    ResizeLike.as_operator = True
    try:
        symbol = net(mx.sym.var(INPUT))
        symbol = mx.sym.Group(symbol) if several else symbol
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            f"this {type(net).__name__} cannot be traced as a symbol ({str(error).splitlines()[0]}): its "
            "hybrid_forward may only use F's operators, no shapes or values"
        ) from error
    finally:
        ResizeLike.as_operator = False
    if not isinstance(symbol, mx.sym.Symbol) or (len(symbol.list_outputs()) != 1 and not several):
        raise UsageError("the network has several outputs: wrap it in a block that gives the one that is wanted")
    names = [name for name in symbol.list_inputs() if name != INPUT]
    arrays = {name: parameters[name].data(parameters[name].list_ctx()[0]).asnumpy() for name in names}
    document = json.loads(symbol.tojson())
    nodes: List[Node] = []
    for entry in document["nodes"]:
        if entry.get("subgraphs"):
            raise GluonAFFError(f"{entry['name']} holds a graph of its own: only graphs of plain operators are changed")
        inputs = [(nodes[index], output) for index, output, *_ in entry["inputs"]]
        attrs = {key: value for key, value in entry.get("attrs", {}).items() if not key.startswith("__")}
        nodes.append(Node(entry["op"], entry["name"], attrs, inputs))
    heads = [(nodes[index], output) for index, output, *_ in document["heads"]]
    graph = Graph(heads, arrays, set(symbol.list_auxiliary_states()))
    for node in graph.nodes():  # BatchNorm ignores what the array of a fixed gamma holds, exporters do not
        if node.op in NORMS and node.attribute("fix_gamma", True):
            gamma = node.inputs[1][0].name
            arrays[gamma] = np.ones_like(arrays[gamma])
    return graph


def example_shape(shape: Sequence[Union[int, str]]) -> Tuple[int, ...]:
    """Return an input's shape with numbers for the lengths that are open: a batch of 1, sides of 64 pixels."""
    batch, *others = shape
    first = 1 if isinstance(batch, str) else batch
    return (first, *(64 if isinstance(length, str) else length for length in others))


def of_pixels(symbol: mx.sym.Symbol, arrays: Arrays, network_input: NetworkInput) -> Tuple[mx.sym.Symbol, Arrays]:
    """Return a network, symbol and arrays, that takes pixels uint8 (N, H, W, 3), RGB, and normalises them itself.

    By the float32 operations of `NetworkInput.transform`, in the same order: pixel * scale + shift.
    """
    transform = EvalTransform(network_input.mean, network_input.std)
    own = {"arg:pixels_scale": transform.scale[None], "arg:pixels_shift": transform.shift[None]}
    scale, shift = (mx.sym.var(name[4:], shape=value.shape) for name, value in own.items())
    cast = mx.sym.cast(mx.sym.var(INPUT, dtype="uint8"), dtype="float32", name="pixels_cast")
    planes = mx.sym.transpose(cast, axes=(0, 3, 1, 2), name="pixels_planes")
    scaled = mx.sym.broadcast_mul(planes, scale, name="pixels_scaled")
    normalised = mx.sym.broadcast_add(scaled, shift, name="pixels_normalised")
    return symbol(**{INPUT: normalised}), {**arrays, **own}


def of_logits(F: Any, logits: Any, one: bool) -> Any:
    """Return the probabilities of a symbol or array: the softmax over classes, the sigmoid where there is ``one``."""
    name = "probabilities"
    return F.sigmoid(logits, name=name) if one else F.softmax(logits, axis=1, name=name)


class InferenceNetwork(mx.gluon.SymbolBlock):
    """A graph as a Gluon network that runs and cannot be trained: its norms have fixed statistics or none at all.

    Parameters
    ----------
    symbol : Symbol
        Of one input ``data``.
    values : dict
        Arrays by name, with ``arg:`` or ``aux:`` in front.
    device : Context
        Where it lies.
    kind : str
        What it is, for the message when somebody trains it.
    input_type : str
        Type of the input.

    Attributes
    ----------
    folding : Folding or None
        What became of the norms, where they were folded.
    """

    folding: Optional[Any] = None

    def __init__(
        self,
        symbol: mx.sym.Symbol,
        values: Arrays,
        device: mx.Context,
        kind: str,
        input_type: str = "float32",
    ) -> None:
        super().__init__(symbol, [mx.sym.var(INPUT, dtype=input_type)])
        self._kind = kind
        arrays = {name.split(":", 1)[-1]: value for name, value in values.items()}
        for name, parameter in self.params.items():
            value = arrays[name[len(self.params.prefix) :]]
            parameter.grad_req = "null"
            parameter.shape, parameter.dtype = value.shape, value.dtype
            parameter.initialize(init=mx.init.Zero(), ctx=device)
            parameter.set_data(mx.nd.array(value, dtype=value.dtype))

    def forward(self, x: Any, *args: Any) -> Any:
        """Return the network's output. Raise UsageError in training."""
        if mx.autograd.is_training():
            raise UsageError(
                f"this is {self._kind}, for inference only: train the network that it was made of, then fold or export "
                "again"
            )
        return super().forward(x, *args)

    def save_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Raise UsageError: such arrays fit no network that can be trained."""
        raise UsageError(f"this is {self._kind}: gluon_aff.deploy.export writes it with its graph")


def write_symbol(directory: Path, symbol: mx.sym.Symbol, values: Arrays) -> List[str]:
    """Write a graph and its arrays as ``SymbolBlock.imports`` and ``Module.load`` take them; return the files' names.

    Raises UsageError for an operator that would not be read back, GluonAFFError when the disk is full.
    """
    unknown = sorted({node["op"] for node in json.loads(symbol.tojson())["nodes"]} - OPERATORS)
    if unknown:
        raise UsageError(f"the network uses {', '.join(unknown)}, which an exported network may not")
    arrays = {name: mx.nd.array(array, dtype=array.dtype) for name, array in values.items()}
    try:
        symbol.save(str(directory / SYMBOL), remove_amp_cast=False)
        mx.nd.save(str(directory / PARAMS), arrays)
    except mx.MXNetError as error:
        raise cannot_write(directory, OSError(last_line(error))) from error
    return FILES


def read_symbol(
    directory: Path, shape: Tuple[int, ...], input_type: str, device: mx.Context
) -> Tuple[InferenceNetwork, List[Tuple[int, ...]]]:
    """Return the network of a folder that `write_symbol` wrote, nothing in it trusted, and the shapes of its outputs.

    Arrays' shapes are checked by the ``shape`` of an input. Raises GluonAFFError for a graph of other operators, one
    that is damaged or does not belong to its arrays, and one whose maps would take gigabytes.
    """
    path = directory / SYMBOL
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise ValueError(f"it has more than {_LARGEST_JSON:,} bytes")
        document = json.loads(path.read_text(encoding="utf-8"))
        _check_nodes(document, 0)
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError, AttributeError) as error:
        raise _wrong(path, str(error) or type(error).__name__) from None
    container = read_container(directory / PARAMS)
    names = list(container.arrays)
    values = dict(zip(names, container.read_all(names)))
    try:
        symbol = mx.sym.load_json(json.dumps(document))
        arrays = {name.split(":", 1)[-1]: array for name, array in values.items()}
        outputs = _checked_outputs(symbol, arrays, shape)
        return InferenceNetwork(symbol, values, device, "an exported network", input_type), outputs
    except (mx.MXNetError, ValueError, KeyError, AssertionError, TypeError) as error:
        raise _wrong(path, f"it does not belong to {PARAMS} ({last_line(error)})") from None


def _checked_outputs(
    symbol: mx.sym.Symbol, arrays: Dict[str, np.ndarray], shape: Tuple[int, ...]
) -> List[Tuple[int, ...]]:
    """Return the outputs' shapes. Raise ValueError unless the variables are ``data`` and the arrays, and shapes fit."""
    wanted = set(symbol.list_inputs()) - {INPUT}
    if wanted != set(arrays) or INPUT not in symbol.list_inputs():
        raise ValueError(f"variables {sorted(wanted ^ set(arrays))[:3]} are on one side only")
    known = {name: array.shape for name, array in arrays.items()}
    with redirect_stdout(io.StringIO()):  # MXNet prints the arguments that it refuses
        _, outputs, _ = symbol.get_internals().infer_shape(**{INPUT: shape}, **known)
    largest = max((int(np.prod(output, dtype=np.float64)) for output in outputs), default=0)
    if largest > _LARGEST_OUTPUT:
        raise ValueError(f"an array of {largest:,} elements would be made")
    return symbol.infer_shape(**{INPUT: shape}, **known)[1]


def _check_nodes(document: Dict[str, Any], depth: int) -> None:
    """Raise an error unless the operators are known and nodes read earlier nodes."""
    nodes: List[Dict[str, Any]] = document["nodes"]
    if not 0 < len(nodes) <= _MOST_NODES or depth > 1:
        raise ValueError(f"it has {len(nodes)} nodes")
    for number, node in enumerate(nodes):
        if node["op"] not in OPERATORS:
            raise ValueError(f"it uses the operator {str(node['op'])[:40]!r}, which is not arithmetic alone")
        for key, value in node.get("attrs", {}).items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise ValueError(f"the attributes of node {number} are no text")
        _check_inputs(node["inputs"], number)
        for inner in node.get("subgraphs", []):
            if not node["op"].startswith("_sg_mkldnn"):
                raise ValueError(f"node {number} holds a graph of its own")
            _check_nodes(inner, depth + 1)
    _check_inputs(document["heads"], len(nodes))
    if not 0 < len(document["heads"]) <= (1 if depth else _MOST_OUTPUTS):
        raise ValueError(f"it has {len(document['heads'])} outputs")
    if document["arg_nodes"] != [number for number, node in enumerate(nodes) if node["op"] == "null"]:
        raise ValueError("its list of variables is wrong")


def _check_inputs(inputs: List[List[int]], below: int) -> None:
    for each in inputs:
        if len(each) not in (2, 3) or not all(isinstance(number, int) and number >= 0 for number in each):
            raise ValueError(f"{each!r} is no output of a node")
        if each[0] >= below or each[1] > 16:
            raise ValueError(f"{each!r} is no output of an earlier node")


def _wrong(path: Path, problem: str) -> GluonAFFError:
    return GluonAFFError(f"{path} is no graph that can be used: {problem}; copy or export it again")
