"""MS-CAM's weight and what it multiplies as one native operator, where it fits a block.

The operator computes both branches, the sigmoid and the weighted sum in few passes over the maps. It takes the same
parameters and gives the same function; sums are added in another order, so bits differ. A block asks for it when it is
called or when its graph is made, and gets None where it does not fit: another norm than Gluon's BatchNorm, no
bottleneck, other branches than a local and a global one, a GPU, float16, hooks on the branches' layers, or a graph that
others shall read (``export``, a symbol as input).

One thing is different: running statistics are updated in the forward pass of training, by Gluon's BatchNorm on CPU in
the backward pass.
"""

from __future__ import annotations

import operator
import sys
from typing import Any, Callable, List, Optional, Sequence

import mxnet as mx
import numpy as np
from mxnet.gluon import nn

from .. import native

BRANCH = [nn.Conv2D, nn.BatchNorm, nn.Activation, nn.Conv2D, nn.BatchNorm]
Mix = Callable[[Any, Any, Any, Any], Any]


class _Numbers:
    """In the place of ``F`` a formula computes with numbers."""

    elemwise_add = staticmethod(operator.add)
    elemwise_sub = staticmethod(operator.sub)
    elemwise_mul = staticmethod(operator.mul)


def fuse(
    F: Any,
    mix: Mix,
    x: Any,
    residual: Optional[Any],
    branches: Sequence[nn.HybridSequential],
    attends: Sequence[str],
    z: Optional[Any] = None,
) -> Optional[Any]:
    """Return ``mix(F, x, residual, w)`` by the native operator, or None where the block must compute it itself.

    See `gluon_aff.nn.attention.attend`. ``mix`` is linear in w x, w residual, x and residual: the operator is told
    these four numbers.
    """
    maps = [each for each in (x, residual, z) if each is not None]
    layers = [_layers(branch, pool) for pool, branch in enumerate(branches)]
    if not all(layers) or not _fits(F, maps, layers) or not native.active():
        return None
    settings = layers[0][1]._kwargs  # of all its norms

    def read(layer: nn.HybridBlock, *names: str) -> List[Any]:
        parameters = [getattr(layer, name) for name in names]
        return [each.data(x.context) if F is mx.nd else each.var() for each in parameters]

    weights: List[Any] = []
    running: List[Any] = []
    for first, first_norm, _, second, second_norm in layers:
        for conv, norm in ((first, first_norm), (second, second_norm)):
            weights += [*read(conv, "weight", "bias"), *read(norm, "gamma", "beta")]
            running += read(norm, "running_mean", "running_var")
    # in training Dropout makes 1 to 0 or 2, in inference it is 1: no other operator tells an operator the mode
    mode = F.BlockGrad(F.Dropout(F.ones((1,)), p=0.5))
    # A gradient may have to be added to what is there, which an operator of an extension is not told: what stands
    # before it does that. In graphs this also leaves oneDNN's layout once instead of forward and backward.
    if F is mx.nd:
        outer = [F.identity(each) if each.grad is not None else each for each in maps]
    else:
        outer = [F.reshape(each, shape=(0, 0, 0, 0)) for each in maps]
    plain = [mix(_Numbers, *unit, 0) for unit in ((1, 0), (0, 1))]
    weighted = [mix(_Numbers, *unit, 1) - alone for unit, alone in zip(((1, 0), (0, 1)), plain)]
    fused = getattr(F._internal, native.OPERATOR)(
        *outer,
        mode,
        F.concat(*(F.reshape(each, shape=(-1,)) for each in weights), dim=0),
        *running,
        mix=" ".join(map(str, [*weighted, *plain])),
        residual=str(int(residual is not None)),
        attends_x=str(int(z is None and "x" in attends)),
        attends_residual=str(int(z is None and "residual" in attends)),
        middle=str(layers[0][0]._channels),
        frozen=str(int(settings["use_global_stats"])),
        eps=repr(settings["eps"]),
        momentum=repr(settings["momentum"]),
    )
    return fused[0]


def _layers(branch: nn.HybridSequential, pool: int) -> List[nn.HybridBlock]:
    """conv1x1, norm, relu, conv1x1, norm of a branch that is as `context_branch` makes it; else an empty list."""
    layers = list(branch._children.values())[pool:]
    if type(branch) is not nn.HybridSequential or [type(layer) for layer in layers] != BRANCH or _hooks(branch):
        return []
    for conv in (layers[0], layers[3]):
        kernel, stride = conv._kwargs["kernel"], conv._kwargs["stride"]
        if not kernel == stride == (1, 1) or conv.bias is None or conv.act is not None:
            return []
    return layers if layers[2]._act_type == "relu" else []


def _hooks(block: nn.HybridBlock) -> bool:
    hooks = block._forward_hooks or block._forward_pre_hooks
    return bool(hooks) or any(map(_hooks, block._children.values()))


def _fits(F: Any, maps: Sequence[Any], branches: Sequence[Sequence[nn.HybridBlock]]) -> bool:
    """Whether maps and layers are float32 on the CPU, the norms all alike, and a graph is made to run."""
    if F is mx.nd:
        if any(each.context.device_type != "cpu" or each.dtype != np.float32 for each in maps):
            return False
    elif not native.enabled or not (native.in_all_graphs or _is_traced_to_run()):
        return False
    amp = sys.modules.get("mxnet.contrib.amp.amp")
    if amp and amp._amp_initialized:
        return False
    first, *others = [branch[place]._kwargs for branch in branches for place in (1, 4)]
    if any(other != first for other in others) or first["axis"] != 1 or first["fix_gamma"]:
        return False
    parameters = [each for branch in branches for layer in branch for each in layer._reg_params.values()]
    made = [each for each in parameters if each._data is not None or each._deferred_init]
    return all(each.dtype in (np.float32, "float32") for each in parameters) and all(
        ctx.device_type == "cpu" for each in made for ctx in each.list_ctx()
    )


def _is_traced_to_run() -> bool:
    """Whether a graph is being made for a hybridized block to run, and not for whoever passed a symbol in."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code is mx.gluon.HybridBlock._get_graph.__code__:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False
