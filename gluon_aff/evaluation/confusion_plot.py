"""The confusion matrix, drawn."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from ..utils.figures import load_matplotlib, new_figure, plain, write_figure
from ..utils.files import PathLike

_WITH_FIGURES, _WITH_NAMES = 20, 100  # largest numbers of classes whose cells, and whose names, can be read


def plot_confusion(counts: np.ndarray, classes: Sequence[str], title: str, path: PathLike) -> None:
    """Draw a confusion matrix: a row per class, each cell the share of the row's images.

    Classes without images are left blank.

    Parameters
    ----------
    counts : array
        As `Predictions.confusion` gives them, int64 (classes, classes + 1). The last column, of other classes, is
        drawn when there is something in it.
    """
    matplotlib = load_matplotlib()
    names = [plain(name) for name in classes]
    columns = names + ["other"] if counts[:, -1].any() else names
    shown = counts[:, : len(columns)]
    totals = counts.sum(axis=1, keepdims=True)
    share: Any = np.ma.masked_array(shown / np.maximum(totals, 1), mask=np.broadcast_to(totals == 0, shown.shape))

    side = 4.0 + (0.42 * len(names) if len(names) <= _WITH_FIGURES else min(0.13 * len(names), 9.0))
    figure = new_figure(side + 1.0, side)
    axes = figure.subplots()
    scale = matplotlib.colors.PowerNorm(0.5, vmin=0, vmax=1)  # so that rare confusions are seen
    image = axes.imshow(share, cmap="Blues", norm=scale, interpolation="nearest", aspect="auto")
    figure.colorbar(image, ax=axes, label="share of the class's images", shrink=0.8, aspect=40, pad=0.01)
    if len(names) <= _WITH_NAMES:
        size = 9 if len(names) <= _WITH_FIGURES else 6
        axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=size)
        axes.set_yticks(range(len(names)), names, fontsize=size)
    if len(names) <= _WITH_FIGURES:
        for row, column in zip(*np.nonzero(shown)):
            value = share[row, column]
            if value >= 0.005:
                colour = "white" if value > 0.35 else "black"
                axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true class" + (" (cells in %)" if len(names) <= _WITH_FIGURES else ""))
    axes.set_title(plain(title), fontsize=10)
    write_figure(figure, path)
