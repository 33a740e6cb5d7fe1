"""What the loop asks of whoever makes its batches."""

from __future__ import annotations

from typing import Iterator, Protocol, Tuple

import numpy as np


class Loader(Protocol):
    """Batches of an epoch as NumPy arrays (x, y)."""

    def __len__(self) -> int:
        """Batches per epoch."""

    def batches(self, epoch: int, start: int = 0) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
        """Those of an epoch from batch ``start`` on."""
