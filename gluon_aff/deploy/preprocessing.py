"""The normalisation of pixels as the first nodes of a graph."""

from __future__ import annotations

from ..data.pictures import NetworkInput
from ..data.transform import EvalTransform
from .graph import INPUT, Graph, Node


def prepend(graph: Graph, network_input: NetworkInput) -> None:
    """Let a graph take pixels uint8 (N, H, W, 3), RGB: they are normalised as `NetworkInput.transform` does it.

    In place. The same float32 operations, in the same order: pixel * scale + shift.
    """
    transform = EvalTransform(network_input.mean, network_input.std)
    first = next(node for node in graph.nodes() if node.op == "null" and node.name == INPUT)
    pixels = Node("null", INPUT, {"__dtype__": "3"})
    cast = Node("Cast", "pixels_cast", {"dtype": "float32"}, [(pixels, 0)])
    planes = Node("transpose", "pixels_planes", {"axes": "(0, 3, 1, 2)"}, [(cast, 0)])
    scale = graph.variable("pixels_scale", transform.scale[None])
    scaled = Node("broadcast_mul", "pixels_scaled", {}, [(planes, 0), (scale, 0)])
    shift = graph.variable("pixels_shift", transform.shift[None])
    normalised = Node("broadcast_add", "pixels_normalised", {}, [(scaled, 0), (shift, 0)])
    for node in graph.nodes():
        node.inputs = [(normalised, 0) if each is first else (each, number) for each, number in node.inputs]
