"""The paper's Fig. 7: accuracy against parameters as networks get deeper, a line for each strategy, ours and theirs."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any, Collection, Dict, Iterator, List, Optional, Sequence, Tuple

from ..errors import GluonAFFError, UsageError
from ..facts import paper_accuracy, paper_tables
from ..models import build_model, model_entry
from ..models.common import ClassificationNet, count_parameters
from ..nn import canonical_fusion
from ..tasks import list_ablation_hosts, task_of_host
from ..tasks.ablation import bottleneck_ratio
from ..training.history import HISTORY, History
from ..utils.figures import DPI, label_axes, load_matplotlib, new_figure, plain, shifts, write_figure
from ..utils.files import PathLike
from ..utils.resampling import Span
from .paired import Measured, interval


@dataclass(frozen=True)
class DepthPoint:
    """One network of one depth.

    ``parameters`` are the whole network's. ``accuracy`` (of an FPN the IoU) is the mean over ``runs`` seeds, in 0..1,
    of the last epoch or of the epoch that was best on held-out images; ``std`` their sample standard deviation, None
    for a single run; ``interval`` is of 95 %, over seeds, of a report also over test images where their shares were
    kept. ``data``: what it was trained and tested on, of a report behind the name of its directory.
    """

    host: str
    strategy: str
    blocks: int
    parameters: int
    accuracy: float
    std: Optional[float]
    runs: int
    data: str
    interval: Optional[Span] = None


def paper_points(host: str, strategies: Optional[Collection[str]] = None) -> List[DepthPoint]:
    """Return the paper's figures (Tables 3 and 4) on one network, of all fusions or of ``strategies``.

    Parameters are counted on our networks, with the table's bottleneck ratios and a 100-way head.
    """
    task, tables = task_of_host(host), paper_tables()
    budgets = dict.fromkeys(tables["table4_integration"]["rows"], "table4")  # which counts where both have a strategy
    budgets.update({name: "table3" for name in tables["table3_aggregation_scale"]["rows"] if name not in budgets})
    model = task.ablation_hosts[host]
    options = {"classes": 100} if issubclass(model_entry(model).network, ClassificationNet) else {}
    points = []
    for strategy, budget in budgets.items():
        if strategies is not None and strategy not in strategies:
            continue
        r = bottleneck_ratio(budget, strategy)
        for blocks in range(1, 5):
            value = paper_accuracy(host, blocks, strategy)
            if value is not None:
                net = build_model(model, fusion=strategy, r=r, blocks=blocks, channel_times=1, **options)
                parameters = count_parameters(net)[0]
                points.append(DepthPoint(host, strategy, blocks, parameters, value, None, 1, task.paper_setting))
    return points


def our_points(places: Sequence[str]) -> List[DepthPoint]:
    """Return our figures, as means over seeds, of ablation reports (report.json or its directory) and runs.

    Raises UsageError for a place that is neither, GluonAFFError for what cannot be read or has no finished epoch.
    """
    points: List[DepthPoint] = []
    runs: Dict[Tuple, List[float]] = {}
    for place in places:
        path = Path(place).expanduser()
        path = path / "report.json" if (path / "report.json").is_file() else path
        if (path / HISTORY).is_file():
            network, accuracy = _of_run(path)
            runs.setdefault(network, []).append(accuracy)
        elif path.is_file():
            points += _of_report(path.resolve())
        else:
            raise UsageError(f"{place} is neither a report of `gluon-aff ablation` nor a run: give their directories")
    for (host, strategy, blocks, parameters, data), values in runs.items():
        std = statistics.stdev(values) if len(values) > 1 else None
        mean, found = statistics.mean(values), interval([Measured(value) for value in values])
        span = None if found is None else (max(0.0, found.low), min(1.0, found.high))
        points.append(DepthPoint(host, strategy, blocks, parameters, mean, std, len(values), data, span))
    return points


def _of_report(path: Path) -> Iterator[DepthPoint]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        host, rows = report["host"], report["rows"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise GluonAFFError(f"{path} is no report of `gluon-aff ablation` ({error!r})") from error
    name = path.parent.name if path.stem == "report" else path.stem
    data = f"{name}: {_data(report['data'])}"
    for row in rows:
        mean, std, runs = row["final_mean"], row["final_spread"], len(row["seeds"])
        span = None if row.get("final_low") is None else (row["final_low"], row["final_high"])
        yield DepthPoint(host, row["strategy"], row["blocks"], row["parameters"], mean, std, runs, data, span)


def _of_run(path: Path) -> Tuple[Tuple, float]:
    """((host, strategy, blocks, parameters, data), figure)."""
    history = History(path / HISTORY)
    header, epochs = history.header(), history.epochs()
    if not epochs:
        raise GluonAFFError(f"{path} has no finished epoch yet: leave it out, or wait for one")
    options, hosts = header.get("options", {}), list_ablation_hosts()
    if options.get("model") not in hosts:
        raise UsageError(f"{path} trained {options.get('model')!r}: the figure has {', '.join(hosts)}")
    network = (options["model"], canonical_fusion(options["fusion"]), options["blocks"], header["parameters"])
    return (*network, _data(header["data"])), epochs[-1]["val"]


def _data(data: Dict[str, Any]) -> str:
    classes = f", {data['classes']} classes" if "classes" in data else ""
    return f"{data['name']}{classes}, {data['train']} images"


def draw_depth(ours: Sequence[DepthPoint], theirs: Sequence[DepthPoint], path: PathLike, dpi: int = DPI) -> None:
    """Draw a panel for each report, the runs of each host and data set, and the paper's; a colour for each strategy.

    Ours are markers with their interval of 95 %, hollow where there is but one seed; a line through them would show
    noise as if it were a course. Strategies stand a little beside each other. Intervals of two seeds, which are very
    wide, may end beyond the panel. The paper's figures, one for each network, are joined by dashes. Raises UsageError
    when there is nothing to draw.
    """
    panels = [
        (host, whose, data, [point for point in points if (point.host, point.data) == (host, data)])
        for host in list_ablation_hosts()
        for whose, points in (("ours", ours), ("the paper's", theirs))
        for data in sorted({point.data for point in points if point.host == host})  # other data share no axis
    ]
    if not panels:
        raise UsageError("no figures to draw: name reports or runs, or one of the paper's networks with --host")
    strategies = sorted({point.strategy for point in (*ours, *theirs)})
    colormaps = load_matplotlib().colormaps
    colours = {name: colormaps["tab20" if len(strategies) > 10 else "tab10"](i) for i, name in enumerate(strategies)}
    columns = math.ceil(math.sqrt(len(panels)))
    rows = -(-len(panels) // columns)
    figure = new_figure(4.6 * columns + 1.8, 4.2 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (host, whose, data, drawn) in zip(grid, panels):
        series = {name: [p for p in drawn if p.strategy == name] for name in strategies}
        aside = shifts({name: [p.parameters / 1e3 for p in points] for name, points in series.items() if points})
        for name in aside:
            if whose == "ours":
                _draw_ours(axes, series[name], colours[name], aside[name])
            else:
                _draw_theirs(axes, series[name], colours[name])
        axes.set_ylim(*_reach(drawn))
        label_axes(axes, "parameters (thousands)", f"{task_of_host(host).metric} (%)")
        axes.set_title(plain("\n".join([f"{host}, {whose}", *wrap(data, 48)])), fontsize=9)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    _legend(figure, colours, ours, bool(theirs))
    write_figure(figure, path, dpi)


def _reach(points: Sequence[DepthPoint]) -> Span:
    """The panel's lowest and highest accuracy (%): of all points, and of the intervals of three seeds and more."""
    values = [point.accuracy for point in points]
    for point in points:
        if point.interval is not None and point.runs > 2:
            values += point.interval
    margin = max(0.01, 0.1 * (max(values) - min(values)))
    return 100 * (min(values) - margin), 100 * (max(values) + margin)


def _draw_ours(axes: Any, points: Sequence[DepthPoint], colour: Any, aside: float) -> None:
    for point in points:
        span, value = point.interval, 100 * point.accuracy
        reach = None if span is None else [[value - 100 * span[0]], [100 * span[1] - value]]
        style = {"color": colour, "marker": "o", "mfc": "none" if point.runs == 1 else colour, "ms": 6, "capsize": 3}
        axes.errorbar(point.parameters / 1e3 + aside, value, yerr=reach, **style)


def _draw_theirs(axes: Any, points: Sequence[DepthPoint], colour: Any) -> None:
    line = sorted(points, key=lambda point: point.parameters)
    x, y = [point.parameters / 1e3 for point in line], [100 * point.accuracy for point in line]
    axes.plot(x, y, color=colour, marker=".", ls="--", lw=1)


def _legend(figure: Any, colours: Dict[str, Any], ours: Sequence[DepthPoint], theirs: bool) -> None:
    from matplotlib.lines import Line2D

    def marked(label: str, **style: Any) -> Any:
        return Line2D([], [], color="black", label=label, **style)

    lines = [Line2D([], [], color=colour, lw=2, label=name) for name, colour in colours.items()]
    if any(point.runs > 1 for point in ours):
        lines.append(marked("ours: mean over seeds,\n95 % interval", ls="-", marker="o"))
    if any(point.runs == 1 for point in ours):
        lines.append(marked("ours: one seed", ls="", marker="o", mfc="none"))
    if theirs:
        lines.append(marked("paper", ls="--", marker="."))
    figure.legend(handles=lines, loc="outside right upper", fontsize="small")
