"""IoU against the size of the images: scored runs of several sizes beside what was published at full size."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from ..errors import GluonAFFError, UsageError
from ..facts import our_evaluations, sirst_figures
from ..utils.figures import DPI, label_axes, load_matplotlib, new_figure, plain, write_figure
from ..utils.files import PathLike
from ..utils.resampling import Span

IOU, NIOU = "IoU", "nIoU"


@dataclass(frozen=True)
class SizePoint:
    """One scored checkpoint.

    Attributes
    ----------
    fusion, blocks : str, int
        Of its network.
    size : int
        Side of the images in pixels, as they were scored.
    epoch, epochs : int
        The checkpoint's, counted from 1, and of the whole run.
    images : int
        How many were scored.
    figures : dict
        "IoU" and "nIoU", and the IoU of each range of object sizes, such as "small targets, under 16 px of the
        original": a value with its interval of 95 %, which is None where there is none.
    """

    fusion: str
    blocks: int
    size: int
    epoch: int
    epochs: int
    images: int
    figures: Dict[str, Tuple[float, Optional[Span]]]

    @property
    def last(self) -> bool:
        """Whether the run ended with it."""
        return self.epoch == self.epochs


def read_points(places: Sequence[str]) -> List[SizePoint]:
    """The points of evaluations.

    Parameters
    ----------
    places : sequence of str
        JSON of ``gluon-aff evaluate`` or ``train_seg.py --eval``, or the directory with its report.json; when empty,
        the evaluations in params/.

    Raises
    ------
    UsageError
        For a place that is none.
    GluonAFFError
        For what cannot be read, or is no score of a segmentation run's checkpoint.
    """
    if not places:
        return [point_of(report, place) for place, report in our_evaluations().items()]
    points = []
    for place in places:
        path = Path(place).expanduser()
        path = path / "report.json" if path.is_dir() else path
        if not path.is_file():
            raise UsageError(f"{place} is no evaluation: give JSON of `gluon-aff evaluate --json`, or its --out")
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise GluonAFFError(f"{path} cannot be read ({error})") from error
        points.append(point_of(report, str(path)))
    return points


def point_of(report: Any, place: str) -> SizePoint:
    """What an evaluation's JSON says, read at ``place``. Raises GluonAFFError for another's."""
    try:
        run = report["facts"]["run"]
        figures = {
            IOU: _figure(report["iou"], report["iou_interval"]),
            NIOU: _figure(report["niou"], report["niou_interval"]),
        }
        figures.update(_by_object_size(report))
        size = int(report["facts"]["size"].split("x")[0])
        ended = int(run["epoch"]) + 1
        return SizePoint(run["fusion"], run["blocks"], size, ended, run["epochs"], report["images"], figures)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise GluonAFFError(
            f"{place} is no score of a segmentation run's checkpoint ({error!r}): score one with `gluon-aff evaluate "
            "--weights RUN --json FILE`"
        ) from error


def _figure(value: Any, span: Any) -> Tuple[float, Optional[Span]]:
    return float(value), None if span is None else (float(span[0]), float(span[1]))


def _by_object_size(report: Dict[str, Any]) -> Iterator[Tuple[str, Tuple[float, Optional[Span]]]]:
    for group in report["sizes"]:
        if group["objects"]:
            yield f"{group['name']} targets, {_reach(group)} of the original", _figure(group["iou"], group["interval"])


def _reach(group: Dict[str, Any]) -> str:
    low, high = group["smallest"], group["limit"]
    if high is None:
        return f"from {low:g} px"
    return f"{low:g} to {high:g} px" if low else f"under {high:g} px"


def draw_sizes(points: Sequence[SizePoint], path: PathLike, published: bool = True, dpi: int = DPI) -> None:
    """A panel for IoU, nIoU and each range of object sizes; a colour for each fusion.

    Last epochs are filled, others hollow; bars are intervals of 95 % over images. Points of one fusion stand a little
    beside each other. ``published``: stars where "Asymmetric Contextual Modulation" has its FPN on SIRST.

    Raises
    ------
    UsageError
        When there is nothing to draw.
    """
    if not points:
        raise UsageError("no evaluations to draw: name some, there are none in params/")
    by_object = list(dict.fromkeys(name for point in points for name in point.figures if name not in (IOU, NIOU)))
    figure = new_figure(13, 7)
    grid = figure.subplots(2, 3, sharey=True)
    panels = [*zip(grid[0], (IOU, NIOU)), *zip(grid[1], by_object)]
    series = sorted({(point.fusion, point.blocks, point.last) for point in points}, key=lambda s: (*s[:2], not s[2]))
    fusions = sorted({each[:2] for each in series})
    colours = {fusion: load_matplotlib().colormaps["tab10"](place) for place, fusion in enumerate(fusions)}
    sizes = sorted({point.size for point in points})
    for axes, panel in panels:
        for number, each in enumerate(series):
            aside = 1 + 0.02 * (number - (len(series) - 1) / 2)
            mine = [p for p in points if (p.fusion, p.blocks, p.last) == each and panel in p.figures]
            _draw(axes, sorted(mine, key=lambda p: p.size), panel, aside, colours[each[:2]], each[2])
        if published and panel in (IOU, NIOU):
            theirs = sirst_figures()
            axes.plot(theirs["base_size"], theirs["rows"][0][panel.lower()], "*", color="black", ms=11)
            sizes = sorted({*sizes, theirs["base_size"]})
        label_axes(axes, "side of the images (pixels)", panel if panel in (IOU, NIOU) else IOU, panel)
    for axes, _ in panels:
        axes.set_xscale("log")
        axes.set_xlim(0.9 * sizes[0], 1.1 * sizes[-1])
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.tick_params(labelleft=True)
    for axes in (grid[0][2], *grid[1][len(by_object) :]):
        axes.set_axis_off()
    _legend(grid[0][2], series, colours, published)
    write_figure(figure, path, dpi)


def _draw(axes: Any, points: Sequence[SizePoint], panel: str, aside: float, colour: Any, last: bool) -> None:
    axes.plot(
        [aside * p.size for p in points],
        [p.figures[panel][0] for p in points],
        color=colour,
        lw=1,
        ls="-" if last else ":",
    )
    for point in points:
        value, span = point.figures[panel]
        reach = None if span is None else [[max(0.0, value - span[0])], [max(0.0, span[1] - value)]]
        face = colour if last else "white"
        axes.errorbar(aside * point.size, value, yerr=reach, color=colour, marker="o", mfc=face, capsize=3, lw=1)


def _legend(axes: Any, series: Sequence[Tuple[str, int, bool]], colours: Dict[Any, Any], published: bool) -> None:
    from matplotlib.lines import Line2D

    lines = []
    for fusion, blocks, last in series:
        colour = colours[fusion, blocks]
        label = f"{plain(fusion)}, b = {blocks}, {'last' if last else 'best'} epoch"
        style = {"ls": "-", "mfc": colour} if last else {"ls": ":", "mfc": "white"}
        lines.append(Line2D([], [], color=colour, marker="o", label=label, **style))
    if published:
        theirs = sirst_figures()
        label = f"{theirs['rows'][0]['network']}, b = 3, published:\n{theirs['epochs']} epochs, best epoch"
        lines.append(Line2D([], [], color="black", ls="", marker="*", ms=11, label=label))
    axes.legend(handles=lines, loc="upper left", fontsize="small")
