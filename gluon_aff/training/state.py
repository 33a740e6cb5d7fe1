"""Where a run is: everything about its progress that a checkpoint must carry besides arrays."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Dict, Optional


@dataclass
class State:
    """Position, the current epoch's sums, and the best validation so far.

    epoch counts finished epochs (trained and validated); batch the batches of the epoch under way that have gone into
    an update; update the optimizer's steps since the start of the run. Sums are Python floats, added in the order of
    the batches, so that a JSON file carries them without a loss.
    """

    epoch: int = 0
    batch: int = 0
    update: int = 0
    images: int = 0
    loss_sum: float = 0.0
    metric_sum: float = 0.0
    metric_count: int = 0
    seconds: float = 0.0
    best: Optional[Dict[str, Any]] = None

    @property
    def loss(self) -> float:
        """Mean loss per image of the epoch under way."""
        return self.loss_sum / max(self.images, 1)

    @property
    def metric(self) -> float:
        """Training metric of the epoch under way."""
        return self.metric_sum / max(self.metric_count, 1)

    def next_epoch(self) -> None:
        self.epoch += 1
        self.batch = self.images = self.metric_count = 0
        self.loss_sum = self.metric_sum = self.seconds = 0.0

    def to_json(self) -> Dict[str, Any]:
        return asdict(self)
