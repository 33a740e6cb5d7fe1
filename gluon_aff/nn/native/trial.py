"""``python -m gluon_aff.nn.native.trial LIBRARY``: does the operator compute what the blocks do? Exit code 1 if not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import List

import mxnet as mx
import numpy as np

from .. import create_fusion
from ..attending import form
from .loading import load

TOLERANCE = 1e-3  # of values and gradients of about 1


def results(native: bool) -> List[np.ndarray]:
    """Output and gradients of an AFF in training, and its output in inference, on maps that fill no vector."""
    form.wanted = native
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


def main(library: str) -> None:
    expected = results(native=False)
    load(Path(library).resolve())
    form.identity = "on trial"
    for found, wanted in zip(results(native=True), expected):
        difference = np.abs(found - wanted).max()
        if not difference < TOLERANCE:
            sys.exit(f"results differ by {difference:.1e} from those without it")


if __name__ == "__main__":
    main(sys.argv[1])
