"""A network's symbolic graph with its arrays, in a form that can be changed node by node."""

from __future__ import annotations

import ast
import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import mxnet as mx
import numpy as np

from ..errors import GluonAFFError, UsageError

#: Name of the only input of every graph.
INPUT = "data"

#: Operators that are batch normalisation: x, gamma, beta, running mean, running variance.
NORMS = ("BatchNorm", "_contrib_SyncBatchNorm")


@dataclass(eq=False)
class Node:
    """An operator, or a variable: ``op`` is then "null". ``inputs`` are nodes with the number of the output meant."""

    op: str
    name: str
    attrs: Dict[str, str] = field(default_factory=dict)
    inputs: List[Tuple[Node, int]] = field(default_factory=list)

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute's value: MXNet writes them as Python literals, and words as they are."""
        if name not in self.attrs:
            return default
        try:
            return ast.literal_eval(self.attrs[name])
        except (ValueError, SyntaxError):
            return self.attrs[name]


class Graph:
    """A network of one input ``data`` and one output.

    Attributes
    ----------
    head : (Node, int)
        The output.
    arrays : dict
        Values of all variables but ``data``, by name.
    auxiliary : set of str
        Names of those that MXNet calls auxiliary states: running statistics.
    """

    def __init__(self, head: Tuple[Node, int], arrays: Dict[str, np.ndarray], auxiliary: set) -> None:
        self.head = head
        self.arrays = arrays
        self.auxiliary = auxiliary

    def nodes(self) -> List[Node]:
        """All nodes that the output depends on, inputs before what reads them."""
        ordered: List[Node] = []
        seen = set()
        waiting: List[Tuple[Node, Iterator[Tuple[Node, int]]]] = [(self.head[0], iter(self.head[0].inputs))]
        seen.add(id(self.head[0]))
        while waiting:
            node, inputs = waiting[-1]
            below = next((each for each, _ in inputs if id(each) not in seen), None)
            if below is None:
                ordered.append(node)
                waiting.pop()
            else:
                seen.add(id(below))
                waiting.append((below, iter(below.inputs)))
        return ordered

    def readers(self) -> Dict[int, List[Tuple[Optional[Node], int]]]:
        """From a node's ``id`` to who reads it and at which input; (None, 0) is the network's output."""
        found: Dict[int, List[Tuple[Optional[Node], int]]] = {id(self.head[0]): [(None, 0)]}
        for node in self.nodes():
            for place, (source, _) in enumerate(node.inputs):
                found.setdefault(id(source), []).append((node, place))
        return found

    def replace(self, old: Node, new: Tuple[Node, int]) -> None:
        """Let everything that reads the first output of ``old`` read ``new``."""
        for node in self.nodes():
            node.inputs = [new if each is old and number == 0 else (each, number) for each, number in node.inputs]
        if self.head[0] is old:
            self.head = new

    def variable(self, name: str, value: np.ndarray) -> Node:
        """A new variable that knows its shape. Its name gets a number where it is taken."""
        free, number = name, 1
        while free in self.arrays or free == INPUT:
            number += 1
            free = f"{name}_{number}"
        self.arrays[free] = value
        return Node("null", free, {"__shape__": str(tuple(value.shape))})

    def operators(self) -> Counter:
        """How many nodes there are of each operator."""
        return Counter(node.op for node in self.nodes() if node.op != "null")

    def symbol(self) -> mx.sym.Symbol:
        """The graph for MXNet."""
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
            "heads": [[number[id(self.head[0])], self.head[1], 0]],
            "attrs": {"mxnet_version": ["int", 10901]},
        }
        return mx.sym.load_json(json.dumps(document))

    def output_shape(self, shape: Tuple[int, ...]) -> Tuple[int, ...]:
        """Of the output for an input of ``shape``."""
        known = {name.split(":", 1)[1]: value.shape for name, value in self.values().items()}
        _, (found,), _ = self.symbol().infer_shape(**{INPUT: shape}, **known)
        return found

    def values(self) -> Dict[str, np.ndarray]:
        """Values of the variables that the output depends on, by name with ``arg:`` or ``aux:`` in front."""
        names = [node.name for node in self.nodes() if node.op == "null" and node.name != INPUT]
        return {f"{'aux' if name in self.auxiliary else 'arg'}:{name}": self.arrays[name] for name in names}


def graph_of(net: mx.gluon.HybridBlock, resize_as_operator: bool = False) -> Graph:
    """The graph of an initialised network at inference.

    Parameters
    ----------
    net : HybridBlock
    resize_as_operator : bool
        An FPN's maps are resized by MXNet's operator instead of products with matrices (`nn.ResizeLike`), equal but for
        rounding. MXNet's executor lets arrays share memory and on the products stops with "The size of NDArray doesn't
        match the requested MKLDNN memory desc"; ``SymbolBlock`` and ONNX Runtime run them.

    Raises
    ------
    UsageError
        For a network without weights, one that cannot be traced as a symbol, and one of several outputs.
    """
    parameters = {parameter.name: parameter for parameter in net.collect_params().values()}
    missing = [name for name, parameter in parameters.items() if parameter._data is None]
    if missing:
        raise UsageError(f"the network has no weights yet ({missing[0]} has none): initialise it, or load a file")
    try:
        with _resizing(net, resize_as_operator):
            symbol = net(mx.sym.var(INPUT))
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            f"this {type(net).__name__} cannot be traced as a symbol ({str(error).splitlines()[0]}): its "
            "hybrid_forward may only use F's operators, no shapes or values"
        ) from error
    if not isinstance(symbol, mx.sym.Symbol) or len(symbol.list_outputs()) != 1:
        raise UsageError("the network has several outputs: wrap it in a block that gives the one that is wanted")
    arrays = {}
    for name in symbol.list_inputs():
        if name != INPUT:
            parameter = parameters[name]
            arrays[name] = parameter.data(parameter.list_ctx()[0]).asnumpy()
    return read_graph(symbol, arrays)


@contextmanager
def _resizing(net: mx.gluon.HybridBlock, as_operator: bool) -> Iterator[None]:
    """Set ``as_operator`` of all blocks that have it, as `ResizeLike` has, for as long as a graph is made."""
    layers: List[Any] = []
    net.apply(lambda block: layers.append(block) if hasattr(block, "as_operator") else None)
    before = [layer.as_operator for layer in layers]
    try:
        for layer in layers:
            layer.as_operator = as_operator
        yield
    finally:
        for layer, was in zip(layers, before):
            layer.as_operator = was


def read_graph(symbol: mx.sym.Symbol, arrays: Dict[str, np.ndarray]) -> Graph:
    """The graph of a symbol; ``arrays`` has the values of all variables but ``data``."""
    document = json.loads(symbol.tojson())
    nodes: List[Node] = []
    for entry in document["nodes"]:
        if entry.get("subgraphs"):
            raise GluonAFFError(f"{entry['name']} holds a graph of its own: only graphs of plain operators are changed")
        inputs = [(nodes[index], output) for index, output, *_ in entry["inputs"]]
        attrs = {key: value for key, value in entry.get("attrs", {}).items() if not key.startswith("__")}
        nodes.append(Node(entry["op"], entry["name"], attrs, inputs))
    index, output, *_ = document["heads"][0]
    graph = Graph((nodes[index], output), dict(arrays), set(symbol.list_auxiliary_states()))
    _fix_gammas(graph)
    return graph


def _fix_gammas(graph: Graph) -> None:
    """Write down the ones that ``fix_gamma`` means. BatchNorm ignores what the array holds, exporters do not."""
    for node in graph.nodes():
        if node.op in NORMS and node.attribute("fix_gamma", True):
            name = node.inputs[1][0].name
            graph.arrays[name] = np.ones_like(graph.arrays[name])


def example_shape(shape: Sequence[Union[int, str]]) -> Tuple[int, ...]:
    """An input's shape with numbers for the lengths that are open: a batch of 1, sides of 64 pixels."""
    batch, *others = shape
    first = 1 if isinstance(batch, str) else batch
    return (first, *(64 if isinstance(length, str) else length for length in others))
