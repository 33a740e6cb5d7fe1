"""Figures of merit: of the training batches as they pass, and of a whole validation set."""

from __future__ import annotations

import math
from collections import deque
from typing import Any, Callable, Deque, Dict, Iterator, List, Optional, Protocol, Sequence, Tuple

import mxnet as mx
import numpy as np

from ..errors import GluonAFFError
from ..utils.console import progress
from .ranks import SingleProcess
from .state import State, split_batch
from .stop import Stop

Measured = Tuple[mx.nd.NDArray, int]


class Loader(Protocol):
    """Batches of an epoch as NumPy arrays (x, y)."""

    def __len__(self) -> int:
        """Batches per epoch."""

    def batches(self, epoch: int, start: int = 0) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
        """Those of an epoch from batch ``start`` on."""


def hits(output: mx.nd.NDArray, target: mx.nd.NDArray) -> Measured:
    """Training accuracy: images whose largest logit is their label's, or their smoothed label's, of the batch's."""
    label = target if target.ndim == 1 else target.argmax(axis=1)
    return (output.argmax(axis=1) == label.astype("float32")).sum(), len(label)


def soft_rmse(output: mx.nd.NDArray, target: mx.nd.NDArray) -> Measured:
    """The authors' training metric under mixup: root mean square of target − softmax, a mean over device batches."""
    return (target - mx.nd.softmax(output.astype("float32"))).square().mean().sqrt(), 1


class Diverged(GluonAFFError):
    """The loss or a parameter is no longer a finite number."""


class Tally:
    """Adds up loss and metric of an epoch's batches in a State, reading each one batch late.

    The devices thus never wait for Python, Python is never more than a batch ahead of them (a signal is answered
    within that time), and a loss that is not finite is still blamed on its own batch.
    """

    LAG = 1

    def __init__(self, state: State) -> None:
        self.state = state
        self._pending: Deque[Tuple[str, int, List[mx.nd.NDArray], Sequence[Measured]]] = deque()

    def add(self, place: str, losses: Sequence[mx.nd.NDArray], measured: Sequence[Measured]) -> None:
        """``place`` names the batch in an error; ``losses`` are per image, one array per device."""
        images = sum(len(loss) for loss in losses)
        self._pending.append((place, images, [loss.sum() for loss in losses], measured))
        while len(self._pending) > self.LAG:
            self._read()

    @property
    def loss(self) -> Optional[float]:
        """The epoch's mean over the batches that have been read; None before the first."""
        return self.state.loss_sum / self.state.images if self.state.images else None

    def finish(self) -> None:
        """Wait for every batch. Raises Diverged at the first whose loss is not finite."""
        while self._pending:
            self._read()

    def _read(self) -> None:
        place, images, losses, measured = self._pending.popleft()
        loss = sum(float(value.asscalar()) for value in losses)
        if not math.isfinite(loss):
            raise Diverged(f"the loss is {loss / images} at {place}")
        self.state.images += images
        self.state.loss_sum += loss
        self.state.metric_sum += sum(float(value.asscalar()) for value, _ in measured)
        self.state.metric_count += sum(count for _, count in measured)


def accuracy(
    net: mx.gluon.Block,
    loader: Loader,
    images: int,
    devices: List[mx.Context],
    stop: Optional[Stop] = None,
    group: Optional[SingleProcess] = None,
    left_out: Callable[[], int] = lambda: 0,
) -> Optional[Dict[str, Any]]:
    """Top-1 and top-5 accuracy over a loader's batches, each image once, as ``val``, ``val_top5``, ``val_images``.

    Of five classes or fewer there is no ``val_top5``.

    ``images`` is how many there should be, in the loaders of all ranks of ``group`` together, with those that this
    rank's has left out by the end. Returns None when ``stop`` is requested on the way, on any rank. Raises
    GluonAFFError when another number passed than there should.
    """
    group, stop = group or SingleProcess(), stop or Stop()
    seen, totals, outputs = 0, np.zeros(2), 0
    pending: Deque[mx.nd.NDArray] = deque()
    for x, y in progress(loader.batches(0), len(loader), "validation"):
        seen += len(x)
        for data, label in zip(*split_batch(x, y, devices)):
            output = net(data)
            outputs = output.shape[1]
            pending.append(_top1_top5(output, label))
        while len(pending) > Tally.LAG * len(devices):
            totals += pending.popleft().asnumpy()
        if stop.requested:
            break
    if group.agree(stop):
        return None
    totals += sum(counts.asnumpy() for counts in pending)
    counted, missing, *hits = group.sum_numbers([seen, left_out(), *totals])
    seen = int(counted)
    if seen + missing != images or not seen:
        raise GluonAFFError(f"validation saw {seen} images of {images}: the loader lost or repeated some")
    top5 = {"val_top5": hits[1] / seen} if outputs > 5 else {}
    return {"val": hits[0] / seen, **top5, "val_images": seen}


def _top1_top5(output: mx.nd.NDArray, label: mx.nd.NDArray) -> mx.nd.NDArray:
    """Counts of images whose label is the largest, and among the five largest logits."""
    ranks = output.astype("float32").topk(axis=1, k=min(5, output.shape[1]))
    found = mx.nd.broadcast_equal(ranks, label.reshape((-1, 1)))
    return mx.nd.concat(found[:, 0].sum(), found.sum(), dim=0)
