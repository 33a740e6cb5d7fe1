"""BatchNorm folded into convolutions: fewer operators at inference, the same function up to rounding.

At inference a norm is ``scale * x + shift`` in each channel. It goes into the convolution before it, or, where no
activation and no zero padding stands between, into the convolutions after it. Everything is multiplied in float64 and
rounded once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

import mxnet as mx
import numpy as np

from ..nn import native
from .symbol import NORMS, Graph, InferenceNetwork, Node, graph_of

_CONVOLUTION = "Convolution"
_MXNET_EPS = 1e-3  # BatchNorm's, where a graph does not say
_WORDS = {
    "elemwise_add": "a sum",
    "concat": "a concatenation",
    "_contrib_bilinearresize2d": "a resizing",
    "pooling": "a pool",
    native.OPERATOR: "a fusion",
}

Readers = Dict[int, List[Tuple[Optional[Node], int]]]


@dataclass(frozen=True)
class KeptNorm:
    """A norm that could not be folded, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Folding:
    """What became of a network's norms: how many were folded, and those that stay."""

    folded: int
    kept: Tuple[KeptNorm, ...]

    def lines(self) -> List[str]:
        """Return a line for each reason, with how many norms stay for it."""
        counts: Dict[str, List[str]] = {}
        for norm in self.kept:
            counts.setdefault(norm.reason, []).append(norm.name)
        said = [f"{self.folded} of {self.folded + len(self.kept)} norms folded into convolutions"]
        for reason, names in counts.items():
            stay, more = ("stays", "") if len(names) == 1 else ("stay", ", ...")
            said.append(f"{len(names)} {stay}: {reason} ({names[0]}{more})")
        return said


def fold(net: mx.gluon.HybridBlock) -> InferenceNetwork:
    """Return the network with every BatchNorm folded into a convolution that can take it.

    A norm stays where it follows a sum, a fusion, a concatenation or a resizing and an activation comes before the next
    convolution (the first norm of every pre-activation block, the last one of a CIFAR network), where others read the
    convolution too, and where the convolution behind it pads: zeros outside the image are zeros after the norm, and
    none before it (the norm on a CIFAR network's input). ``folding`` of the result lists them with their reasons.

    Parameters
    ----------
    net : HybridBlock
        Initialised, of one input (N, C, H, W) and one output.

    Returns
    -------
    InferenceNetwork
        For inference only, on the network's first device: the same outputs up to rounding (logits within 1e-4 of
        their range). ``net`` itself is unchanged. On CPU fusions use the native operator where there is one.

    Raises
    ------
    UsageError
        For a network without weights or one that cannot be traced.
    """
    with native.for_this_process():
        graph = graph_of(net)
    settle_operators(graph)
    folding = fold_norms(graph)
    device = next(iter(net.collect_params().values())).list_ctx()[0]
    folded = InferenceNetwork(graph.symbol(), graph.values(), device, "a network whose norms are folded")
    folded.folding = folding
    folded.hybridize(static_alloc=True, static_shape=True)
    return folded


def settle_operators(graph: Graph) -> None:
    """Compute once what the native operators of a graph are given in every call, and drop what only gradients need."""
    for node in [node for node in graph.nodes() if node.op == native.OPERATOR]:
        for place, (source, _) in enumerate(node.inputs):
            if source.op == "Reshape" and _is_plain(source.inputs[0][0]):  # a map that is in no layout of oneDNN's
                node.inputs[place] = source.inputs[0]
            elif source.op == "BlockGrad":  # the mode: of Dropout on ones, which are ones at inference
                node.inputs[place] = source.inputs[0][0].inputs[0]
            elif source.op.lower() == "concat":  # the parameters: of reshaped variables
                pieces = [graph.arrays[piece.inputs[0][0].name].ravel() for piece, _ in source.inputs]
                node.inputs[place] = (graph.variable(f"{node.name}_parameters", np.concatenate(pieces)), 0)


def _is_plain(node: Node) -> bool:
    while node.op == "Activation":
        node = node.inputs[0][0]
    return node.op == native.OPERATOR


def fold_norms(graph: Graph) -> Folding:
    """Fold the norms of a graph, in place."""
    folded, kept = 0, []
    for norm in [node for node in graph.nodes() if node.op in NORMS]:
        reason = _fold(graph, norm, graph.readers())
        if reason is None:
            folded += 1
        else:
            kept.append(KeptNorm(norm.name, reason))
    return Folding(folded, tuple(kept))


def _fold(graph: Graph, norm: Node, readers: Readers) -> Optional[str]:
    """Fold one norm. Return why not, where it has to stay."""
    source, _ = norm.inputs[0]
    if norm.attribute("axis", 1) != 1:
        return "it is not over channels"
    if source.op == _CONVOLUTION and len(readers[id(source)]) == 1:
        if not _own_arrays(source, readers):
            return "its convolution's weights are used elsewhere, too"
        scale, shift = _affine(graph, norm)
        weight, bias = _arrays(graph, source)
        _set_arrays(graph, source, weight * scale[:, None, None, None], bias * scale + shift)
        graph.replace(norm, (source, 0))
        return None
    behind = readers[id(norm)]
    if all(reader is not None and reader.op == _CONVOLUTION and place == 0 for reader, place in behind):
        following = [reader for reader, _ in behind if reader is not None]
        if any(any(reader.attribute("pad", (0, 0))) for reader in following):
            return "the convolution behind it pads with zeros, which are none before the norm"
        if all(_own_arrays(reader, readers) for reader in following):
            for reader in following:
                _into_convolution_behind(graph, norm, reader)
            graph.replace(norm, norm.inputs[0])
            return None
    if source.op == _CONVOLUTION:
        return "the convolution before it is read by others, too"
    described = _WORDS.get(source.op.lower(), f"the operator {source.op}")
    return f"it follows {described}, and no convolution comes right behind it"


def _own_arrays(convolution: Node, readers: Readers) -> bool:
    return all(variable.op == "null" and len(readers[id(variable)]) == 1 for variable, _ in convolution.inputs[1:])


def _affine(graph: Graph, norm: Node) -> Tuple[np.ndarray, np.ndarray]:
    """Return (scale, shift) of a norm at inference, float64 (C,)."""
    gamma, beta, mean, var = (graph.arrays[variable.name].astype(np.float64) for variable, _ in norm.inputs[1:5])
    scale = gamma / np.sqrt(var + float(norm.attribute("eps", _MXNET_EPS)))
    return scale, beta - mean * scale


def _into_convolution_behind(graph: Graph, norm: Node, convolution: Node) -> None:
    scale, shift = _affine(graph, norm)
    weight, bias = _arrays(graph, convolution)
    groups = convolution.attribute("num_group", 1)
    outputs, inputs = weight.shape[:2]
    # the channels of x that each output reads: of its own group
    scales, shifts = (np.repeat(each.reshape(groups, inputs), outputs // groups, axis=0) for each in (scale, shift))
    more = (weight.sum(axis=(2, 3)) * shifts).sum(axis=1)
    _set_arrays(graph, convolution, weight * scales[:, :, None, None], bias + more)


def _arrays(graph: Graph, convolution: Node) -> Tuple[np.ndarray, np.ndarray]:
    """Return weight and bias, float64; the bias is 0 where there is none."""
    weight, *bias = (graph.arrays[variable.name].astype(np.float64) for variable, _ in convolution.inputs[1:])
    return weight, bias[0] if bias else np.zeros(len(weight))


def _set_arrays(graph: Graph, convolution: Node, weight: np.ndarray, bias: np.ndarray) -> None:
    name = convolution.inputs[1][0].name
    dtype = graph.arrays[name].dtype
    graph.arrays[name] = weight.astype(dtype)
    if len(convolution.inputs) > 2:
        graph.arrays[convolution.inputs[2][0].name] = bias.astype(dtype)
        return
    stem = name[: -len("weight")] if name.endswith("weight") else f"{name}_"
    convolution.inputs.append((graph.variable(f"{stem}bias", bias.astype(dtype)), 0))
    convolution.attrs = {**convolution.attrs, "no_bias": "False"}
