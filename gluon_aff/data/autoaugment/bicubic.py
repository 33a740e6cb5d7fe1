"""Shears and shifts as the published runs had them: what comes in from outside is black, sampling is Pillow's bicubic.

As in `operations`, images are uint8 (N, H, W, 3) with one float64 amount each, and the arithmetic is Pillow's, bit for
bit. A shear moves whole rows or columns, so the second axis never interpolates, and a shift by whole pixels copies.
"""

from __future__ import annotations

import numpy as np


def shear_x(images: np.ndarray, amounts: np.ndarray) -> np.ndarray:
    """Row y shows what lay ``amount * y`` pixels to its right; the top row all but stays."""
    count, height, width, channels = images.shape
    y, x = np.arange(height)[None, :, None] + 0.5, np.arange(width)[None, None, :] + 0.5
    place = x + amounts[:, None, None] * y  # (N, H, W), in pixels from the left edge
    outside = (place < 0) | (place >= width)
    place -= 0.5
    left = np.floor(place)
    share = (place - left)[..., None]
    row_starts = (np.arange(count)[:, None, None] * height + np.arange(height)[None, :, None]) * width
    pixels = images.reshape(-1, channels)
    column = left.astype(np.int64)
    near = (row_starts + np.clip(column + step, 0, width - 1) for step in (-1, 0, 1, 2))
    first, second, third, fourth = (pixels.take(where, axis=0).astype(np.int16) for where in near)
    result = _cubic(first, second, third, fourth, share)
    result[outside] = 0
    return result


def shear_y(images: np.ndarray, amounts: np.ndarray) -> np.ndarray:
    """Column x shows what lay ``amount * x`` pixels below it; the left column all but stays."""
    return np.ascontiguousarray(shear_x(images.transpose(0, 2, 1, 3), amounts).transpose(0, 2, 1, 3))


def shift_x(images: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Show what lay a whole number of ``pixels`` further right."""
    width = images.shape[2]
    moved = np.zeros_like(images)
    for pixel in np.unique(pixels):
        of_this, by = pixels == pixel, int(np.clip(pixel, -width, width))
        moved[of_this, :, max(-by, 0) : width - max(by, 0)] = images[of_this, :, max(by, 0) : width - max(-by, 0)]
    return moved


def shift_y(images: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Show what lay a whole number of ``pixels`` further down."""
    return np.ascontiguousarray(shift_x(images.transpose(0, 2, 1, 3), pixels).transpose(0, 2, 1, 3))


def _cubic(v1: np.ndarray, v2: np.ndarray, v3: np.ndarray, v4: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The cubic convolution (a = -1) through four neighbours, ``share`` of the way from the second to the third.

    The differences are exact; then float64 in Pillow's order, cut to 0..255 and rounded down.
    """
    value = share * (v2 - v1 - v3 + v4)
    value += 2 * (v1 - v2) + v3 - v4
    value *= share
    value += v3 - v1
    value *= share
    value += v2
    return np.clip(value, 0, 255, out=value).astype(np.uint8)
