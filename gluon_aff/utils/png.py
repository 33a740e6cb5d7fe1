"""Figures and images as PNG files. Nothing here needs a display, whatever MPLBACKEND says."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import BytesIO
from types import ModuleType
from typing import Any

import numpy as np

from .files import PathLike, atomic_write

Figure = Any  #: matplotlib.figure.Figure, whose import is slow


def load_matplotlib() -> ModuleType:
    """Import matplotlib, also where MPLBACKEND names a backend that is not installed here (a notebook's, for one).

    Returns
    -------
    module
    """
    if "matplotlib" in sys.modules:
        return sys.modules["matplotlib"]
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend:  # as matplotlib does by itself, but for the error
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend
    return matplotlib


def new_figure(**settings: Any) -> Figure:
    """A matplotlib Figure on an Agg canvas of its own, which pyplot and its backends know nothing of.

    Parameters
    ----------
    **settings
        Of ``matplotlib.figure.Figure``: ``figsize`` (inches), ``layout`` and the like.

    Returns
    -------
    Figure
        For `write_figure`.
    """
    load_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(**settings)
    FigureCanvasAgg(figure)
    return figure


def write_figure(figure: Figure, path: PathLike, dpi: int = 110) -> None:
    """Write a figure as PNG.

    Parameters
    ----------
    figure : Figure
    path : path
    dpi : int
        Pixels per inch.

    Raises
    ------
    GluonAFFError
        As `atomic_write` does.
    """
    image = BytesIO()
    figure.savefig(image, format="png", dpi=dpi)
    with atomic_write(path, "wb") as handle:
        handle.write(image.getvalue())


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
