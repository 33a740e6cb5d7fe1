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

BRANCH = ("conv", "norm", "relu", "conv", "norm")
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
    if not _fits(F, maps, branches) or not native.active():
        return None
    layers = [_layers(branch, pool) for pool, branch in enumerate(branches)]
    settings = layers[0][1]._kwargs  # of all its norms
    read = _reader(F, x)
    flat: List[Any] = []
    running: List[Any] = []
    for branch in layers:
        for layer in (branch[0], branch[1], branch[3], branch[4]):
            names = ("weight", "bias") if hasattr(layer, "weight") else ("gamma", "beta")
            flat += [F.reshape(read(getattr(layer, name)), shape=(-1,)) for name in names]
        for norm in (branch[1], branch[4]):
            running += [read(norm.running_mean), read(norm.running_var)]
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
        F.concat(*flat, dim=0),
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


def _fits(F: Any, maps: Sequence[Any], branches: Sequence[nn.HybridSequential]) -> bool:
    if F is mx.nd:
        if any(each.context.device_type != "cpu" or each.dtype != np.float32 for each in maps):
            return False
    elif not native.enabled or not (native.in_all_graphs or _is_traced_to_run()):
        return False
    layers = [_layers(branch, pool) for pool, branch in enumerate(branches)]
    if not all(layers) or not _norms_are_alike(layers) or _mixed_precision():
        return False
    return all(
        parameter.dtype in (np.float32, "float32") and all(ctx.device_type == "cpu" for ctx in _contexts(parameter))
        for branch in branches
        for parameter in branch.collect_params().values()
    )


def _contexts(parameter: mx.gluon.Parameter) -> List[mx.Context]:
    return parameter.list_ctx() if parameter._data is not None or parameter._deferred_init else []


def _layers(branch: nn.HybridSequential, pool: int) -> List[nn.HybridBlock]:
    """conv1x1, norm, relu, conv1x1, norm of a branch that is as `context_branch` makes it; else an empty list."""
    if type(branch) is not nn.HybridSequential or _hooks(branch):
        return []
    layers = list(branch._children.values())[pool:]
    if len(branch) != pool + len(BRANCH):
        return []
    convs, norms, relu = (layers[0], layers[3]), (layers[1], layers[4]), layers[2]
    if any(type(conv) is not nn.Conv2D or conv.bias is None or conv.act is not None for conv in convs):
        return []
    if any(conv._kwargs["kernel"] != (1, 1) or conv._kwargs["stride"] != (1, 1) for conv in convs):
        return []
    if any(type(norm) is not nn.BatchNorm for norm in norms) or type(relu) is not nn.Activation:
        return []
    return layers if relu._act_type == "relu" else []


def _hooks(block: nn.HybridBlock) -> bool:
    if block._forward_hooks or block._forward_pre_hooks:
        return True
    return any(_hooks(child) for child in block._children.values())


def _norms_are_alike(branches: Sequence[Sequence[nn.HybridBlock]]) -> bool:
    """Whether all norms have the same settings, and none that the operator does not know."""
    first, *others = [branch[place]._kwargs for branch in branches for place in (1, 4)]
    return all(other == first for other in others) and first["axis"] == 1 and not first["fix_gamma"]


def _is_traced_to_run() -> bool:
    """Whether a graph is being made for a hybridized block to run, and not for whoever passed a symbol in."""
    code = mx.gluon.HybridBlock._get_graph.__code__
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code is code:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _mixed_precision() -> bool:
    amp = sys.modules.get("mxnet.contrib.amp.amp")
    return bool(amp and amp._amp_initialized)


def _reader(F: Any, x: Any) -> Callable[[mx.gluon.Parameter], Any]:
    if F is mx.nd:
        return lambda parameter: parameter.data(x.context)
    return lambda parameter: parameter.var()
