"""What a run gives its task, and what the task gives back: where it trains, and the data it trains on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

from ..errors import UsageError

if TYPE_CHECKING:
    import mxnet as mx

    from ..training import Loader, LogBuffer, SingleProcess


@dataclass
class Setup:
    """Where and how a run trains, as far as every task needs to know.

    Attributes
    ----------
    devices : list of Context
    group : SingleProcess
        The ranks that train together.
    mixed, dtype_given : bool
        Whether AMP is on, and whether the user chose the type.
    log : LogBuffer
        The way into the run's log.
    rounds : int
        Parts of a batch that follow one another on each device; a batch of the loader is that of ``parts``.
    """

    devices: List[mx.Context]
    group: SingleProcess
    mixed: bool
    dtype_given: bool
    log: LogBuffer
    rounds: int = 1

    @property
    def parts(self) -> int:
        """Parts of ``--batch-size`` images in this process's share of a batch."""
        return len(self.devices) * self.rounds

    @property
    def shard(self) -> Tuple[int, int]:
        """(rank, ranks): this process's part of every batch."""
        return self.group.rank, self.group.size

    def check_enough(self, images: int) -> None:
        """Raise UsageError when there are fewer training images than devices."""
        used = len(self.devices) * self.group.size
        if images < used:
            raise UsageError(f"{images} training images for {used} devices: use fewer devices")


@dataclass
class Data:
    """What a run trains and validates on; tasks add what their jobs need.

    Attributes
    ----------
    loader : Loader
        Training batches over all devices of this rank.
    facts : dict
        For the history's header, the same at every resume: name, train and test (images), classes if there are any.
    outputs : int or None
        Of the network's head; None where it has but one size.
    """

    loader: Loader
    facts: Dict[str, Any]
    outputs: Optional[int]
