"""The authors' ``utils``: the table of a network's layers."""

from __future__ import annotations

from mxnet.gluon import HybridBlock
from mxnet.ndarray import NDArray

from ..models.summary import describe


def summary(block: HybridBlock, *inputs: NDArray) -> None:
    """Print the layers of a network, their parameters, and FLOPs as the authors count them.

    Parameters
    ----------
    block : HybridBlock
        Hybridized or not, initialised or not.
    *inputs : NDArray
        What it is called with; their shapes alone count.
    """
    block.infer_shape(*inputs)
    print(describe(block, *(array.shape for array in inputs)))
