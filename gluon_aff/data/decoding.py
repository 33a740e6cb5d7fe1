"""Image and mask files to arrays, whatever mode they were saved in."""

from __future__ import annotations

import io
from typing import Any, Optional, Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import GluonAFFError

#: Pillow's formats that are opened, whatever a file is called: what people keep pictures in. Pillow knows others that
#: start programs (EPS starts Ghostscript).
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
#: Larger images are refused before any pixel is decoded: at 3 bytes a pixel this is half a gigabyte.
MAX_PIXELS = 178_956_970
#: In masks of several classes: pixels that do not count, as in VOC's.
IGNORED = 255
_JPEG_SPREAD = 24  # between the channels of a grey picture saved in colour
_WIDE_MODES = ("I;16", "I;16L", "I;16B", "I")


class UnreadableImage(GluonAFFError):
    """An image file that cannot be decoded; ``fault`` is the message without its advice, for lists of such files."""

    def __init__(self, fault: str) -> None:
        super().__init__(f"{fault}: replace or remove it")
        self.fault = fault


def open_image(content: bytes, where: str) -> Image.Image:
    """Return an image file, opened but not decoded: its format, mode and size. ``where`` names it in messages.

    Raises UnreadableImage when it is empty, of a format that is not among `FORMATS`, damaged, or too large.
    """
    if not content:
        raise UnreadableImage(f"{where} is empty (0 bytes)")
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Exception as error:  # a damaged image can raise nearly anything
        raise _unreadable(where, error) from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _unreadable(where, ValueError(f"{width}x{height} pixels, more than {MAX_PIXELS:,}"))
    return image


def decode_image(content: bytes, where: str, *, opencv: bool = False) -> np.ndarray:
    """Return an image file as RGB, uint8 (H, W, 3). Raises UnreadableImage as `open_image` does.

    Grey, palette and CMYK become RGB, alpha is dropped, of 16 bits the upper 8 are kept. A camera's note on orientation
    (EXIF) is ignored, as ImageNet's usual tools do: masks are of the pixels as stored.

    With ``opencv`` OpenCV decodes JPEG, which takes a quarter less time than Pillow and gives the same pixels. JPEG
    that does not end as it should is still decoded by Pillow, which tells a file cut short from a whole one.
    """
    image = open_image(content, where)
    try:
        if opencv and content.startswith(b"\xff\xd8") and content.endswith(b"\xff\xd9"):
            import cv2

            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
            if pixels is not None:
                return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        return _rgb(image)
    except ImportError:  # no OpenCV, which is not the image's fault
        raise
    except Exception as error:  # a damaged image can raise nearly anything
        raise _unreadable(where, error) from error


def decode_mask(content: bytes, where: str, threshold: Optional[int] = None, classes: int = 1) -> np.ndarray:
    """Return a mask file as foreground 1 and background 0, or as class numbers: uint8 (H, W).

    A mask of one class holds 0 and 1, or 0 and the largest value of its depth (255, 65535); with a ``threshold`` any
    values, those of at least this much are foreground. Grey may be saved in colour, and with a palette: a palette of
    greys counts by its greys, any other by its indices. Transparency is ignored, unless it alone varies: then what is
    opaque is the foreground. A JPEG's values are noisy, so those of at least 128 are foreground.

    A mask of several ``classes``, the background's 0 among them, holds their numbers and `IGNORED` where a pixel is of
    none; a palette counts by its indices.

    Raises UnreadableImage as `open_image` does, GluonAFFError for a mask that is coloured, or holds other values.
    """
    image = open_image(content, where)
    try:
        values = _values(image, classes)
    except Exception as error:
        raise _unreadable(where, error) from error
    if values is None:
        kind = "a grey mask of 0 and 255" if classes == 1 else f"class numbers, 0 to {classes - 1}"
        raise GluonAFFError(f"{where} is coloured, expected {kind}: save it as one")
    if classes > 1:
        return _class_numbers(image, values, where, classes)
    if threshold is not None:
        return (values >= threshold).astype(np.uint8)
    found = np.unique(values).tolist()
    largest = 65535 if image.mode in _WIDE_MODES else 255
    if set(found) <= {0, 1} or set(found) <= {0, largest}:
        return (values > 0).astype(np.uint8)
    if image.format == "JPEG" and found[-1] >= 128:
        return (values >= 128).astype(np.uint8)
    numbers = found[-1] if found[-1] != 255 else found[-2]
    several = f"; for class numbers give `classes` {numbers + 1}" if 1 < numbers < 100 and len(found) <= 100 else ""
    raise GluonAFFError(
        f"{where} has the values {some(found, 6)}: a mask of foreground and background holds 0 and 1, or 0 and "
        f"{largest}; save it with these, or give a threshold from which values count as foreground (`mask_threshold` "
        f"128){several}"
    )


def _class_numbers(image: Image.Image, values: np.ndarray, where: str, classes: int) -> np.ndarray:
    if image.format == "JPEG":
        raise GluonAFFError(f"{where} is a JPEG, which does not keep class numbers: save it as PNG")
    found = np.unique(values).tolist()
    if [value for value in found if not (value < classes or value == IGNORED)]:
        raise GluonAFFError(
            f"{where} has the values {some(found, 6)}: expected class numbers, 0 to {classes - 1}, and {IGNORED} for "
            f"pixels that do not count; give `classes` as many as there are, background included"
        )
    return values.astype(np.uint8)


def some(values: Sequence[Any], most: int = 5) -> str:
    """The first of these values, for a message."""
    return ", ".join(map(str, values[:most])) + (", ..." if len(values) > most else "")


def _values(image: Image.Image, classes: int) -> Optional[np.ndarray]:
    """The pixels, (H, W); None for colours."""
    if classes > 1 and image.mode == "P":
        return np.asarray(image)
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    if image.mode in _WIDE_MODES:
        return np.asarray(image)
    if image.mode in ("LA", "RGBA"):
        pixels = np.asarray(image)
        colours, opacity = pixels[..., :-1], pixels[..., -1]
        if (colours == colours[:1, :1]).all() and opacity.min() != opacity.max():
            return opacity
    colours = np.asarray(image.convert("RGB"))
    spread = colours.max(axis=2).astype(int) - colours.min(axis=2)
    if spread.max() <= (_JPEG_SPREAD if image.format == "JPEG" else 0):
        return colours[..., 0]
    return np.asarray(image) if image.mode == "P" else None


def _unreadable(where: str, error: Exception) -> UnreadableImage:
    reason = "unknown format" if isinstance(error, UnidentifiedImageError) else str(error) or type(error).__name__
    return UnreadableImage(f"{where} cannot be read as an image ({reason})")


def _rgb(image: Image.Image) -> np.ndarray:
    """uint8 (H, W, 3)."""
    if image.mode in _WIDE_MODES:  # Pillow would cut 16 bits off at 255
        grey = np.clip(np.asarray(image) >> 8, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))
