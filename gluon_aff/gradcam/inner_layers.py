"""A network's inner layers by path, and their outputs while it runs. The network stays as it was."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple, Union

import mxnet as mx
import numpy as np
from mxnet.gluon import Block, nn

from ..errors import GluonAFFError, UsageError

_SEQUENCES = (nn.Sequential, nn.HybridSequential)
_SHOWN_LEVELS = 2  # of paths that an error lists


def named_blocks(block: Block, path: str = "") -> Iterator[Tuple[str, Block]]:
    """Yield (path, block) of every block inside, a block before its children: ``features``, ``features.0``, ..."""
    for name, child in block._children.items():
        here = f"{path}.{name}" if path else name
        yield here, child
        yield from named_blocks(child, here)


def layer_paths(net: Block) -> List[str]:
    """Return the paths of all blocks inside a network: ``"features.4.2"``, ``"layer3.1"``."""
    return [path for path, _ in named_blocks(net)]


def find_layer(net: Block, path: str) -> Block:
    """Return the block at a path. Raise UsageError that lists the paths below the last correct part of ``path``."""
    found = net
    known: List[str] = []
    for name in path.split("."):
        if name not in found._children:
            raise UsageError(f"no layer {path!r} in this {type(net).__name__}: {_choices(found, '.'.join(known))}")
        found = found._children[name]
        known.append(name)
    return found


def _choices(block: Block, path: str) -> str:
    below = [name for name, _ in named_blocks(block, path)]
    level = path.count(".") + 1 if path else 0
    shown = [name for name in below if name.count(".") < level + _SHOWN_LEVELS]
    return f"choose one of {', '.join(shown)}" if shown else f"{path or 'it'} has no layers inside"


def default_layer(net: Block, x: Optional[mx.nd.NDArray] = None) -> str:
    """Return the path of the network's own ``cam_layer``, else of the last residual stage, else of the last maps.

    A stage is a sequence of blocks that have layers of their own, as in the networks here, GluonCV's and Gluon's
    residual networks. A network without stages is run on ``x``, a batch (N, C, H, W) as `as_input` gives it: its layer
    is the last to give maps (N, C, H, W) of more than one position, other than the network's own output.

    Raises
    ------
    UsageError
        When there is none.
    """
    if getattr(net, "cam_layer", None):
        return net.cam_layer
    stages = list(_stages(net, ""))
    if stages:
        return stages[-1]
    found = None if x is None else _last_with_maps(net, x)
    if found is None:
        reason = "no residual stages" if x is None else "no layer that gives maps of more than one position"
        raise UsageError(f"this {type(net).__name__} has {reason}: name a layer, {_choices(net, '')}")
    return found


def _last_with_maps(net: Block, x: mx.nd.NDArray) -> Optional[str]:
    def shape_of(output: Any) -> Tuple[int, ...]:
        return getattr(output, "shape", ())

    with recorded_outputs(net, dict(named_blocks(net)), shape_of) as shapes, mx.autograd.pause(train_mode=False):
        whole = shape_of(net(x))
    maps = [path for path, shape in shapes.items() if len(shape) == 4 and shape[2] * shape[3] > 1 and shape != whole]
    return maps[-1] if maps else None


def _stages(block: Block, path: str) -> Iterator[str]:
    for name, child in block._children.items():
        here = f"{path}.{name}" if path else name
        if isinstance(child, _SEQUENCES) and len(child) and all(map(_is_composite, child._children.values())):
            yield here
        else:
            yield from _stages(child, here)


def _is_composite(block: Block) -> bool:
    return bool(block._children) and not isinstance(block, _SEQUENCES)


@contextmanager
def recorded_outputs(
    net: Block, blocks: Mapping[str, Block], keep: Callable[[Any], Any] = lambda output: output
) -> Iterator[Dict[str, Any]]:
    """Record what some blocks inside a network give, as long as the context lasts.

    The caller runs the network inside the context, and finds the last record of each block by its name, in the order
    in which they ran: what ``keep`` returned for its output. A hybridized network runs operator by operator meanwhile,
    since its compiled graph hides what is inside. The graph and its flags are kept for afterwards, which
    ``hybridize(False)`` would not do.
    """
    records: Dict[str, Any] = {}
    active: List[Block] = []
    net.apply(lambda block: active.append(block) if getattr(block, "_active", False) else None)

    def hook(name: str) -> Callable:
        def record(block: Block, inputs: Any, output: Any) -> None:
            records.pop(name, None)  # the last time counts
            records[name] = keep(output)

        return record

    handles = [block.register_forward_hook(hook(name)) for name, block in blocks.items()]
    for block in active:
        block._active = False
    try:
        yield records
    finally:
        for block in active:
            block._active = True
        for handle in handles:
            handle.detach()


def as_input(net: Block, x: Union[mx.nd.NDArray, np.ndarray]) -> mx.nd.NDArray:
    """Return a batch (N, C, H, W) on the network's device and in its type. Raise UsageError for anything else."""
    if getattr(x, "ndim", None) != 4 or 0 in x.shape:
        raise UsageError(f"the input is {getattr(x, 'shape', x)}: expected a batch of images, (N, C, H, W)")
    parameters = list(net.collect_params().values())
    if not parameters:
        return x if isinstance(x, mx.nd.NDArray) else mx.nd.array(x)
    dtype = "float16" if any(np.dtype(p.dtype) == np.float16 for p in parameters) else "float32"
    try:
        devices = parameters[0].list_ctx()
    except RuntimeError:
        raise UsageError("the network has no weights yet: call initialize() or load some first") from None
    if isinstance(x, mx.nd.NDArray):
        return x.as_in_context(x.ctx if x.ctx in devices else devices[0]).astype(dtype, copy=False)
    return mx.nd.array(x, ctx=devices[0], dtype=dtype)


def checked(array: mx.nd.NDArray, what: str) -> np.ndarray:
    """Return an array as NumPy's float32. Raise GluonAFFError that names it as ``what`` for values not finite."""
    values = array.asnumpy().astype(np.float32)
    if not np.isfinite(values).all():
        raise GluonAFFError(f"{what} holds values that are not finite numbers: are the weights damaged?")
    return values
