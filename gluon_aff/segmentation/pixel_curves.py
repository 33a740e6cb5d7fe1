"""Precision/recall curve and ROC of the foreground's pixels, from counts on a fixed grid of thresholds."""

from __future__ import annotations

from typing import Optional

import numpy as np

_PER_UNIT, _REACH = 8, 16  # thresholds per unit of logit, and how far they go to either side of 0
_EDGE = _PER_UNIT * _REACH


class PixelCurves:
    """Counts pixels between thresholds on the logit: −16 to 16 in steps of 1/8, p from 1e-7 to 1 − 1e-7.

    Even in the logit and not in p, since nearly all pixels of a trained network lie close to p = 0 and 1. Pixels
    within a step count as equal. A pixel is predicted foreground where its logit is greater than the threshold, so
    the one at 0 is where IoU is measured.

    Arrays run from the highest threshold to the lowest: recall grows.
    """

    def __init__(self) -> None:
        self.logits = np.arange(_EDGE, -_EDGE - 1, -1) / _PER_UNIT
        self._counts = np.zeros((2, 2 * _EDGE + 2), dtype=np.int64)  # background, foreground; by thresholds passed

    def add(self, logits: np.ndarray, truth: np.ndarray) -> None:
        """Logits and the bool truth of the same pixels, in any one shape."""
        passed = np.ceil(logits.ravel() * np.float32(_PER_UNIT))  # exact: only the exponent changes
        np.clip(passed, -_EDGE, _EDGE + 1, out=passed)
        cells = passed.astype(np.int32) + _EDGE
        cells += self._counts.shape[1] * truth.ravel()
        self._counts += np.bincount(cells, minlength=self._counts.size).reshape(self._counts.shape)

    @property
    def thresholds(self) -> np.ndarray:
        """As probabilities."""
        return 1 / (1 + np.exp(-self.logits))

    @property
    def hits(self) -> np.ndarray:
        """Foreground pixels predicted, for each threshold."""
        return self._predicted(1)

    @property
    def false_alarms(self) -> np.ndarray:
        """Background pixels predicted, for each threshold."""
        return self._predicted(0)

    def _predicted(self, kind: int) -> np.ndarray:
        return self._counts[kind][:0:-1].cumsum()

    @property
    def precision(self) -> np.ndarray:
        """Hits of the pixels predicted; 1 where none is."""
        predicted = self.hits + self.false_alarms
        return np.where(predicted > 0, self.hits / np.maximum(predicted, 1), 1.0)

    @property
    def recall(self) -> Optional[np.ndarray]:
        """Hits of the foreground, the true positive rate; None where there is no foreground."""
        return self._rate(1)

    @property
    def false_alarm_rate(self) -> Optional[np.ndarray]:
        """False alarms of the background; None where there is no background."""
        return self._rate(0)

    def _rate(self, kind: int) -> Optional[np.ndarray]:
        total = self._counts[kind].sum()
        return self._predicted(kind) / total if total else None

    @property
    def iou(self) -> np.ndarray:
        """Foreground IoU for each threshold; 1 where union is empty."""
        union = self._counts[1].sum() + self.false_alarms
        return np.where(union > 0, self.hits / np.maximum(union, 1), 1.0)

    @property
    def average_precision(self) -> Optional[float]:
        """Area under precision over recall, in steps as scikit-learn's; what lies below the last threshold included."""
        if self.recall is None:
            return None
        recall, last = np.append(self.recall, 1.0), self._counts[1].sum() / self._counts.sum()
        return float((np.diff(recall, prepend=0.0) * np.append(self.precision, last)).sum())

    @property
    def roc_area(self) -> Optional[float]:
        """Area under hits over false alarms, straight lines between the points and to (0, 0) and (1, 1)."""
        if self.recall is None or self.false_alarm_rate is None:
            return None
        x, y = (np.concatenate([[0.0], rate, [1.0]]) for rate in (self.false_alarm_rate, self.recall))
        return float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2)
