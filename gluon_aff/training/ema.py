"""Exponential moving average of a network's arrays."""

from __future__ import annotations

from typing import Dict

import mxnet as mx

from ..errors import UsageError


class EMA:
    """average ← decay · average + (1 − decay) · value, after every update, for parameters and running statistics.

    Parameters
    ----------
    net : Block
        Initialised; the averages are kept on its first device.
    decay : float
        Between 0 and 1.

    Raises
    ------
    UsageError
        For any other decay.
    """

    def __init__(self, net: mx.gluon.Block, decay: float) -> None:
        if not 0 < decay < 1:
            raise UsageError(f"EMA decay is {decay}: expected a number between 0 and 1, such as 0.999")
        self.decay = decay
        self._parameters = net._collect_params_with_prefix()
        self.arrays: Dict[str, mx.nd.NDArray] = {
            name: parameter.list_data()[0].copy() for name, parameter in self._parameters.items()
        }

    def update(self) -> None:
        """Move every average towards the network's present value."""
        for name, average in self.arrays.items():
            average *= self.decay
            average += (1.0 - self.decay) * self._parameters[name].list_data()[0]

    def load(self, arrays: Dict[str, mx.nd.NDArray]) -> None:
        """Take up saved averages of the same network."""
        for name, average in self.arrays.items():
            arrays[name].copyto(average)
