"""What the loss compares with: hard labels, smoothed labels, mixup."""

from __future__ import annotations

from typing import List, Tuple

import mxnet as mx
import numpy as np

from ..errors import UsageError

SMOOTHING = 0.1
_MIXUP_STREAM = 0x6D697875  # keeps mixup's random numbers apart from any other use of the seed


class Targets:
    """Turns device batches of images and class indices into what network and loss are given.

    Label smoothing gives the class 1 − η + η/K and every other class η/K, with η = 0.1 and K outputs of the head.
    Mixup (Zhang et al., 2018) draws one λ ~ Beta(α, α) per batch, as the authors do, and mixes each device's batch
    with itself reversed: λ·x + (1 − λ)·reversed(x), labels likewise; λ = 1 in the last ``mixup_off_epoch`` epochs.
    λ is a pure function of (seed, epoch, batch).

    Raises UsageError for a head without classes or an α that is not positive.
    """

    def __init__(
        self,
        classes: int,
        *,
        smoothing: bool = False,
        mixup_alpha: float = 0.0,
        epochs: int = 0,
        mixup_off_epoch: int = 0,
        seed: int = 0,
    ) -> None:
        if classes < 1 or mixup_alpha < 0:
            raise UsageError(f"{classes} classes, mixup alpha {mixup_alpha}: expected at least one class and alpha > 0")
        eta = SMOOTHING if smoothing else 0.0
        self.classes = classes
        self.on, self.off = 1.0 - eta + eta / classes, eta / classes
        self.mixup_alpha = mixup_alpha
        self.mixup_epochs = epochs - mixup_off_epoch if mixup_alpha else 0
        self.sparse = not (smoothing or mixup_alpha)
        self.seed = seed

    def lam(self, epoch: int, batch: int) -> float:
        """Mixup's λ for a batch; 1.0 where nothing is mixed."""
        if epoch >= self.mixup_epochs:
            return 1.0
        stream = np.random.RandomState(np.array([_MIXUP_STREAM, self.seed, epoch, batch], dtype=np.uint32))
        return float(stream.beta(self.mixup_alpha, self.mixup_alpha))

    def __call__(
        self, images: List[mx.nd.NDArray], labels: List[mx.nd.NDArray], epoch: int, batch: int
    ) -> List[Tuple[mx.nd.NDArray, mx.nd.NDArray]]:
        """Per device (images, targets): targets are class indices (B,) or distributions (B, classes)."""
        if self.sparse:
            return list(zip(images, labels))
        lam = self.lam(epoch, batch)
        soft = [mx.nd.one_hot(y, self.classes, self.on, self.off) for y in labels]
        return [(_mix(x, lam), _mix(y, lam)) for x, y in zip(images, soft)]


def _mix(x: mx.nd.NDArray, lam: float) -> mx.nd.NDArray:
    return x if lam == 1.0 else lam * x + (1.0 - lam) * mx.nd.reverse(x, axis=0)
