"""An update's parts on fewer devices than it has parts: they follow one another, and the arithmetic is that of devices.

Every part is normalised by itself. Each starts from the running statistics that the update began with, and in the end
these are the mean over the parts, as the mean over devices is what a network trained on several devices is saved with.
"""

from __future__ import annotations

from typing import Iterator, List, Tuple

import mxnet as mx
import numpy as np

from .metrics import split_batch

Part = Tuple[List[mx.nd.NDArray], List[mx.nd.NDArray]]


class Rounds:
    """Cuts batches into ``count`` rounds of one part for each device.

    Parameters
    ----------
    net : Block
        Whose running statistics are kept apart.
    devices : list of Context
    count : int
        1: a batch is a part for each device.
    """

    def __init__(self, net: mx.gluon.Block, devices: List[mx.Context], count: int = 1) -> None:
        self.devices = devices
        self.count = count
        parameters = net._collect_params_with_prefix()
        self._statistics = [parameters[name] for name in sorted(parameters) if name.endswith(("_mean", "_var"))]

    def of(self, x: np.ndarray, y: np.ndarray) -> Iterator[Part]:
        """Images and labels of round after round, lists of one array per device.

        Forward and backward pass of a round are to be done before the next is asked for. Parts are as large as if each
        had a device; a batch of few images has fewer parts of at least two.
        """
        if self.count == 1:
            yield split_batch(x, y, self.devices)
            return
        parts = max(1, min(len(self.devices) * self.count, len(x) // 2))
        bounds = np.cumsum([0] + [len(x) // parts + (part < len(x) % parts) for part in range(parts)])
        began = [[data.copy() for data in parameter.list_data()] for parameter in self._statistics]
        sums = [[mx.nd.zeros_like(data) for data in copies] for copies in began]
        rounds = -(-parts // len(self.devices))
        for number in range(rounds):
            first = number * len(self.devices)
            used = self.devices[: parts - first]
            images = slice(bounds[first], bounds[first + len(used)])
            if number:
                self._set(began)
            yield split_batch(x[images], y[images], used)
            mx.nd.waitall()  # a compiled backward pass writes statistics behind the back of MXNet's scheduler
            for parameter, copies in zip(self._statistics, sums):
                for total, data in zip(copies[: len(used)], parameter.list_data()):
                    total += data
        counts = [-(-(parts - device) // len(self.devices)) for device in range(len(self.devices))]
        self._set(
            [
                [total / count if count > 0 else data for total, data, count in zip(copies, own, counts)]
                for copies, own in zip(sums, began)
            ]
        )

    def _set(self, statistics: List[List[mx.nd.NDArray]]) -> None:
        for parameter, copies in zip(self._statistics, statistics):
            for data, value in zip(parameter.list_data(), copies):
                value.copyto(data)
