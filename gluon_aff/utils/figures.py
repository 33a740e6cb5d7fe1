"""Pictures as files: Matplotlib figures, made without a display, as PNG, PDF or SVG; images as PNG."""

from __future__ import annotations

import os
import re
import sys
import warnings
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any, Dict, Mapping, Optional, Sequence

import numpy as np

from ..errors import UsageError
from .files import PathLike, atomic_write, printable
from .outputs import MARK

Figure = Any  #: matplotlib.figure.Figure, whose import is slow

FORMATS = ("png", "pdf", "svg")
DPI = 110


def load_matplotlib() -> ModuleType:
    """Import matplotlib, also where MPLBACKEND names a backend that is not installed here (a notebook's, for one)."""
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


def new_figure(width: float, height: float, **settings: Any) -> Figure:
    """Make a Matplotlib Figure, in inches, on an Agg canvas of its own, which pyplot and its backends know nothing of.

    ``settings`` are ``matplotlib.figure.Figure``'s; the layout is constrained unless they say otherwise.
    """
    load_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), **{"layout": "constrained", **settings})
    FigureCanvasAgg(figure)
    return figure


def plain(text: str) -> str:
    """Return ``text`` for a title or a legend, where Matplotlib would read ``$`` as mathematics and hide ``_name``.

    Bytes of a file's name that are not UTF-8 become the replacement character.
    """
    return (" " if text.startswith("_") else "") + printable(text).replace("$", r"\$")


def label_axes(axes: Any, x: str, y: str, title: str = "") -> None:
    """Name both axes, with a light grid and, where there is one, a small title. Epochs are marked at whole numbers."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    if x == "epoch":
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    if title:
        axes.set_title(plain(title), fontsize=10)


def shifts(places: Mapping[str, Sequence[float]], share: float = 0.02) -> Dict[str, float]:
    """Return by how much each series is drawn aside, so that those at one place of the x axis stand beside each other.

    ``places`` are a series' values on that axis; they are shifted in their order, in steps of this ``share`` of the
    width.
    """
    values = [value for each in places.values() for value in each]
    step = share * ((max(values) - min(values)) or 1) if values else 0.0
    order = sorted(places, key=lambda name: (sum(places[name]) / max(1, len(places[name])), name))
    return {name: step * (rank - (len(order) - 1) / 2) for rank, name in enumerate(order)}


def _ending(path: PathLike) -> str:
    return Path(path).suffix.lower().lstrip(".")


def figure_format(path: PathLike) -> str:
    """Return the format that a file's ending asks for; PNG where it has none. Raises UsageError for any other."""
    ending = _ending(path)
    if ending and ending not in FORMATS:
        raise UsageError(f"{path}: a figure cannot be written as .{ending}; choose one of .{', .'.join(FORMATS)}")
    return ending or "png"


def is_figure(path: PathLike) -> bool:
    """Return whether a path's ending is one of FORMATS, so that it is a figure's file and no folder."""
    return _ending(path) in FORMATS and not Path(path).is_dir()


def write_figure(figure: Figure, path: PathLike, dpi: int = DPI, source: Optional[str] = None) -> None:
    """Write a figure in the format of ``path``'s ending; ``dpi`` is that of a PNG, and of pictures inside the others.

    ``source`` says whose figure it is and is kept in a PNG for `source_of`. Characters that the font has not are told
    on standard error. Raises UsageError for another ending, GluonAFFError as `atomic_write` does.
    """
    image = BytesIO()
    form = figure_format(path)
    metadata = {"Software" if form == "png" else "Creator": MARK}
    if source is not None:
        metadata["Source"] = printable(source)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(image, format=form, dpi=dpi, metadata=metadata)
    missing = set()
    for each in caught:
        glyph = re.match(r"Glyph (\d+) .* missing from", str(each.message))
        if glyph:
            missing.add(chr(int(glyph[1])))
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    if missing:
        characters = " ".join(sorted(missing)[:10]) + (" ..." if len(missing) > 10 else "")
        print(
            f"note: {printable(str(path))} has boxes in place of {characters}: the font has no such characters; "
            "install one that has (Noto Sans CJK, for one) and name it first in matplotlibrc's font.family",
            file=sys.stderr,
        )
    _write(image, path)


def source_of(path: PathLike) -> Optional[str]:
    """Return the ``source`` that a PNG was written with; None for any other file."""
    from PIL import Image

    try:
        with Image.open(path, formats=("png",)) as image:
            return image.info.get("Source")
    except (OSError, SyntaxError, ValueError):  # no PNG, or a damaged one
        return None


def write_pixels(pixels: np.ndarray, path: PathLike) -> None:
    """Write an image, uint8 (H, W) or (H, W, 3), as PNG. Raises GluonAFFError as `atomic_write` does."""
    from PIL import Image

    write_picture(Image.fromarray(pixels), path)


def write_picture(picture: Any, path: PathLike) -> None:
    """The same of a Pillow image, with a palette for one."""
    from PIL.PngImagePlugin import PngInfo

    image, written_by = BytesIO(), PngInfo()
    written_by.add_text("Software", MARK)
    picture.save(image, format="png", pnginfo=written_by)
    _write(image, path)


def _write(image: BytesIO, path: PathLike) -> None:
    with atomic_write(path, "wb") as handle:
        handle.write(image.getvalue())
