"""The two normalisations of ImageNet's pixels that the authors used."""

from __future__ import annotations

from typing import Dict, Tuple

from ...errors import UsageError
from ..transform import EvalTransform

Channels = Tuple[float, float, float]

#: Mean and standard deviation of pixels in 0..255, as the authors gave them to an image folder and to a record file.
#: They differ in the third digit; all published ImageNet weights were trained and scored with "records".
NORMALISATIONS: Dict[str, Tuple[Channels, Channels]] = {
    "folder": ((0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255)),
    "records": ((123.68, 116.779, 103.939), (58.393, 57.12, 57.375)),
}


def mean_and_std(name: str) -> Tuple[Channels, Channels]:
    """Of a normalisation by name, for pixels in 0..1. Raises UsageError for an unknown one."""
    if name not in NORMALISATIONS:
        raise UsageError(f"no normalisation {name!r}: choose one of {', '.join(NORMALISATIONS)}")
    mean, std = NORMALISATIONS[name]
    return (mean[0] / 255, mean[1] / 255, mean[2] / 255), (std[0] / 255, std[1] / 255, std[2] / 255)


def normalisation(name: str) -> EvalTransform:
    """The transform of a normalisation by name. Raises UsageError for an unknown one."""
    return EvalTransform(*mean_and_std(name))
