"""What exported networks are held against: the network's own outputs, the truth where it is known, the clock."""

from __future__ import annotations

import os
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np

from ..data.decoding import IGNORED
from ..errors import GluonAFFError
from ..utils.logits import class_ious, confusion
from .manifest import Manifest

#: The largest difference of outputs, in parts of their range over all checked pictures, at which an export is done;
#: int8's is the root of the mean square.
TOLERANCES = {"symbol": 1e-4, "onnx": 1e-4, "int8": 0.1}

#: Pictures of a batch that is timed.
TIMED = 8
_TURNS = 5  # that are timed, behind one that is not

Run = Callable[[np.ndarray], np.ndarray]


def compare(
    before: np.ndarray, after: np.ndarray, manifest: Manifest, truth: Optional[Sequence[Any]]
) -> Tuple[Dict[str, Any], List[str]]:
    """What the check found. Raises GluonAFFError when the outputs are not the network's."""
    if before.shape != after.shape or not np.isfinite(after).all():
        raise GluonAFFError(
            f"the exported network gives {after.shape}, finite: {bool(np.isfinite(after).all())}; the network "
            f"{before.shape}: nothing was written"
        )
    span = float(before.max() - before.min())
    difference = float(np.abs(after - before).max())
    quadratic = float(np.sqrt(np.mean(np.square(after - before, dtype=np.float64))))
    judged, tolerance = (quadratic if manifest["kind"] == "int8" else difference), TOLERANCES[manifest["kind"]]
    if judged > tolerance * span:
        raise GluonAFFError(
            f"the exported network's outputs differ by {judged:.3g} from the network's, whose range is {span:.3g}: "
            f"more than {tolerance:g} of it, so nothing was written"
        )
    check: Dict[str, Any] = {
        "images": len(before),
        "maximum_difference": difference,
        "rms_difference": quadratic,
        "range": span,
        "tolerance": tolerance,
    }
    lines = [
        f"checked    {len(before)} pictures: largest difference {difference:.3g}, {difference / (span or 1):.2g} of "
        f"the range {span:.3g}"
    ]
    same = _same(before, after, manifest["segments"])
    check["same_prediction"] = same
    lines.append(f"           {'pixels' if manifest['segments'] else 'pictures'} predicted alike: {100 * same:.2f} %")
    if truth is not None:
        several = before.shape[1] > 1
        metric = ("mIoU" if several else "IoU") if manifest["segments"] else "top-1 accuracy"
        figures = [_figure(each, truth, manifest["segments"]) for each in (before, after)]
        check["figures"] = {"metric": metric, "images": len(before), "before": figures[0], "after": figures[1]}
        lines.append(f"figures    {metric} {figures[0]:.4f} before, {figures[1]:.4f} after ({len(before)} images)")
    return check, lines


def _predicted(logits: np.ndarray, segments: bool) -> np.ndarray:
    return logits > 0 if segments and logits.shape[1] == 1 else logits.argmax(axis=1)


def _same(before: np.ndarray, after: np.ndarray, segments: bool) -> float:
    return float((_predicted(before, segments) == _predicted(after, segments)).mean())


def _figure(logits: np.ndarray, truth: Sequence[Any], segments: bool) -> float:
    """Top-1 accuracy, IoU of the foreground, or GluonCV's mIoU of several classes."""
    if not segments:
        return float((logits.argmax(axis=1) == np.asarray(truth)).mean())
    if logits.shape[1] > 1:
        counts = confusion(logits.argmax(axis=1), np.stack(list(truth)), logits.shape[1], IGNORED)
        return float(class_ious(counts).mean())
    found, true = _predicted(logits, True).reshape(len(logits), *logits.shape[2:]) > 0, np.stack(list(truth)) > 0
    either = (found | true).sum()
    return float((found & true).sum() / either) if either else 1.0


def speeds(before: Run, after: Run, pixels: np.ndarray) -> Dict[str, Any]:
    """Images/s of both, one after the other in turns, normalisation in NumPy included: medians."""
    found: Dict[str, List[float]] = {"before": [], "after": []}
    for turn in range(1 + _TURNS):
        for name, run in (("before", before), ("after", after)):
            began = time.perf_counter()
            run(pixels)
            if turn:  # the first warms up
                found[name].append(time.perf_counter() - began)
    medians = {name: len(pixels) / float(np.median(seconds)) for name, seconds in found.items()}
    return {"batch": len(pixels), "threads": os.environ.get("OMP_NUM_THREADS"), **medians}
