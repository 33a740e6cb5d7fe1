"""Draw AFF and iAFF with this package's names: ``python docs/images/draw_fusions.py`` writes fusions.png beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Tuple

from gluon_aff.utils.figures import new_figure, write_figure

BRANCH, SHORTCUT, WEIGHT, PLAIN = "#D55E00", "#0072B2", "#009E73", "#444444"
Place = Tuple[float, float]


def box(axes: Any, at: Place, text: str, colour: str = PLAIN, width: float = 1.5, height: float = 0.62) -> None:
    """A rounded box around ``at``."""
    from matplotlib.patches import FancyBboxPatch

    corner = (at[0] - width / 2, at[1] - height / 2)
    axes.add_patch(
        FancyBboxPatch(corner, width, height, boxstyle="round,pad=0.02", fc="white", ec=colour, lw=1.4, zorder=3)
    )
    axes.text(*at, text, ha="center", va="center", fontsize=8.5, zorder=4)


def dot(axes: Any, at: Place, sign: str, colour: str = PLAIN) -> None:
    """A circle with the sign of an elementwise operation."""
    from matplotlib.patches import Circle

    axes.add_patch(Circle(at, 0.21, fc="white", ec=colour, lw=1.4, zorder=3))
    axes.text(*at, sign, ha="center", va="center", fontsize=11, zorder=4)


def line(axes: Any, *places: Place, colour: str = PLAIN, text: str = "", beside: Place = (0, 0)) -> None:
    """An arrow through ``places``, with ``text`` at ``beside``."""
    for start, end in zip(places, places[1:-1]):
        axes.plot(*zip(start, end), color=colour, lw=1.4, solid_capstyle="round", zorder=1)
    axes.annotate("", places[-1], places[-2], arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.4}, zorder=1)
    if text:
        axes.text(*beside, text, fontsize=8, color=colour, ha="center", va="center")


def stage(axes: Any, top: float, first: Place, second: Place, names: str, factor: str, result: str) -> float:
    """MS-CAM on the sum of two maps, and both maps weighed by it, from ``top`` down; the height of its result."""
    (x, _), (y, _) = first, second
    middle = (x + y) / 2
    dot(axes, (middle, top), "+")
    for place, colour in ((first, BRANCH), (second, SHORTCUT)):
        line(axes, (place[0], top), (middle + (0.21 if place[0] > middle else -0.21), top), colour=colour)
    box(axes, (middle, top - 0.85), f"MS-CAM\n{names}", WEIGHT, width=1.9, height=0.75)
    line(axes, (middle, top - 0.21), (middle, top - 0.46))
    low = top - 1.85
    for place, colour, share in ((x, BRANCH, "w"), (y, SHORTCUT, "(1 − w)")):
        side = 0.21 if place < middle else -0.21
        dot(axes, (place, low), "×", colour)
        line(axes, (place, top), (place, low + 0.21), colour=colour)
        line(axes, (middle, top - 1.23), (middle, low), (place + side, low), colour=WEIGHT)
        axes.text((place + middle) / 2, low + 0.2, factor + share, fontsize=8, color=WEIGHT, ha="center")
    bottom = low - 0.8
    dot(axes, (middle, bottom), "+")
    for place, colour in ((x, BRANCH), (y, SHORTCUT)):
        side = -0.21 if place < middle else 0.21
        line(axes, (place, low - 0.21), (place, bottom), (middle + side, bottom), colour=colour)
    if result:
        line(axes, (middle, bottom - 0.21), (middle, bottom - 0.65))
        axes.text(middle, bottom - 0.85, result, fontsize=9, ha="center", va="center")
    return bottom


def inputs(axes: Any, x: float, y: float, top: float, down: float) -> None:
    """Names of the two maps, and the lines that bring them down."""
    for place, text, colour in ((x, "x\nlearned branch", BRANCH), (y, "residual\nshortcut", SHORTCUT)):
        axes.text(place, top + 0.12, text, ha="center", va="bottom", fontsize=9, color=colour)
        axes.plot((place, place), (top, down), color=colour, lw=1.4, zorder=1)


def draw_mscam(axes: Any) -> None:
    axes.text(2, 9.2, "map (N, C, H, W)", ha="center", fontsize=9)
    line(axes, (2, 9.05), (2, 8.6), (0.9, 8.6), (0.9, 6.95))
    line(axes, (2, 9.05), (2, 8.6), (3.1, 8.6), (3.1, 8.1))
    box(axes, (3.1, 7.8), "global mean")
    line(axes, (3.1, 7.48), (3.1, 6.95))
    for place in (0.9, 3.1):
        box(axes, (place, 6.3), "1×1 conv to C/r\nBN, ReLU\n1×1 conv to C\nBN", width=1.75, height=1.25)
    axes.text(0.9, 5.4, "local_att: L", ha="center", fontsize=8.5, color=WEIGHT)
    axes.text(3.1, 5.4, "global_att: g", ha="center", fontsize=8.5, color=WEIGHT)
    dot(axes, (2, 4.55), "+")
    line(axes, (0.9, 5.25), (0.9, 4.55), (1.79, 4.55))
    line(axes, (3.1, 5.25), (3.1, 4.55), (2.21, 4.55))
    line(axes, (2, 4.34), (2, 3.92))
    box(axes, (2, 3.6), "sigmoid", WEIGHT)
    line(axes, (2, 3.28), (2, 2.75), colour=WEIGHT)
    axes.text(2, 2.5, "w = σ(L + g)  (Eq. 3)", ha="center", va="center", fontsize=9, color=WEIGHT)
    axes.set_title("MSCAM", fontsize=11, fontweight="bold")


def draw_aff(axes: Any) -> None:
    inputs(axes, 0.6, 3.4, 8.6, 7.9)
    stage(axes, 7.9, (0.6, 7.9), (3.4, 7.9), "local_att, global_att", "2", "2 x w + 2 residual (1 − w)  (Eq. 4)")
    axes.set_title('AFF: create_fusion("aff", C)', fontsize=11, fontweight="bold")


def draw_iaff(axes: Any) -> None:
    inputs(axes, 0.6, 3.4, 8.6, 7.9)
    first = stage(axes, 7.9, (0.6, 7.9), (3.4, 7.9), "local_att, global_att", "", "")
    top = first - 0.8
    box(axes, (2, top - 0.05), "MS-CAM\nlocal_att2, global_att2", WEIGHT, width=2.1, height=0.75)
    line(axes, (2, first - 0.21), (2, top + 0.36))
    low = top - 1.1
    for place, outer, colour, share in ((0.6, -0.25, BRANCH, "w₂"), (3.4, 4.25, SHORTCUT, "(1 − w₂)")):
        side = 0.21 if place < 2 else -0.21
        line(axes, (place, 8.25), (outer, 8.25), (outer, low), (place - side, low), colour=colour)
        dot(axes, (place, low), "×", colour)
        line(axes, (2, top - 0.45), (2, low), (place + side, low), colour=WEIGHT)
        axes.text((place + 2) / 2, low + 0.2, share, fontsize=8, color=WEIGHT, ha="center")
    bottom = low - 0.8
    dot(axes, (2, bottom), "+")
    for place, colour, side in ((0.6, BRANCH, -0.21), (3.4, SHORTCUT, 0.21)):
        line(axes, (place, low - 0.21), (place, bottom), (2 + side, bottom), colour=colour)
    line(axes, (2, bottom - 0.21), (2, bottom - 0.6))
    axes.text(2, bottom - 0.8, "x w₂ + residual (1 − w₂)  (Eq. 5)", fontsize=9, ha="center", va="center")
    axes.set_title('iAFF: create_fusion("iaff", C)', fontsize=11, fontweight="bold")


def draw(path: Path) -> None:
    """All three side by side."""
    figure = new_figure(12.5, 7.2)
    for axes, part in zip(figure.subplots(1, 3), (draw_mscam, draw_aff, draw_iaff)):
        part(axes)
        axes.set(xlim=(-0.7, 4.7), ylim=(0.9, 9.6), aspect="equal")
        axes.set_axis_off()
    write_figure(figure, path, 100)


if __name__ == "__main__":
    draw(Path(__file__).with_name("fusions.png"))
