"""Targets found and false alarms, which the field of infrared small targets measures, by the package pyirstdmetrics."""

from __future__ import annotations

from typing import Any, List, NamedTuple, Optional, Sequence

import numpy as np

from ..errors import GluonAFFError
from ..utils.logits import logit_of

DISTANCE = 3  #: pixels of the scored size; centroids that are nearer belong together
_REACH = 16  # the curve's thresholds on the logit are whole numbers from -16 on


class ImageTargets(NamedTuple):
    """Targets of an image and how many of them were found; the predicted components that are none, and their pixels."""

    name: str
    targets: int
    found: int
    false_alarms: int
    false_pixels: int


class TargetScore:
    """Pd and Fa: add batches, then read the figures.

    Targets are the 8-connected components of the truth. One is found when the centroid of a predicted component
    (p > ``threshold``) lies less than `DISTANCE` pixels from its own; a component finds one target at most. Pd is the
    share of the targets that are found, Fa the pixels of all other predicted components over all pixels. (B. Li et al.,
    "Dense Nested Attention Network for Infrared Small Target Detection", TIP 2023.) ``logits`` are the curve's
    thresholds, the lowest first, ``pd_curve`` and ``fa_curve`` its figures.

    Raises GluonAFFError where the package is not installed.
    """

    def __init__(self, threshold: float = 0.5) -> None:
        try:
            from py_irstd_metrics import ProbabilityDetectionAndFalseAlarmRate as Measure
        except ImportError as error:
            raise GluonAFFError(
                "Pd and Fa are measured by pyirstdmetrics, which is not installed: pip install 'gluon_aff[irst]'"
            ) from error
        self.images: List[ImageTargets] = []
        self.logits = np.arange(-_REACH, _REACH)
        self._pixels, self._cut = 0, logit_of(threshold)
        self._measure, self._curve = Measure(1, DISTANCE), Measure(2 * _REACH, DISTANCE)

    def add(self, logits: np.ndarray, truth: np.ndarray, names: Sequence[str]) -> None:
        """Add a batch: logits, float (B, h, w), and bool truth of the same shape."""
        for name, logit, true in zip(names, logits, truth):
            before = self._counts()
            self._measure.update((logit > self._cut).astype(np.float64), true)
            found, missed, alarms, pixels = (now - then for now, then in zip(self._counts(), before))
            self.images.append(ImageTargets(str(name), found + missed, found, alarms, pixels))
            # its thresholds divide 0..1 evenly, so that these are whole logits
            self._curve.update(np.clip((logit.astype(np.float64) + _REACH) / (2 * _REACH), 0, 1), true)
            self._pixels += true.size

    def _counts(self) -> List[int]:
        counted: Any = self._measure
        return [int(each[0]) for each in (counted.tp_objs, counted.fn_objs, counted.fp_objs, counted.fp_area)]

    @property
    def targets(self) -> int:
        """Targets of all images."""
        return sum(image.targets for image in self.images)

    @property
    def found(self) -> int:
        """Targets that were found."""
        return sum(image.found for image in self.images)

    @property
    def false_alarms(self) -> int:
        """Predicted components that found no target."""
        return sum(image.false_alarms for image in self.images)

    @property
    def pd(self) -> Optional[float]:
        """Probability of detection; None without any target."""
        return self.found / self.targets if self.targets else None

    @property
    def fa(self) -> Optional[float]:
        """False alarm rate; None without any pixel."""
        return sum(image.false_pixels for image in self.images) / self._pixels if self._pixels else None

    @property
    def pd_curve(self) -> Optional[np.ndarray]:
        """Pd at each threshold; None without any target."""
        return self._curve.get()["probability_detection"] if self.targets else None

    @property
    def fa_curve(self) -> np.ndarray:
        """Fa at each threshold."""
        return self._curve.get()["false_alarm"]
