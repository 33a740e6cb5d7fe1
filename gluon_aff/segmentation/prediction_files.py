"""Predicted masks as files: masks, overlays and contact sheets."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Callable, Iterable, Iterator, List, Optional, Tuple, TypeVar

import numpy as np

from ..utils.files import FileNames, PathLike
from ..utils.png import write_pixels
from .prediction_sheet import ROWS, Row, draw_sheet

#: Name, image uint8 (H, W, 3), truth (H, W) with > 0 the foreground or None, probability (H, W).
Item = Tuple[str, np.ndarray, Optional[np.ndarray], np.ndarray]

AnyRow = TypeVar("AnyRow")

_OUTLINE = np.array([255, 40, 200], dtype=np.float32)  # rare in photographs of any kind
_TINT = 0.25


def write_predictions(directory: PathLike, items: Iterable[Item]) -> List[Path]:
    """Write masks/NAME.png, overlays/NAME.png and contact sheets sheet-01.png, ...

    A pixel is predicted foreground where its probability is greater than 0.5; masks hold 0 and 255. IoU on a sheet is
    at the image's own size. Names become file names by `FileNames`.

    Parameters
    ----------
    directory : path
        Where the files go.
    items : iterable of Item
        Taken one by one; no more than a sheet's worth is kept.

    Returns
    -------
    list of Path
        The sheets.

    Raises
    ------
    ValueError
        For shapes that do not belong together.
    """
    directory, names = Path(directory), FileNames()

    def rows() -> Iterator[Row]:
        for name, image, truth, probability in items:
            _check(name, image, truth, probability)
            found = probability > 0.5
            stem = names(name)
            write_pixels(np.where(found, 255, 0).astype(np.uint8), directory / "masks" / f"{stem}.png")
            write_pixels(prediction_overlay(image, found), directory / "overlays" / f"{stem}.png")
            yield Row(name, image, None if truth is None else truth > 0, found)

    return write_sheets(directory, rows(), ROWS, draw_sheet)


def write_sheets(
    directory: Path, rows: Iterable[AnyRow], count: int, draw: Callable[[List[AnyRow], Path], None]
) -> List[Path]:
    """Contact sheets sheet-01.png, ... of ``count`` rows each, which are taken as they come; returns their paths."""
    rows = iter(rows)
    sheets: List[Path] = []
    for chosen in iter(lambda: list(islice(rows, count)), []):
        sheets.append(directory / f"sheet-{len(sheets) + 1:02d}.png")
        draw(chosen, sheets[-1])
    return sheets


def prediction_overlay(image: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The image, uint8 (H, W, 3), with the prediction, bool (H, W), tinted and outlined.

    The outline lies around the prediction, not on it, so that even a single pixel can be seen.
    """
    from scipy import ndimage

    painted = image.astype(np.float32)
    painted[found] += _TINT * (_OUTLINE - painted[found])
    width = max(1, round(min(found.shape) / 320))
    grown = ndimage.binary_dilation(found, np.ones((3, 3), dtype=bool), iterations=width)
    painted[grown & ~found] = _OUTLINE
    return painted.round().astype(np.uint8)


def _check(name: str, image: np.ndarray, truth: Optional[np.ndarray], probability: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"{name}: image {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
    for kind, array in (("truth", truth), ("probability", probability)):
        if array is not None and array.shape != image.shape[:2]:
            raise ValueError(f"{name}: {kind} {array.shape}, expected the image's {image.shape[:2]}")
