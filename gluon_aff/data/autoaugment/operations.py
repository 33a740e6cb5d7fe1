"""AutoAugment's image operations on whole batches, in NumPy.

Every function takes uint8 images of shape (N, H, W, 3), most also one value per image, float64 of shape (N,), and
returns new images of the same shape. The arithmetic is Pillow's, bit for bit (ImageOps, ImageEnhance and nearest
affine transforms), so an image comes out as if Pillow had treated it alone, whatever Pillow is installed.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

FILL = 128  # the paper's grey, which fills what a geometric operation moves in from outside
_LEVELS = np.arange(256)


def invert(images: np.ndarray) -> np.ndarray:
    """255 - pixel."""
    return 255 - images


def solarize(images: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Invert the pixels at or above the image's threshold (0 inverts all, 256 none)."""
    return np.where(images >= thresholds[:, None, None, None], 255 - images, images)


def posterize(images: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """Keep the leading bits (1 to 8, whole numbers) of every pixel."""
    masks = (0xFF00 >> bits.astype(np.int64)).astype(np.uint8)
    return images & masks[:, None, None, None]


def autocontrast(images: np.ndarray) -> np.ndarray:
    """Stretch every channel of every image to 0..255; a channel of one colour stays as it is."""
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), images.shape[3], -1)
    low, high = planes.min(axis=2).astype(np.float64), planes.max(axis=2).astype(np.float64)
    flat = low == high
    scale = 255.0 / np.where(flat, 255.0, high - low)
    offset = np.where(flat, 0.0, -low * scale)
    tables = np.clip((_LEVELS * scale[..., None] + offset[..., None]).astype(np.int64), 0, 255)
    return _look_up(images, tables)


def equalize(images: np.ndarray) -> np.ndarray:
    """Flatten the histogram of every channel of every image."""
    count, height, width, channels = images.shape
    bins = images + 256 * np.arange(count * channels).reshape(count, 1, 1, channels)
    histogram = np.bincount(bins.ravel(), minlength=count * channels * 256).reshape(count * channels, 256)
    brightest = 255 - np.argmax(histogram[:, ::-1] > 0, axis=1)
    step = (height * width - histogram[np.arange(count * channels), brightest]) // 255
    below = np.cumsum(histogram, axis=1) - histogram
    equal = (step[:, None] // 2 + below) // np.maximum(step, 1)[:, None]
    tables = np.where(step[:, None] == 0, _LEVELS, np.minimum(equal, 255))  # too few pixels to share out: unchanged
    return _look_up(images, tables.reshape(count, channels, 256))


def brightness(images: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Blend with black: 0 is black, 1 the image."""
    return _look_up(images, _blend(np.zeros((len(images), 1, 1)), _LEVELS, factors[:, None, None]))


def contrast(images: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Blend with the mean grey of the image: 0 is that grey, 1 the image."""
    mean = np.floor(_grey(images).mean(axis=(1, 2)) + 0.5)
    return _look_up(images, _blend(mean[:, None, None], _LEVELS, factors[:, None, None]))


def color(images: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Blend with the grey version of the image: 0 is grey, 1 the image."""
    return _blend(_grey(images)[..., None], images, factors[:, None, None, None])


def sharpness(images: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Blend with a smoothed image (3x3, centre weight 5 of 13, border pixels kept): 0 is smooth, 1 the image."""
    smooth = images.copy()
    height, width = images.shape[1:3]
    if min(height, width) > 2:
        wide = images.astype(np.int32)
        rows = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
        total = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] + 4 * wide[:, 1:-1, 1:-1]
        smooth[:, 1:-1, 1:-1] = (2 * total + 13) // 26  # rounded; thirteenths never tie
    return _blend(smooth, images, factors[:, None, None, None])


def shear_x(images: np.ndarray, amounts: np.ndarray) -> np.ndarray:
    """Row y shows what lay ``amount * y`` pixels to its right; the top row stays."""
    return _affine(images, (1, amounts, 0, 0, 1, 0))


def shear_y(images: np.ndarray, amounts: np.ndarray) -> np.ndarray:
    """Column x shows what lay ``amount * x`` pixels below it; the left column stays."""
    return _affine(images, (1, 0, 0, amounts, 1, 0))


def translate_x(images: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Show what lay ``fraction`` of the width further right."""
    return _affine(images, (1, 0, fractions * images.shape[2], 0, 1, 0))


def translate_y(images: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Show what lay ``fraction`` of the height further down."""
    return _affine(images, (1, 0, 0, 0, 1, fractions * images.shape[1]))


def rotate(images: np.ndarray, degrees: np.ndarray, fill: int = FILL) -> np.ndarray:
    """Turn counter-clockwise about the centre."""
    cosine = np.round(np.cos(np.radians(degrees)), 15)
    sine = np.round(np.sin(np.radians(degrees)), 15)
    y, x = images.shape[1] / 2, images.shape[2] / 2
    return _affine(images, (cosine, -sine, x - cosine * x + sine * y, sine, cosine, y - sine * x - cosine * y), fill)


def _look_up(images: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """Map pixels through one table per image (N, 1, 256) or per image and channel (N, 3, 256)."""
    count, channels = tables.shape[:2]
    starts = 256 * np.arange(count * channels).reshape(count, 1, 1, channels)
    return tables.astype(np.uint8).reshape(-1).take(images + starts)


def _blend(start: np.ndarray, end: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """start + factor * (end - start) in float32, cut to 0..255 and rounded down."""
    start = start.astype(np.float32)
    mixed = start + factors.astype(np.float32) * (end.astype(np.float32) - start)
    return np.clip(mixed, 0, 255, out=mixed).astype(np.uint8)


def _grey(images: np.ndarray) -> np.ndarray:
    """ITU-R 601 luma (N, H, W), in Pillow's 16-bit fixed point."""
    wide = images.astype(np.int32)
    return (19595 * wide[..., 0] + 38470 * wide[..., 1] + 7471 * wide[..., 2] + 0x8000) >> 16


def _affine(images: np.ndarray, matrix: Sequence, fill: int = FILL) -> np.ndarray:
    """Pixel (x, y) of the result is pixel (a x + b y + c, d x + e y + f) of the image, the nearest, at pixel centres.

    The six numbers may differ from image to image. Coordinates are in 16.16 fixed point, as in Pillow.
    """
    count, height, width, channels = images.shape
    a, b, c, d, e, f = (np.broadcast_to(np.asarray(number, dtype=np.float64), (count,)) for number in matrix)
    x, y = np.arange(width)[None, None, :], np.arange(height)[None, :, None]
    column = (_fixed(c + a * 0.5 + b * 0.5) + _fixed(b) * y + _fixed(a) * x) >> 16
    row = (_fixed(f + d * 0.5 + e * 0.5) + _fixed(e) * y + _fixed(d) * x) >> 16
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    pixels = count * height * width
    source = np.where(inside, row * width + column + height * width * np.arange(count)[:, None, None], pixels)
    with_fill = np.empty((pixels + 1, channels), dtype=np.uint8)
    with_fill[:-1] = images.reshape(pixels, channels)
    with_fill[-1] = fill
    return with_fill.take(source, axis=0)


def _fixed(numbers: np.ndarray) -> np.ndarray:
    return np.floor(numbers * 65536.0 + 0.5).astype(np.int64)[:, None, None]
