"""Pictures as PNG files, whole or not at all."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np

from .files import PathLike, atomic_write


def write_figure(figure: Any, path: PathLike, dpi: int = 110) -> None:
    """A matplotlib Figure. Raises GluonAFFError as `atomic_write` does."""
    image = BytesIO()
    figure.savefig(image, format="png", dpi=dpi)
    with atomic_write(path, "wb") as handle:
        handle.write(image.getvalue())


def write_pixels(pixels: np.ndarray, path: PathLike) -> None:
    """An image, uint8 (H, W) or (H, W, 3). Raises GluonAFFError as `atomic_write` does."""
    from PIL import Image

    image = BytesIO()
    Image.fromarray(pixels).save(image, format="png")
    with atomic_write(path, "wb") as handle:
        handle.write(image.getvalue())
