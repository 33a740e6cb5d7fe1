"""The authors' way of scoring on ImageNet: a record iterator that wraps round, with its padding counted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, List, NamedTuple, Optional, Tuple

import mxnet as mx
import numpy as np

from ..data.imagenet.crops import resized_side
from ..data.imagenet.normalisation import NORMALISATIONS
from ..errors import GluonAFFError, UsageError
from .predictions import TOP, Predictions

BATCH_SIZE = 512  # over all devices, in the runs of the release


@dataclass(frozen=True)
class PassScore:
    """What the authors' script would report for one pass (number ``number``): errors among the images counted."""

    number: int
    span: RecordPass
    top1_errors: int
    top5_errors: int


class RecordIteratorPass:
    """The first pass of ``mx.io.ImageRecordIter`` over a .rec file, as batches (x, y), decoded by MXNet's own OpenCV.

    Parameters
    ----------
    path : Path
        The .rec file.
    records, batch_size : int
        Its images, and how many of them make a batch.
    size : int
        Width and height of the crop, in pixels.
    normalisation : str
        "records" or "folder".
    workers : int
        Threads that decode.

    Raises
    ------
    UsageError
        When the file holds less than one batch.
    """

    def __init__(
        self, path: Path, records: int, batch_size: int, *, size: int, normalisation: str, workers: int
    ) -> None:
        if records < batch_size:
            raise UsageError(f"{path} holds {records} images, less than a batch of {batch_size}: give --batch-size")
        self.path, self.records, self.batch_size = path, records, batch_size
        self.size, self.normalisation, self.workers = size, normalisation, workers

    def __len__(self) -> int:
        return record_passes(self.records, self.batch_size, 1)[0].batches

    def batches(self) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
        mean, std = NORMALISATIONS[self.normalisation]
        index = self.path.with_suffix(".idx")
        try:
            iterator = mx.io.ImageRecordIter(
                path_imgrec=str(self.path),
                path_imgidx=str(index) if index.is_file() else "",
                batch_size=self.batch_size,
                data_shape=(3, self.size, self.size),
                resize=resized_side(self.size),
                shuffle=False,
                preprocess_threads=max(1, self.workers),
                verbose=False,
                **{f"mean_{channel}": value for channel, value in zip("rgb", mean)},
                **{f"std_{channel}": value for channel, value in zip("rgb", std)},
            )
            for batch in iterator:
                yield batch.data[0].asnumpy(), batch.label[0].asnumpy().astype(np.int64)
        except mx.MXNetError as error:
            reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), "no reason given")
            raise GluonAFFError(
                f"the record iterator cannot read {self.path} ({reason.strip()}): "
                "--protocol exact names the image that is at fault"
            ) from None


def pass_scores(
    predictions: Predictions, records: int, batch_size: int, passes: int, extra: Optional[int] = None
) -> List[PassScore]:
    """Scores of the first ``passes`` passes, and of pass number ``extra``, from the predictions of the first.

    The weights do not change between passes, only which images are counted twice or not at all does.

    Raises
    ------
    GluonAFFError
        When ``predictions`` are not those of a first pass.
    """
    spans = record_passes(records, batch_size, max(passes, extra or 0))
    first = spans[0]
    tail = predictions.labels[records:]
    if len(predictions) != first.images or not np.array_equal(tail, predictions.labels[: len(tail)]):
        raise GluonAFFError(
            f"the record iterator gave {len(predictions)} images, expected {first.images}, the last "
            f"{first.images - records} of them those of the beginning: is this MXNet 1.9.1?"
        )
    numbers = [*range(1, passes + 1), *([extra] if extra and extra > passes else [])]
    return [_score(predictions, number, spans[number - 1], records) for number in numbers]


def _score(predictions: Predictions, number: int, span: RecordPass, records: int) -> PassScore:
    counted = predictions.take(span.indices(records))
    return PassScore(number, span, span.images - counted.hits(), span.images - counted.hits(TOP))


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

    Its last batch is filled up with records from the beginning, and the next pass starts after those. So a pass
    counts more images than there are, or fewer. 50,000 records in batches of 512 give 98, 98 and 97 batches in turn;
    every 32nd pass ends with the last record, and the turn starts over. Batches must not be larger than the set.
    """
    passes, first = [], 0
    for _ in range(count):
        batches = -(-(records - first) // batch_size)
        images = batches * batch_size
        passes.append(RecordPass(first, batches, images))
        first += images - records
    return passes
