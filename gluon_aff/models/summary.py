"""Shapes, parameters and FLOPs of a network, layer by layer, from its symbolic graph: nothing is computed.

Two ways of counting:

- the authors' FLOPs: a convolution's multiply-accumulates plus its bias, 2 in out - in plus its bias for a dense layer,
  nothing else. For a grouped convolution they are those of one group alone, which is why their ResNeXt looks cheaper
  than it is. Equal to the figures the authors gave.
- MACs: multiply-accumulates of convolutions and dense layers, biases not counted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock

from ..utils.tables import text_table
from .common import count_parameters, symbol_shapes


@dataclass(frozen=True)
class Layer:
    """A layer with parameters of its own. ``name`` is structural, ``output`` the shape it gives, batch first."""

    name: str
    kind: str
    output: Tuple[int, ...]
    parameters: int
    authors_flops: int
    macs: int


@dataclass(frozen=True)
class Summary:
    """Layers in the order they run, and the network's parameters: trained, and with running statistics (total)."""

    layers: List[Layer]
    trained: int
    total: int

    @property
    def authors_flops(self) -> int:
        return sum(layer.authors_flops for layer in self.layers)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)


def summarize(net: HybridBlock, shape: Sequence[int], *others: Sequence[int]) -> Summary:
    """Count a network for one input of ``shape``, batch included: (1, 3, 32, 32). It need not be initialised.

    ``others`` are the shapes of further inputs. Raises UsageError for images that are too small for it.
    """
    more = {f"data{number}": tuple(other) for number, other in enumerate(others, 1)}
    symbol = net(mx.sym.var("data"), *(mx.sym.var(name) for name in more))
    output_shapes = symbol_shapes(symbol, shape, **more)
    structural = {p.name: key for key, p in net._collect_params_with_prefix().items()}
    sizes = {p.name: int(np.prod(p.shape)) for p in net.collect_params().values()}
    nodes = json.loads(symbol.tojson())["nodes"]
    layers = []
    for node in nodes:
        inputs = [nodes[entry[0]]["name"] for entry in node["inputs"]]
        own = [name for name in inputs if name in structural]
        if not own:
            continue
        output = output_shapes[f"{node['name']}_output"]
        flops, macs = _count(node["op"], node.get("attrs", {}), output_shapes, inputs, output)
        name = structural[own[0]].rpartition(".")[0]
        layers.append(Layer(name, node["op"], output, sum(sizes[key] for key in own), flops, macs))
    return Summary(layers, *count_parameters(net))


def _count(
    op: str,
    attributes: Dict[str, str],
    shapes: Dict[str, Tuple[int, ...]],
    inputs: Sequence[str],
    output: Tuple[int, ...],
) -> Tuple[int, int]:
    """(authors' FLOPs, MACs) of one node."""
    if op == "Convolution":
        weight = shapes[inputs[1]]
        positions = int(np.prod(output))
        macs = positions * int(np.prod(weight[1:]))
        bias = positions if len(inputs) > 2 else 0
        return macs // int(attributes.get("num_group", 1)) + bias, macs
    if op == "FullyConnected":
        units, features = shapes[inputs[1]]
        bias = units if len(inputs) > 2 else 0
        return output[0] * (2 * units * features - features + bias), output[0] * units * features
    return 0, 0


def describe(net: HybridBlock, shape: Sequence[int], *others: Sequence[int]) -> str:
    """The summary as a text table, totals last."""
    summary = summarize(net, shape, *others)
    header = ("layer", "kind", "output", "parameters", "FLOPs (authors)", "MACs")
    rows = [
        (
            layer.name,
            layer.kind,
            "x".join(map(str, layer.output[1:])),
            f"{layer.parameters:,}",
            f"{layer.authors_flops:,}",
            f"{layer.macs:,}",
        )
        for layer in summary.layers
    ]
    return "\n".join(
        [
            *text_table(header, rows),
            "",
            f"input {'x'.join(map(str, shape[1:]))}; {summary.trained:,} trained parameters, "
            f"{summary.total:,} with running statistics",
            f"{summary.authors_flops:,} FLOPs as the authors count, {summary.macs:,} multiply-accumulates",
        ]
    )
