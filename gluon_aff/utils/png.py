"""Images as PNG files."""

from __future__ import annotations

from io import BytesIO

import numpy as np

from .files import PathLike, atomic_write


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

    image = BytesIO()
    Image.fromarray(pixels).save(image, format="png")
    with atomic_write(path, "wb") as handle:
        handle.write(image.getvalue())
