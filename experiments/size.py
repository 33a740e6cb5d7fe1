"""Draw IoU against the size of the images: scored runs of several sizes beside what was published at full size.

    python experiments/size.py                                   # our evaluations
    python experiments/size.py aff-160.json aff-256.json --out size.png

EVALUATION is JSON of `gluon-aff evaluate` or `train_seg.py --eval` for checkpoints of segmentation runs, or the folder
with its report.json. Last epochs are filled, others hollow; bars are intervals of 95 % over images; stars are where
"Asymmetric Contextual Modulation" has its FPN on SIRST.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Optional, Tuple

import gluon_aff  # noqa: F401  # before MXNet, which it makes importable
from gluon_aff.cli.arguments import add_figure
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.facts import sirst_figures
from gluon_aff.utils import console
from gluon_aff.utils.figures import label_axes, load_matplotlib, new_figure, plain, write_figure
from gluon_aff.utils.outputs import Reads, guarded
from gluon_aff.utils.resampling import Span, span_text

EVALUATIONS = Path(__file__).resolve().parent / "evaluations"
IOU, NIOU = "IoU", "nIoU"


@dataclass(frozen=True)
class Point:
    """One scored checkpoint; its epoch counts from 1. ``figures``: IoU, nIoU and the IoU of each range of object sizes,
    each with its interval, which is None where there is none."""

    fusion: str
    blocks: int
    size: int
    epoch: int
    epochs: int
    images: int
    figures: Dict[str, Tuple[float, Optional[Span]]]

    @property
    def last(self):
        return self.epoch == self.epochs


def read(place):
    """(report, its point)."""
    path = Path(place).expanduser()
    path = path / "report.json" if path.is_dir() else path
    if not path.is_file():
        raise UsageError(f"{place} is no evaluation: give JSON of `gluon-aff evaluate --json`, or its --out")
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        return report, point_of(report)
    except (OSError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise GluonAFFError(f"{path} is no score of a segmentation run's checkpoint ({error!r})") from error


def point_of(report):
    figures = {name: figure(report[name.lower()], report[f"{name.lower()}_interval"]) for name in (IOU, NIOU)}
    for group in report["sizes"]:
        if group["objects"]:
            name = f"{group['name']} targets, {span_of(group)} of the original"
            figures[name] = figure(group["iou"], group["interval"])
    run, size = report["facts"]["run"], int(report["facts"]["size"].split("x")[0])
    return Point(run["fusion"], run["blocks"], size, int(run["epoch"]) + 1, run["epochs"], report["images"], figures)


def figure(value, span):
    return float(value), None if span is None else (float(span[0]), float(span[1]))


def span_of(group):
    low, high = group["smallest"], group["limit"]
    if high is None:
        return f"from {low:g} px"
    return f"{low:g} to {high:g} px" if low else f"under {high:g} px"


def draw_sizes(points, path, published, dpi):
    """A panel for IoU, nIoU and each range of object sizes; a colour for each fusion, points side by side."""
    by_object = list(dict.fromkeys(name for point in points for name in point.figures if name not in (IOU, NIOU)))
    drawn = new_figure(13, 7)
    grid = drawn.subplots(2, 3, sharey=True)
    panels = [*zip(grid[0], (IOU, NIOU)), *zip(grid[1], by_object)]
    series = sorted({(point.fusion, point.blocks, point.last) for point in points}, key=lambda s: (*s[:2], not s[2]))
    fusions = sorted({each[:2] for each in series})
    colours = {fusion: load_matplotlib().colormaps["tab10"](place) for place, fusion in enumerate(fusions)}
    theirs = sirst_figures()
    sizes = sorted({point.size for point in points} | ({theirs["base_size"]} if published else set()))
    for axes, panel in panels:
        for number, each in enumerate(series):
            aside = 1 + 0.02 * (number - (len(series) - 1) / 2)
            mine = [p for p in points if (p.fusion, p.blocks, p.last) == each and panel in p.figures]
            draw_series(axes, sorted(mine, key=lambda p: p.size), panel, aside, colours[each[:2]], each[2])
        if published and panel in (IOU, NIOU):
            axes.plot(theirs["base_size"], theirs["rows"][0][panel.lower()], "*", color="black", ms=11)
        label_axes(axes, "side of the images (pixels)", panel if panel in (IOU, NIOU) else IOU, panel)
    for axes, _ in panels:
        axes.set_xscale("log")
        axes.set_xlim(0.9 * sizes[0], 1.1 * sizes[-1])
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.tick_params(labelleft=True)
    for axes in (grid[0][2], *grid[1][len(by_object) :]):
        axes.set_axis_off()
    draw_legend(grid[0][2], series, colours, theirs if published else None)
    write_figure(drawn, path, dpi)


def draw_series(axes, points, panel, aside, colour, last):
    line = {"color": colour, "lw": 1}
    places, values = [aside * p.size for p in points], [p.figures[panel][0] for p in points]
    axes.plot(places, values, ls="-" if last else ":", **line)
    for place, value, point in zip(places, values, points):
        span = point.figures[panel][1]
        reach = None if span is None else [[max(0.0, value - span[0])], [max(0.0, span[1] - value)]]
        face = colour if last else "white"
        axes.errorbar(place, value, yerr=reach, marker="o", mfc=face, capsize=3, **line)


def draw_legend(axes, series, colours, theirs):
    from matplotlib.lines import Line2D

    lines = []
    for fusion, blocks, last in series:
        colour = colours[fusion, blocks]
        label = f"{plain(fusion)}, b = {blocks}, {'last' if last else 'best'} epoch"
        style = {"ls": "-", "mfc": colour} if last else {"ls": ":", "mfc": "white"}
        lines.append(Line2D([], [], color=colour, marker="o", label=label, **style))
    if theirs:
        label = f"{theirs['rows'][0]['network']}, b = 3, published:\n{theirs['epochs']} epochs, best epoch"
        lines.append(Line2D([], [], color="black", ls="", marker="*", ms=11, label=label))
    axes.legend(handles=lines, loc="upper left", fontsize="small")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("evaluations", nargs="*", type=Reads(), metavar="EVALUATION", help="(default: those in evaluations/)")
    add("--no-published", action="store_true", help="leave out what was published on SIRST")
    add_figure(parser, "--out", "(default: %(default)s)", "size.png")
    args = parser.parse_args(argv)
    points = [read(place)[1] for place in args.evaluations or sorted(EVALUATIONS.glob("*.json"))]
    with guarded(parser, args):
        draw_sizes(points, Path(args.out), not args.no_published, args.dpi)
    for point in points:
        value, span = point.figures[IOU]
        print(
            f"{point.fusion} b{point.blocks} at {point.size} pixels, epoch {point.epoch} of {point.epochs}: "
            f"IoU {value:.4f}, 95 % {span_text(span)} ({point.images} images)"
        )
    print(args.out)


if __name__ == "__main__":
    console.run_program(main)
