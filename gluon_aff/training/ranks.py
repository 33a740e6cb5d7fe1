"""The processes that train one network together, one rank each, and all that they tell each other.

Every method of a group is called by all ranks in the same order, or none of them comes back from it.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any, Dict, List, Sequence

import mxnet as mx

from ..errors import GluonAFFError
from .stop import Stop


class SingleProcess:
    """The group of a run in one process: sums of one, agreed with oneself."""

    rank, size = 0, 1

    def sum(self, arrays: Sequence[mx.nd.NDArray], numbers: Sequence[float] = ()) -> List[float]:
        """Replace float32 ``arrays``, of the same shapes on every rank, by their sums over the ranks.

        The sums of ``numbers``, which take the same way and are exact for whole numbers below 2^24, are returned.
        """
        return [float(number) for number in numbers]

    def gather(self, numbers: Sequence[float]) -> List[List[float]]:
        """Every rank's numbers, unrounded, by rank."""
        return [[float(number) for number in numbers]]

    def gather_arrays(self, arrays: Dict[str, mx.nd.NDArray]) -> List[Dict[str, mx.nd.NDArray]]:
        """Every rank's float32 arrays, by rank; names and shapes are the same on all."""
        return [arrays]

    def gather_object(self, value: Any) -> List[Any]:
        """Every rank's value, which JSON must be able to carry, by rank."""
        return [value]

    def broadcast(self, arrays: Sequence[mx.nd.NDArray]) -> None:
        """Replace float32 ``arrays`` by the first rank's."""

    def self_check(self) -> None:
        """Raise GluonAFFError unless known sums come out right, several times."""

    def barrier(self) -> None:
        """Wait until every rank is here."""
        self.gather([0])

    def sum_numbers(self, numbers: Sequence[float]) -> List[float]:
        """Sums over the ranks, added in their order: the same to the bit on all, and every time."""
        return [math.fsum(column) for column in zip(*self.gather(numbers))]

    def broadcast_object(self, value: Any) -> Any:
        """The first rank's value, which JSON must be able to carry."""
        return self.gather_object(value if self.rank == 0 else None)[0]

    def agree(self, stop: Stop) -> bool:
        """Whether any rank was asked to stop; from now on all of them were."""
        return stop.join(self.sum_numbers(stop.flags()))

    def check_equal(self, arrays: Dict[str, mx.nd.NDArray], when: str) -> None:
        """Raise GluonAFFError, naming the ranks, unless all hold the same bits."""
        digests = [row[0] for row in self.gather([_digest(arrays)])]
        others = [str(rank) for rank, digest in enumerate(digests) if digest != digests[0]]
        if others:
            raise GluonAFFError(
                f"the network of rank {', '.join(others)} is no longer that of rank 0 {when}: the ranks' sums were "
                "wrong, so the run ends here; resume from the last checkpoint, with MXNET_ENGINE_TYPE=NaiveEngine"
            )


def _digest(arrays: Dict[str, mx.nd.NDArray]) -> int:
    """48 bits of a SHA-256, which a float64 holds."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(arrays[name].asnumpy().tobytes())
    return int.from_bytes(digest.digest()[:6], "big")
