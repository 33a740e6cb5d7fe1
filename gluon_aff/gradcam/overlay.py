"""A heat map laid over the picture that it is of."""

from __future__ import annotations

import numpy as np

from ..errors import UsageError
from .cam import resized_maps
from .cam_sheet import heat_overlay


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A map as `grad_cam` gives it, in colours from blue (0) to red (1), half and half over its picture.

    >>> pixels = np.asarray(PIL.Image.open("photo.jpg").convert("RGB"))
    >>> PIL.Image.fromarray(overlay(pixels, grad_cam(net, x)[0])).save("seen.png")

    Parameters
    ----------
    image : array
        uint8 (H, W, 3), RGB, or (H, W), grey; or the same as float in [0, 1].
    heat : array
        (h, w) in [0, 1]; resized, bilinearly, to the picture where it has another size.

    Returns
    -------
    array
        uint8 (H, W, 3).

    Raises
    ------
    UsageError
        For arrays of another shape, type or range.
    """
    pixels, heat = np.asarray(image), np.asarray(heat, dtype=np.float32)
    if pixels.dtype.kind == "f" and pixels.size and pixels.min() >= 0 and pixels.max() <= 1:
        pixels = np.round(255 * pixels).astype(np.uint8)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise UsageError(
            f"the image is {np.asarray(image).dtype} {np.shape(image)}: expected (H, W, 3) or (H, W), uint8 or float "
            "in [0, 1], not a normalised input"
        )
    if heat.ndim != 2 or not heat.size or not (heat.min() >= 0 and heat.max() <= 1):
        raise UsageError(f"the map is {heat.shape}: expected (h, w) in [0, 1], one map of what grad_cam gives")
    if heat.shape != pixels.shape[:2]:
        heat = np.clip(resized_maps(heat[None], pixels.shape[:2])[0], 0, 1)
    return heat_overlay(pixels, heat)
