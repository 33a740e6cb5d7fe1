"""Image and mask files to arrays, whatever mode they were saved in."""

from __future__ import annotations

import io
import sys
import threading
from contextlib import contextmanager
from typing import Any, Dict, Iterator, Optional, Sequence, Tuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import GluonAFFError

#: Pillow's formats that are opened, whatever a file is called: what people keep pictures in. Pillow knows others that
#: start programs (EPS starts Ghostscript).
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
#: Larger images are refused before any pixel is decoded: at 3 bytes a pixel this is half a gigabyte.
MAX_PIXELS = 178_956_970
#: In masks: pixels that do not count, as in VOC's.
IGNORED = 255
_JPEG_SPREAD = 24  # between the channels of a grey picture saved in colour
_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I", "F")
_DEPTHS = (8, 10, 12, 14, 16, 24, 31)  # bits that whole numbers may have
_OVERSHOOT = 0.1  # beyond 0 and 1, of a picture of 0 to 1 that was resized by a bicubic


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


def orientation(image: Image.Image) -> int:
    """What a camera noted (EXIF): 1 for upright, 2 to 8 for pixels that are to be turned or mirrored, which Pillow does
    with TIFF alone."""
    try:
        known = image.format != "PNG" or "exif" in image.info  # else Pillow would decode all of a PNG to look behind it
        return int(image.getexif().get(0x0112, 1)) if known else 1
    except Exception:  # a damaged note can raise nearly anything
        return 1


def decode_image(content: bytes, where: str, *, opencv: bool = False) -> np.ndarray:
    """Return an image file as RGB, uint8 (H, W, 3). Raises UnreadableImage as `open_image` does.

    Grey, palette and CMYK become RGB, alpha is dropped. Deeper pixels become 8 bits by the file's own range: floats up
    to 1 times 255, others by the upper 8 bits of the least depth that holds the largest of them (8, 10, 12, 14, 16, 24
    or 31 bits); none may lie below 0. A camera's note on orientation (EXIF) is ignored but in TIFF, as ImageNet's usual
    tools do: masks are of the pixels as stored. The second range that a process meets is told on standard error.

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
        return _rgb(image, content, where)
    except ImportError:  # no OpenCV, which is not the image's fault
        raise
    except Exception as error:  # a damaged image can raise nearly anything
        raise _unreadable(where, error) from error


@contextmanager
def resizing(where: str) -> Iterator[None]:
    """Raise UnreadableImage naming the file where memory, or OpenCV, does not do within what is asked of them."""
    import cv2

    try:
        yield
    except (MemoryError, cv2.error) as error:
        raise UnreadableImage(f"{where} cannot be resized ({_reason(error)})") from error


def decode_mask(
    content: bytes, where: str, threshold: Optional[int] = None, classes: int = 1, ignore: Optional[int] = None
) -> np.ndarray:
    """Return a mask file as foreground 1 and background 0, or as class numbers: uint8 (H, W).

    A mask of one class holds 0 and 1, 255 or 65535 in whatever depth, or as floats 0 and one other value; with a
    ``threshold`` any values, those of at least this much are foreground (deep ones as `decode_image` scales them). Grey
    may be saved in colour, and with a palette: a palette of greys counts by its greys, any other by its indices.
    Transparency is ignored, unless it alone varies: then what is opaque is the foreground. A JPEG's values are noisy,
    so those of at least 128 are foreground.

    A mask of several ``classes``, the background's 0 among them, holds their numbers and `IGNORED` where a pixel is of
    none; a palette counts by its indices. Pixels of the value ``ignore`` become `IGNORED` in either kind.

    Raises UnreadableImage as `open_image` does, GluonAFFError for a mask that is coloured, or holds other values.
    """
    image = open_image(content, where)
    try:
        values = _values(image, content, classes)
    except Exception as error:
        raise _unreadable(where, error) from error
    if values is None:
        kind = "a grey mask of 0 and 255" if classes == 1 else f"class numbers, 0 to {classes - 1}"
        raise GluonAFFError(f"{where} is coloured, expected {kind}: save it as one")
    if image.format == "JPEG" and (classes > 1 or ignore is not None):
        kind = "class numbers" if classes > 1 else f"a value of its own (`mask_ignore` {ignore})"
        raise GluonAFFError(f"{where} is a JPEG, which does not keep {kind}: save it as PNG")
    if ignore is None:
        return _numbers(image, values, where, threshold, classes)
    ignored = values == ignore
    labels = _numbers(image, np.where(ignored, values.dtype.type(0), values), where, threshold, classes)
    labels[ignored] = IGNORED
    return labels


def _numbers(image: Image.Image, values: np.ndarray, where: str, threshold: Optional[int], classes: int) -> np.ndarray:
    if threshold is not None:
        try:
            return ((values if values.dtype == np.uint8 else _to_bytes(values)[0]) >= threshold).astype(np.uint8)
        except ValueError as error:
            raise _unreadable(where, error) from error
    found = np.unique(values).tolist()
    shown = f"{where} has the values {some([f'{value:g}' for value in found], 6)}"
    if classes > 1:
        if [value for value in found if not (value in range(classes) or value == IGNORED)]:
            raise GluonAFFError(
                f"{shown}: expected class numbers, 0 to {classes - 1}, and {IGNORED} for pixels that do not count; "
                "give `classes` as many as there are, background included"
            )
        return values.astype(np.uint8)
    two = len(found) < 3 and found[0] >= 0 and values.dtype.kind == "f"
    if two and 0 in found or any(set(found) <= {0, one} for one in (1, 255, 65535)):
        return (values > 0).astype(np.uint8)
    if image.format == "JPEG" and found[-1] >= 128:
        return (values >= 128).astype(np.uint8)
    largest = 65535 if image.mode in _DEEP_MODES else 255
    raise GluonAFFError(
        f"{shown}: a mask of foreground and background holds 0 and 1, or 0 and {largest}; save it with these, or "
        f"{_advice(found)}"
    )


def _advice(found: Sequence[float]) -> str:
    """What to do with a mask of these values, sorted: they tell class numbers, a rim and greys apart."""
    numbers = [value for value in found if value != IGNORED]
    last, rim = found[-1], "`mask_ignore` {:g} where these pixels are not to count"
    if found[:-1] == [0, 1] and last >= 100:
        return f"give {rim.format(last)}"
    if len(found) <= 100 and 1 < numbers[-1] < 100 and all(value == int(value) for value in numbers):
        more = f" ({IGNORED} does not count then)" if IGNORED in found else ""
        one = f", or `mask_threshold` {last:g} where {last:g} alone is foreground" if len(found) < 4 else ""
        return f"for class numbers give `classes` {int(numbers[-1]) + 1}{more}{one}"
    text = "give a threshold from which values count as foreground (`mask_threshold` "
    if len(found) == 3 and found[0] == 0 and 1 < found[1] < last <= 255:
        return f"{text}{found[1]:g}, or {last:g} for this alone), or {rim.format(found[1])}"
    return f"{text}{last if len(found) < 3 and 1 < last <= 255 else 128:g})"


def some(values: Sequence[Any], most: int = 5) -> str:
    """The first of these values, for a message."""
    return ", ".join(map(str, values[:most])) + (", ..." if len(values) > most else "")


def _values(image: Image.Image, content: bytes, classes: int) -> Optional[np.ndarray]:
    """The pixels, (H, W); None for colours."""
    if classes > 1 and image.mode == "P":
        return np.asarray(image)
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))
    pixels = _deep(image, content)
    if pixels is not None and pixels.ndim == 2:
        return pixels
    if image.mode in ("LA", "RGBA"):
        pixels = np.asarray(image) if pixels is None else pixels
        colours, opacity = pixels[..., :-1], pixels[..., -1]
        if (colours == colours[:1, :1]).all() and opacity.min() != opacity.max():
            return opacity
    else:
        colours = np.asarray(image.convert("RGB")) if pixels is None else pixels
    spread = colours.max(axis=2).astype(int) - colours.min(axis=2)
    if spread.max() <= (_JPEG_SPREAD if image.format == "JPEG" else 0):
        return colours[..., 0]
    return np.asarray(image) if image.mode == "P" else None


def _unreadable(where: str, error: Exception) -> UnreadableImage:
    reason = "unknown format" if isinstance(error, UnidentifiedImageError) else _reason(error)
    return UnreadableImage(f"{where} cannot be read as an image ({reason})")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _rgb(image: Image.Image, content: bytes, where: str) -> np.ndarray:
    """uint8 (H, W, 3)."""
    deep = _deep(image, content)
    if deep is not None:
        pixels, depth = _to_bytes(deep if deep.ndim == 2 else deep[..., :3])
        _tell_ranges(depth, where)
        return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))


def _deep(image: Image.Image, content: bytes) -> Optional[np.ndarray]:
    """Pixels of more than 8 bits, grey (H, W) or RGB and perhaps alpha (H, W, 3 or 4); None for others.

    Of 16 bits in colour Pillow keeps the upper 8, of which 12 bits leave 4.
    """
    if image.mode in _DEEP_MODES:
        return np.asarray(image)
    tiles = getattr(image, "tile", None)  # what the decoder was told
    if image.mode not in ("LA", "RGB", "RGBA") or not tiles or ";16" not in str(tiles[0][3]):
        return None
    if image.format == "TIFF" and orientation(image) != 1:
        return None
    import cv2

    image.load()  # tells a file cut short
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        return None
    return pixels[..., [2, 1, 0, *range(3, pixels.shape[2])]]


def _to_bytes(values: np.ndarray) -> Tuple[np.ndarray, str]:
    """Deep pixels as uint8, see `decode_image`, and the range that they were taken to have. Raises ValueError."""
    lowest, highest = float(values.min()), float(values.max())
    if values.dtype.kind == "f":
        if lowest >= -_OVERSHOOT and highest <= 1 + _OVERSHOOT:  # not for NaN
            return np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8), "0 to 1"
        values = np.rint(values)
    if not (lowest >= 0 and highest < 1 << _DEPTHS[-1]):
        raise ValueError(f"its values are from {lowest:g} to {highest:g}, expected 0 to 1, or to 255, 4095, 65535")
    bits = next(bits for bits in _DEPTHS if values.max() < 1 << bits)
    return (values.astype(np.int64) >> (bits - 8)).astype(np.uint8), f"{bits} bits"


_ranges: Dict[str, str] = {}  # and the first file of each
_ranges_lock = threading.Lock()


def _tell_ranges(found: str, where: str) -> None:
    """Files of one set may differ in brightness where their ranges do."""
    with _ranges_lock:
        if found in _ranges:
            return
        _ranges[found] = where
        first = next(iter(_ranges))
        if len(_ranges) == 2:
            print(
                f"note: deep pictures are scaled by each file's own range: {_ranges[first]} has {first}, {where} "
                f"{found}; where they must share a scale, save them with 8 bits",
                file=sys.stderr,
            )
