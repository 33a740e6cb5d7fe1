"""An ablation's plot: paired differences with their intervals, and figures against parameters as in Fig. 7."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence

from ..tasks import task_of_host
from ..utils.figures import label_axes, load_matplotlib, new_figure, plain, shifts, write_figure
from ..utils.files import PathLike

Record = Dict[str, Any]


def draw_ablation(report: Record, results: Sequence[Record], path: PathLike) -> None:
    """Both panels, or the second alone where nothing is compared; every run is a small point.

    Parameters
    ----------
    report : dict
        Of `ablation_report.summarize`.
    results : sequence of dict
        Its runs.
    path : path
        Of the figure.
    """
    names = sorted({row["strategy"] for row in report["rows"]})
    colormaps = load_matplotlib().colormaps
    colours = {name: colormaps["tab20" if len(names) > 10 else "tab10"](i) for i, name in enumerate(names)}
    contrasts = report["contrasts"]
    height = max(4.5, 1.6 + 0.34 * len(contrasts))
    figure = new_figure(12 if contrasts else 7, height)
    grid = figure.subplots(1, 2 if contrasts else 1, squeeze=False)[0]
    if contrasts:
        _draw_contrasts(grid[0], report, colours)
    _draw_figures(grid[-1], report, results, colours)
    write_figure(figure, path)


def _draw_contrasts(axes: Any, report: Record, colours: Dict[str, Any]) -> None:
    rows = sorted(report["contrasts"], key=lambda row: (-row["blocks"], row["difference"]))
    several = len({row["blocks"] for row in rows}) > 1
    labels: List[str] = []
    axes.axvline(0, color="0.4", lw=1)
    for place, row in enumerate(rows):
        colour = colours[row["strategy"]]
        if row["low"] is not None:
            axes.plot([100 * row["low"], 100 * row["high"]], [place, place], color=colour, lw=2, solid_capstyle="butt")
        decided = row["verdict"] in ("ahead", "behind")
        axes.plot(100 * row["difference"], place, "o", color=colour, mfc=colour if decided else "white", ms=7, zorder=3)
        points = [100 * pair["difference"] for pair in row["pairs"]]
        axes.plot(points, [place - 0.25] * len(points), "|", color=colour, ms=6, alpha=0.8)
        if row["paper"] is not None:
            axes.plot(100 * row["paper"], place + 0.25, "x", color="0.25", ms=5)
        labels.append(plain(row["strategy"]) + (f", b = {row['blocks']}" if several else ""))
    axes.set_yticks(range(len(rows)))
    axes.set_yticklabels(labels)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    _legend(axes, any(row["paper"] is not None for row in rows))
    metric, baseline = task_of_host(report["host"]).metric, rows[0]["baseline"]
    label_axes(axes, f"difference of {metric} from {baseline} (points)", "", "paired by seed")


def _legend(axes: Any, paper: bool) -> None:
    """Below the axes, where no interval is."""
    from matplotlib.lines import Line2D

    def mark(label: str, **style: Any) -> Any:
        return Line2D([], [], color="0.25", label=label, **{"ls": "", **style})

    lines = [
        mark("mean, 95 % interval", marker="o", mfc="white", ls="-", lw=2),
        mark("decided (Holm)", marker="o"),
        mark("a seed", marker="|"),
        *([mark("paper", marker="x", ms=5)] if paper else []),
    ]
    axes.legend(
        handles=lines, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4, frameon=False
    )


def _draw_figures(axes: Any, report: Record, results: Sequence[Record], colours: Dict[str, Any]) -> None:
    series = {
        name: sorted((row for row in report["rows"] if row["strategy"] == name), key=lambda row: row["blocks"])
        for name in colours
    }
    beside = shifts({name: [row["parameters"] / 1e3 for row in rows] for name, rows in series.items()})
    for number, (name, rows) in enumerate(series.items()):
        colour, aside = colours[name], beside[name]
        marker = "osD^vP*X<>hdp"[number % 13]
        label = plain(name)
        for row in rows:
            x, y = row["parameters"] / 1e3 + aside, 100 * row["final_mean"]
            reach = None if row["final_low"] is None else [[y - 100 * row["final_low"]], [100 * row["final_high"] - y]]
            axes.errorbar(x, y, yerr=reach, color=colour, marker=marker, capsize=3, ls="", label=label, zorder=3)
            label = "_nolegend_"
        mine = [run for run in results if run["strategy"] == name]
        places = [run["parameters"] / 1e3 + aside for run in mine]
        axes.plot(places, [100 * run["final"] for run in mine], ".", color=colour, ms=4, alpha=0.5)
    metric = task_of_host(report["host"]).metric
    blocks = ", ".join(map(str, sorted({row["blocks"] for row in report["rows"]})))
    which = "" if report["held_out"] else ", last epoch"
    title = f"{report['host']}, {report['data']['name']}, b = {blocks}"
    label_axes(axes, "parameters (thousands)", f"test {metric} (%){which}", title)
    axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4, frameon=False)
