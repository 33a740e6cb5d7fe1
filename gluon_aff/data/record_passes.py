"""What ImageRecordIter counts in pass after pass over a set whose size is no multiple of the batch size."""

from __future__ import annotations

from typing import List, NamedTuple

import numpy as np


class RecordPass(NamedTuple):
    """One pass: the record it begins with, and how many batches and images it yields."""

    first: int
    batches: int
    images: int

    def indices(self, records: int) -> np.ndarray:
        """The records in the order they pass; those counted twice appear twice."""
        return (self.first + np.arange(self.images)) % records


def record_passes(records: int, batch_size: int, count: int) -> List[RecordPass]:
    """The first ``count`` passes of ``mx.io.ImageRecordIter`` without shuffling, ``round_batch=True`` (its default).

    Its last batch is filled up with records from the beginning, and the next pass goes on behind those. So a pass
    counts more images than there are, or fewer. 50,000 records in batches of 512 give 98, 98 and 97 batches in turn;
    every 32nd pass comes out even and the turn begins anew. Batches must not be larger than the set.
    """
    passes, first = [], 0
    for _ in range(count):
        batches = -(-(records - first) // batch_size)
        images = batches * batch_size
        passes.append(RecordPass(first, batches, images))
        first += images - records
    return passes
