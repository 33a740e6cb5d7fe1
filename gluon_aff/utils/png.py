"""Images as PNG files."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np

from .files import PathLike, atomic_write
from .outputs import MARK


def write_pixels(pixels: np.ndarray, path: PathLike) -> None:
    """Write an image as PNG.

    Parameters
    ----------
    pixels : uint8 array (H, W) or (H, W, 3)
    path : path

    Raises
    ------
    GluonAFFError
        As `atomic_write` does.
    """
    from PIL import Image

    write_picture(Image.fromarray(pixels), path)


def write_picture(picture: Any, path: PathLike) -> None:
    """The same of a Pillow image, with a palette for one."""
    from PIL.PngImagePlugin import PngInfo

    image, written_by = BytesIO(), PngInfo()
    written_by.add_text("Software", MARK)
    picture.save(image, format="png", pnginfo=written_by)
    with atomic_write(path, "wb") as handle:
        handle.write(image.getvalue())
