"""The normalisation of pixels as the first nodes of a graph."""

from __future__ import annotations

from ..data.pictures import NetworkInput
from ..data.transform import EvalTransform
from .graph import INPUT, Graph, Node


def prepend(graph: Graph, network_input: NetworkInput) -> None:
    """Let a graph take pixels uint8 (N, H, W, 3), RGB: they are normalised as `NetworkInput.transform` does it.

    In place. The same float32 operations, in the same order: pixel * scale + shift.
    """
    first = next(node for node in graph.nodes() if node.op == "null" and node.name == INPUT)
    normalised = _normalised(graph, network_input)
    for node in graph.nodes():
        node.inputs = [(normalised, 0) if each is first else (each, number) for each, number in node.inputs]


def normalisation(network_input: NetworkInput) -> Graph:
    """What `prepend` puts in front, as a graph of its own: from pixels to what a network takes."""
    graph = Graph((Node("null", INPUT), 0), {}, set())
    graph.head = _normalised(graph, network_input), 0
    return graph


def _normalised(graph: Graph, network_input: NetworkInput) -> Node:
    """New nodes from pixels to normalised maps (N, 3, H, W), whose arrays are the graph's."""
    transform = EvalTransform(network_input.mean, network_input.std)
    pixels = Node("null", INPUT, {"__dtype__": "3"})
    cast = Node("Cast", "pixels_cast", {"dtype": "float32"}, [(pixels, 0)])
    planes = Node("transpose", "pixels_planes", {"axes": "(0, 3, 1, 2)"}, [(cast, 0)])
    scale = graph.variable("pixels_scale", transform.scale[None])
    scaled = Node("broadcast_mul", "pixels_scaled", {}, [(planes, 0), (scale, 0)])
    shift = graph.variable("pixels_shift", transform.shift[None])
    return Node("broadcast_add", "pixels_normalised", {}, [(scaled, 0), (shift, 0)])
