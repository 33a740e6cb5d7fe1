"""Loading the built operator into MXNet, trying it first, and keeping it out of graphs that others shall read."""

from __future__ import annotations

import ctypes
import functools
import sys
from pathlib import Path
from typing import Any, Callable, List, Optional

import mxnet as mx
import numpy as np
from mxnet.base import _LIB, OpHandle, c_str, check_call, mx_uint

from ...errors import GluonAFFError
from ...utils.timing import take_turns
from .. import native
from .building import VARIABLE, Entry, State, build, compiler, entry, switched_off

TOLERANCE = 1e-3  # of values and gradients of about 1
TRIAL = 1.0  # seconds of measuring


def install() -> None:
    """At import: load the operator if it is built and fast. Compiles nothing and starts no process."""
    if not switched_off():
        _load_whole(entry())


def prepare(wanted: Optional[str] = None) -> None:
    """Before the operator would be used first: build it where a compiler is and load it. Never fails.

    One that is slower here than MXNet's operators is loaded only where its identity is ``wanted``.
    """
    if switched_off() or native.identity:
        return
    found = entry()
    if found.state in (State.NONE, State.DAMAGED):
        if compiler() is None:
            return
        print(f"building the native operator for this machine, once ({VARIABLE}=0: never)", file=sys.stderr)
        try:
            found = build()
        except GluonAFFError as error:
            print(f"note: {error}; the blocks' own arithmetic is used", file=sys.stderr)
            return
    _load_whole(found, wanted)


def load(library: Path) -> None:
    """Make the operator of a library known to MXNet. What ``mx.library.load`` does, for this one operator alone."""
    check_call(_LIB.MXLoadLib(c_str(str(library)), mx_uint(0)))
    handle = OpHandle()
    check_call(_LIB.NNGetOpHandle(c_str(native.OPERATOR), ctypes.byref(handle)))
    for module, make in (
        (mx.nd._internal, mx.ndarray.register._make_ndarray_function),
        (mx.sym._internal, mx.symbol.register._make_symbol_function),
    ):
        setattr(module, native.OPERATOR, make(handle, native.OPERATOR, native.OPERATOR))
    _export_own_arithmetic()


def trial(library: str) -> Optional[str]:
    """In a process of its own: hold the library against the blocks' own arithmetic, and print how fast it is beside it.

    Returns how its results differ, or None if they do not.
    """
    expected = _results(with_operator=False)
    load(Path(library).resolve())
    native.identity = "on trial"
    for found, wanted in zip(_results(with_operator=True), expected):
        difference = np.abs(found - wanted).max()
        if not difference < TOLERANCE:
            return f"results differ by {difference:.1e} from those without it"
    print(_ratio())
    return None


def _ratio() -> float:
    """Speed of the operator over that of the blocks' own arithmetic, in training, by the quickest steps of each."""
    from .. import create_fusion

    x, residual = (mx.nd.random.normal(shape=(8, 64, 28, 28)) for _ in range(2))

    def training(with_operator: bool) -> Callable[[], None]:
        block = create_fusion("aff", 64)
        block.initialize()
        block.hybridize(static_alloc=True, static_shape=True)

        def step() -> None:
            native.enabled = with_operator
            with mx.autograd.record():
                out = block(x, residual)
            out.backward()
            mx.nd.waitall()

        return step

    taken = take_turns({"operator": training(True), "own": training(False)}, TRIAL)
    return min(taken["own"]) / min(taken["operator"])


def _results(with_operator: bool) -> List[np.ndarray]:
    """Output and gradients of an AFF in training, and its output in inference, on maps that fill no vector."""
    from .. import create_fusion

    native.enabled = with_operator
    mx.random.seed(0)
    draw = np.random.default_rng(0)
    block = create_fusion("aff", 20)
    block.initialize(mx.init.Xavier())
    x, residual, head = (mx.nd.array(draw.normal(size=(6, 20, 9, 7)), dtype="float32") for _ in range(3))
    for each in (x, residual):
        each.attach_grad()
    with mx.autograd.record():
        out = block(x, residual)
    out.backward(head)
    return [each.asnumpy() for each in (out, x.grad, residual.grad, block(x, residual))]


def _load_whole(found: Entry, wanted: Optional[str] = None) -> None:
    if found.library is None or native.identity or (found.speed < 1 and found.identity != wanted):
        return
    try:
        load(found.library)
    except (mx.MXNetError, OSError, AttributeError):
        return  # as without it; `gluon-aff doctor` says that it is not loaded
    native.identity = found.identity


def _export_own_arithmetic() -> None:
    """Have ``HybridBlock.export`` write a graph without the operator, for MXNet as it is."""
    export = mx.gluon.HybridBlock.export
    if hasattr(export, "__wrapped__"):
        return

    @functools.wraps(export)
    def portable(self: Any, *args: Any, **kwargs: Any) -> Any:
        kept = self._cached_graph
        if not kept or f'"op": "{native.OPERATOR}"' not in kept[1].tojson():
            return export(self, *args, **kwargs)
        try:
            self._cached_graph = ()
            with native.own_arithmetic():
                self._get_graph(*mx.gluon.block._regroup(list(kept[0]), self._in_format))
            return export(self, *args, **kwargs)
        finally:
            self._cached_graph = kept

    mx.gluon.HybridBlock.export = portable
