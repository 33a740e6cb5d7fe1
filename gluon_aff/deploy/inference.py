"""Networks made of a graph and its arrays, for inference only."""

from __future__ import annotations

from typing import Any, Dict, Optional

import mxnet as mx
import numpy as np

from ..errors import UsageError
from .graph import INPUT


class InferenceNetwork(mx.gluon.SymbolBlock):
    """A graph as a Gluon network that runs and cannot be trained: its norms have fixed statistics or none at all.

    Parameters
    ----------
    symbol : Symbol
        Of one input ``data``.
    values : dict
        Arrays by name, with ``arg:`` or ``aux:`` in front.
    device : Context
        Where it lies.
    kind : str
        What it is, for the message when somebody trains it.
    input_type : str
        Type of the input.

    Attributes
    ----------
    folding : Folding or None
        What became of the norms, where they were folded.
    """

    folding: Optional[Any] = None

    def __init__(
        self,
        symbol: mx.sym.Symbol,
        values: Dict[str, np.ndarray],
        device: mx.Context,
        kind: str,
        input_type: str = "float32",
    ) -> None:
        super().__init__(symbol, [mx.sym.var(INPUT, dtype=input_type)])
        self._kind = kind
        arrays = {name.split(":", 1)[-1]: value for name, value in values.items()}
        for name, parameter in self.params.items():
            value = arrays[name[len(self.params.prefix) :]]
            parameter.grad_req = "null"
            parameter.shape, parameter.dtype = value.shape, value.dtype
            parameter.initialize(init=mx.init.Zero(), ctx=device)
            parameter.set_data(mx.nd.array(value, dtype=value.dtype))

    def forward(self, x: Any, *args: Any) -> Any:
        """The network's output. Raises UsageError in training."""
        if mx.autograd.is_training():
            raise UsageError(
                f"this is {self._kind}, for inference only: train the network that it was made of, then fold or export "
                "again"
            )
        return super().forward(x, *args)

    def save_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Raises UsageError: such arrays fit no network that can be trained."""
        raise UsageError(f"this is {self._kind}: gluon_aff.deploy.export writes it with its graph")
