"""Where a run is: everything about its progress that a checkpoint must carry besides arrays."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Dict, List, Optional, Sequence

from .epoch_record import EpochRecord


@dataclass
class State:
    """Position, the current epoch's sums, and the best validation so far.

    Sums are Python floats, added in the order of the batches, so that a JSON file carries them without a loss.

    Attributes
    ----------
    epoch : int
        Finished epochs, trained and validated.
    batch : int
        Batches of the current epoch that have gone into an update.
    update : int
        The optimizer's steps since the start of the run.
    images : int
        Of the current epoch so far, as are the next four.
    loss_sum, metric_sum : float
    metric_count : int
    seconds : float
    best : EpochRecord or None
        The best validation, with its epoch and checkpoint.
    """

    epoch: int = 0
    batch: int = 0
    update: int = 0
    images: int = 0
    loss_sum: float = 0.0
    metric_sum: float = 0.0
    metric_count: int = 0
    seconds: float = 0.0
    best: Optional[EpochRecord] = None

    @property
    def loss(self) -> float:
        """Mean loss per image of the current epoch."""
        return self.loss_sum / max(self.images, 1)

    @property
    def metric(self) -> float:
        """Training metric of the current epoch."""
        return self.metric_sum / max(self.metric_count, 1)

    def sums(self) -> List[float]:
        """The epoch's sums, as far as this process has added them up."""
        return [self.images, self.loss_sum, self.metric_sum, self.metric_count]

    def with_sums(self, sums: Sequence[float]) -> State:
        """A copy with these in the place of its own."""
        images, loss_sum, metric_sum, metric_count = sums
        return replace(
            self, images=int(images), loss_sum=loss_sum, metric_sum=metric_sum, metric_count=int(metric_count)
        )

    def next_epoch(self) -> None:
        """Count the epoch as finished and reset the sums."""
        self.epoch += 1
        self.batch = self.images = self.metric_count = 0
        self.loss_sum = self.metric_sum = self.seconds = 0.0

    def to_json(self) -> Dict[str, Any]:
        """As a dictionary of plain values, from which ``State(**...)`` makes it again."""
        return asdict(self)
