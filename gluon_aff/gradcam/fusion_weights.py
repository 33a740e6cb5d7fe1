"""What the fusions of a network choose: their weights M and the parts of these (paper, Eqs. 1 to 4)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Dict, Iterable, Iterator, List, Optional, Tuple, Union

import mxnet as mx
import numpy as np
from mxnet.gluon import Block

from ..errors import UsageError
from ..models.cifar_inception import FusedConv
from ..nn import MSCAM, Fusion, LongSkip
from .inner_layers import as_input, checked, find_layer, named_blocks, recorded_outputs

_BRANCHES = ("local_att", "global_att")
_INPUTS = {LongSkip: ("high-level map", "low-level map"), FusedConv: ("5x5 branch", "3x3 branch")}


@dataclass(frozen=True, eq=False)
class FusionWeights:
    """The weight of one fusion on a batch, M = sigmoid(local + context), float32.

    Attributes
    ----------
    path : str
        Of the fusion in the network.
    kind : str
        The fusion's class, such as "AFF".
    stage : int
        1, or 2 for iAFF's second weight.
    weight : array
        M, (N, C, H, W); (N, C, 1, 1) where the fusion has global context alone.
    local, context : array or None
        The parts before the sigmoid, L (N, C, H, W) and g (N, C, 1, 1); None for one that the fusion does not have.
        (Global + Global and Local + Local have two of one kind.)
    inputs : tuple of str
        What x and residual are: learned branch and shortcut; in an FPN high-level and low-level map, in the Inception
        host 5x5 and 3x3 branch.
    on : str
        Which of them the weight multiplies, "x" or "residual".
    selects : bool
        Whether the other input has the weight 1 - M, so that M tells which of them the network chooses.
    """

    path: str
    kind: str
    stage: int
    weight: np.ndarray
    local: Optional[np.ndarray]
    context: Optional[np.ndarray]
    inputs: Tuple[str, str]
    on: str
    selects: bool

    @property
    def weighed(self) -> str:
        """The name of the input that has the weight M."""
        return self.inputs[0 if self.on == "x" else 1]

    @property
    def other(self) -> str:
        return self.inputs[1 if self.on == "x" else 0]


def fusion_weights(net: Block, x: Union[mx.nd.NDArray, np.ndarray]) -> List[FusionWeights]:
    """The weights of every fusion (and MS-CAM) inside a network, shallow to deep.

    Parameters
    ----------
    net : Block
        Hybridized or not; it stays as it is.
    x : NDArray or array
        A normalised batch (N, C, H, W).

    Raises
    ------
    UsageError
        When no fusion in the network has weights, as plain addition has none.
    """
    blocks = {path: block for path, block in named_blocks(net) if isinstance(block, (Fusion, MSCAM))}
    if isinstance(net, (Fusion, MSCAM)):
        raise UsageError("this is a single fusion: give a network that has fusions inside")
    parts = {
        f"{path}.{name}": _before_sigmoid(branch)
        for path, block in blocks.items()
        for name, branch in block._children.items()
        if name.rstrip("2") in _BRANCHES
    }
    if not parts:
        kinds = ", ".join(sorted({type(block).__name__ for block in blocks.values()})) or "none"
        raise UsageError(f"no fusion of this {type(net).__name__} has weights (fusions: {kinds}): nothing to show")
    x = as_input(net, x)
    with recorded_outputs(net, parts) as recorded, mx.autograd.pause(train_mode=False):
        net(x)
    outputs = {name: checked(output, name) for name, output in recorded.items()}
    paths = list(dict.fromkeys(name.rpartition(".")[0] for name in outputs))  # in the order they ran
    return [stage for path in paths for stage in _stages(net, path, blocks[path], outputs)]


def _before_sigmoid(branch: Block) -> Block:
    """The layer whose output goes into the sigmoid: the branch, or what stands before its own sigmoid."""
    *_, before, last = branch._children.values()
    return before if getattr(last, "_act_type", None) == "sigmoid" else branch


def _stages(net: Block, path: str, block: Block, outputs: Dict[str, np.ndarray]) -> Iterator[FusionWeights]:
    pools = dict(zip(_BRANCHES, getattr(block, "scales", (False, True))))
    for stage, ending in enumerate(("", "2"), 1):
        found = {name: outputs[f"{path}.{name}{ending}"] for name in _BRANCHES if f"{path}.{name}{ending}" in outputs}
        if not found:
            continue
        found = block.attention_logits(found) if isinstance(block, Fusion) else found
        yield FusionWeights(
            path=path,
            kind=type(block).__name__,
            stage=stage,
            weight=_sigmoid(reduce(np.add, found.values())),
            local=_sum(part for name, part in found.items() if not pools[name]),
            context=_sum(part for name, part in found.items() if pools[name]),
            inputs=_inputs(net, path),
            on=getattr(block, "weighs", "x"),
            selects=getattr(block, "selects", False),
        )


def _inputs(net: Block, path: str) -> Tuple[str, str]:
    above = path.rpartition(".")[0]
    parent = find_layer(net, above) if above else net
    return next((names for kind, names in _INPUTS.items() if isinstance(parent, kind)), ("learned branch", "shortcut"))


def _sum(parts: Iterable[np.ndarray]) -> Optional[np.ndarray]:
    found = list(parts)
    return reduce(np.add, found) if found else None


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))
