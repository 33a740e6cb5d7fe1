"""Report of an ablation grid: figures beside the paper's, paired differences with their intervals, and a plot."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ..facts import paper_accuracy, sirst_figures
from ..nn import fusion_class
from ..tasks import task_of_host
from ..tasks.ablation import at_the_edge
from ..tasks.final_score import Shares
from ..utils.figures import label_axes, load_matplotlib, new_figure, plain, shifts, write_figure
from ..utils.files import PathLike, atomic_write, write_json
from ..utils.resampling import span_text
from ..utils.tables import markdown_table
from .paired import RULE, Key, Measured, contrasts, in_order, interval

Row = Dict[str, Any]
Report = Dict[str, Any]

_BELOW = {"fontsize": "small", "loc": "upper center", "bbox_to_anchor": (0.5, -0.12), "ncols": 4, "frameon": False}


def summarize(
    results: Sequence[Row],
    command: str,
    baseline: str = "add",
    shares: Optional[Mapping[Key, Shares]] = None,
    search: Sequence[Mapping[str, Any]] = (),
) -> Report:
    """Summarise a grid of `tasks.ablation` as JSON's types, from its ``results``, ``shares`` and ``search``.

    A row for each strategy and number of blocks, contrasts with ``baseline``, the search of learning rates, and what
    differs from the paper's setting. ``command`` made the runs.
    """
    groups: Dict[Tuple[int, str], List[Row]] = {}
    for result in sorted(results, key=lambda result: result["seed"]):
        groups.setdefault((result["blocks"], result["strategy"]), []).append(result)
    rows = [_mean_row(runs, shares or {}) for _, runs in sorted(groups.items())]
    rows.sort(key=lambda row: (row["blocks"], -row["final_mean"]))
    return {
        "host": results[0]["host"],
        "command": command,
        "commits": sorted({commit for result in results for commit in result["commits"]}),
        "threads": sorted({str(result["threads"]) for result in results}),
        "data": results[0]["data"],
        "held_out": results[0].get("held_out"),
        "paired_starts": all(result["options"].get("init_by_name", False) for result in results),
        "rows": rows,
        "contrasts": contrasts(results, baseline, shares or {}),
        "search": list(search),
        "differences": [phrase for phrase in differences(results[0]) if not (search and phrase.startswith("lr: "))],
    }


def _mean_row(runs: Sequence[Row], shares: Mapping[Key, Shares]) -> Row:
    """The figures of one strategy over its seeds."""
    first, final = runs[0], [run["final"] for run in runs]
    blocks, strategy = first["blocks"], first["strategy"]
    found = interval([Measured(run["final"], shares.get((blocks, strategy, run["seed"]))) for run in runs])
    niou = ("final_niou", "best_niou") if "final_niou" in first else ()
    return {
        "strategy": strategy,
        "r": first["r"] if fusion_class(strategy).uses_ratio else None,
        "blocks": blocks,
        "lr": first.get("lr", first["options"].get("lr")),
        "parameters": first["parameters"],
        "seeds": sorted(run["seed"] for run in runs),
        "final_mean": statistics.mean(final),
        "final_spread": statistics.stdev(final) if len(final) > 1 else None,
        "final_low": found and max(found.low, 0.0),
        "final_high": found and min(found.high, 1.0),
        "images_drawn": bool(found and found.images),
        "best_mean": statistics.mean(run["best"] for run in runs),
        **{f"{name}_mean": statistics.mean(run[name] for run in runs) for name in niou},
        "test_images": first["test_images"],
        "images_per_second": statistics.median(run["images_per_second"] for run in runs),
        "paper": paper_accuracy(first["host"], blocks, strategy),
    }


def differences(result: Row) -> List[str]:
    """List what in the run is not as in the paper's setting, one phrase each."""
    task, data = task_of_host(result["host"]), result["data"]
    argv = ["--recipe", "paper", "--model", result["host"], "--channel-times", "1", "--blocks", str(result["blocks"])]
    paper = vars(task.options(argv))
    images = f"data: {data['name']}, {data['train']} training and {data['test']} test images"
    outputs = f", {data['classes']} outputs" if "classes" in data else ""
    found = [f"{images}{outputs} (paper: {task.paper_setting})"]
    skipped = {
        *("dataset", "labels", "classes", "train_images", "test_images", "train_split", "val_split"),
        *("fusion", "r", "seed", "save_dir", "recipe"),
    }
    for name, value in result["options"].items():
        if name in paper and name not in skipped and paper[name] != value:
            found.append(f"{name.replace('_', '-')}: {value} (paper: {paper[name]})")
    return found


def write_ablation_report(report: Report, results: Sequence[Row], directory: Path) -> None:
    """Write report.md, report.json (with every single run) and report.png."""
    write_json({**report, "runs": list(results)}, directory / "report.json")
    with atomic_write(directory / "report.md") as handle:
        handle.write(markdown(report))
    draw_ablation(report, results, directory / "report.png")


# As Markdown


def markdown(report: Report) -> str:
    """Return the report as Markdown."""
    lines = [
        f"# Ablation on {report['host']}",
        "",
        f"Command: `{report['command']}`  ",
        f"Commit: {', '.join(report['commits'])}; OMP_NUM_THREADS={', '.join(report['threads'])}",
        "",
        *_figures(report),
        *(_contrasts(report) if report["contrasts"] else []),
        *(_search(report["search"]) if report["search"] else []),
        *("What differs from the paper's setting:", ""),
        *(f"- {phrase}" for phrase in report["differences"]),
        "",
    ]
    if report["data"]["name"] == "sirst":
        data = sirst_figures()
        rows = [{"network": r["network"], "IoU": f"{r['iou']:.3f}", "nIoU": f"{r['niou']:.3f}"} for r in data["rows"]]
        lines += ["Published on SIRST, at another size and length:", "", *_table(rows), ""]
        lines += [f"{data['note']} {data['source']}.", ""]
    return "\n".join(lines)


def _table(rows: Sequence[Row]) -> List[str]:
    """A table of rows by column; None is a dash."""
    return markdown_table(list(rows[0]), [["-" if cell is None else cell for cell in row.values()] for row in rows])


def _number(value: Optional[float], form: str = ".4f") -> Optional[str]:
    return None if value is None else f"{value:{form}}"


def _span(low: Optional[float], high: Optional[float], sign: str = "") -> str:
    return span_text(None if low is None or high is None else (low, high), sign)


def _figures(report: Report) -> List[str]:
    task, held_out = task_of_host(report["host"]), report["held_out"]
    metric = f"{task.metric[0].upper()}{task.metric[1:]}"
    if held_out:
        final, best, names = f"test {task.metric}", "held-out images", ("test nIoU", "held-out nIoU")
        said = (
            f"{metric} on the test images, scored once, by the weights of the epoch that was best on {held_out:,} "
            "held-out training images, whose figure stands beside it"
        )
    else:
        final, best, names = f"final {task.metric}", "best epoch", ("final nIoU", "nIoU of the best")
        said = f"{metric} after the last epoch; the best epoch's mean beside it is chosen on the same test images"
    rows = []
    for row in report["rows"]:
        spread = "" if row["final_spread"] is None else f" ± {row['final_spread']:.4f}"
        niou = (row["final_niou_mean"], row["best_niou_mean"]) if "final_niou_mean" in row else ()
        rows.append(
            {
                "strategy": row["strategy"],
                "r": row["r"] or "-",
                "b": row["blocks"],
                "lr": _number(row["lr"], "g"),
                "parameters": f"{row['parameters']:,}",
                "seeds": len(row["seeds"]),
                final: f"{row['final_mean']:.4f}{spread}",
                "95 % interval": _span(row["final_low"], row["final_high"]),
                best: f"{row['best_mean']:.4f}",
                **dict(zip(names, map(_number, niou))),
                "test images": row["test_images"],
                "images/s": f"{row['images_per_second']:.0f}",
                "paper": _number(row["paper"], ".3f") or "",
            }
        )
    return [
        f"{said}. Mean over seeds ± sample standard deviation; intervals as below. The paper's figures are "
        f"{task.paper_figures}.",
        "",
        *_table(rows),
        "",
    ]


def _contrasts(report: Report) -> List[str]:
    contrasted = report["contrasts"]
    drawn = all(row["images_drawn"] or row["low"] is None for row in contrasted)
    kept = "" if drawn else " Where predictions were not kept, of the seeds alone: the test images are taken as given."
    starts = "" if report["paired_starts"] else ", whose hosts start with different weights"
    rows, seeds = [], []
    for row in contrasted:
        rows.append(
            {
                "strategy": row["strategy"],
                "b": row["blocks"],
                "pairs": row["seeds"],
                "difference": f"{row['difference']:+.4f}",
                "95 % interval": _span(row["low"], row["high"], "+"),
                "p": _number(row["p"], ".3g"),
                "p (Holm)": _number(row["p_holm"], ".3g"),
                "found": row["verdict"],
                "spread": _number(row["spread"]),
                "paper": _number(row["paper"], "+.3f") or "",
            }
        )
        for pair in row["pairs"]:
            test = pair["images"] or dict.fromkeys(("better", "worse", "p_value", "name"))
            seeds.append(
                {
                    **{"strategy": row["strategy"], "b": row["blocks"], "seed": pair["seed"]},
                    **{"difference": f"{pair['difference']:+.4f}", "images better": test["better"]},
                    **{"worse": test["worse"], "p": _number(test["p_value"], ".3g"), "test": test["name"]},
                }
            )
    lines = [
        f"## Differences from {contrasted[0]['baseline']}, pair by pair",
        "",
        f"A pair is two runs of one seed{starts}. The intervals are of 95 % each, by a bootstrap over seeds and test "
        f"images.{kept} p is corrected for the number of strategies by Holm, the intervals are not. {RULE}",
        "",
        *_table(rows),
        "",
    ]
    for blocks in sorted({row["blocks"] for row in contrasted}):
        known = {r["strategy"]: r["paper"] for r in report["rows"] if r["blocks"] == blocks and r["paper"] is not None}
        if len(known) > 1:
            lines += [f"The paper's order, b = {blocks}: {in_order(known)}  "]
    shares = [row["discordant"] for row in contrasted if row["discordant"] is not None]
    if shares:
        lines += ["", f"On {statistics.mean(shares):.1%} of the test images the two networks of a pair differ."]
    lines += ["", "### Each seed", "", *_table(seeds), ""]
    return [*lines, "The p of single pairs are of the test images alone, without correction.", ""]


def _search(rows: Sequence[Mapping[str, Any]]) -> List[str]:
    tried = [
        {
            **{"strategy": row["strategy"], "b": row["blocks"], "lr": f"{row['lr']:g}"},
            **{"held-out figure": _number(row["held_out"]) or "not finite", "": "chosen" if row["chosen"] else ""},
        }
        for row in rows
    ]
    images = max(row["images"] or 0 for row in rows)
    return [
        "## Learning rates",
        "",
        f"Chosen for each strategy by the best epoch on {images:,} held-out training images, in runs of "
        f"{rows[0]['epochs']} epochs with seed {rows[0]['seed']}; of equal ones the lowest.",
        "",
        *_table(tried),
        "",
        *(f"{sentence}\n" for sentence in at_the_edge(rows)),
    ]


# As a plot


def draw_ablation(report: Report, results: Sequence[Row], path: PathLike) -> None:
    """Draw paired differences with their intervals, if any, and figures against parameters; every run is a point."""
    names = sorted({row["strategy"] for row in report["rows"]})
    colormap = load_matplotlib().colormaps["tab20" if len(names) > 10 else "tab10"]
    colours = {name: colormap(number) for number, name in enumerate(names)}
    compared = bool(report["contrasts"])
    figure = new_figure(12 if compared else 7, max(4.5, 1.6 + 0.34 * len(report["contrasts"])))
    grid = figure.subplots(1, 1 + compared, squeeze=False)[0]
    if compared:
        _draw_contrasts(grid[0], report, colours)
    _draw_figures(grid[-1], report, results, colours)
    write_figure(figure, path)


def _draw_contrasts(axes: Any, report: Report, colours: Dict[str, Any]) -> None:
    rows = sorted(report["contrasts"], key=lambda row: (-row["blocks"], row["difference"]))
    several = len({row["blocks"] for row in rows}) > 1
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
    axes.set_yticks(range(len(rows)))
    axes.set_yticklabels([plain(r["strategy"]) + (f", b = {r['blocks']}" if several else "") for r in rows])
    axes.set_ylim(-0.7, len(rows) - 0.3)
    marks: List[Tuple[str, Dict[str, Any]]] = [
        ("mean, 95 % interval", {"marker": "o", "mfc": "white", "ls": "-", "lw": 2}),
        ("decided (Holm)", {"marker": "o"}),
        ("a seed", {"marker": "|"}),
    ]
    marks += [("paper", {"marker": "x", "ms": 5})] if any(row["paper"] is not None for row in rows) else []
    lines = [axes.plot([], [], color="0.25", label=label, **{"ls": "", **style})[0] for label, style in marks]
    axes.legend(handles=lines, **_BELOW)
    metric = task_of_host(report["host"]).metric
    label_axes(axes, f"difference of {metric} from {rows[0]['baseline']} (points)", "", "paired by seed")


def _draw_figures(axes: Any, report: Report, results: Sequence[Row], colours: Dict[str, Any]) -> None:
    """Figures against parameters, as in Fig. 7."""
    series = {
        name: sorted((row for row in report["rows"] if row["strategy"] == name), key=lambda row: row["blocks"])
        for name in colours
    }
    beside = shifts({name: [row["parameters"] / 1e3 for row in rows] for name, rows in series.items()})
    for number, (name, rows) in enumerate(series.items()):
        colour, aside, label = colours[name], beside[name], plain(name)
        marker = "osD^vP*X<>hdp"[number % 13]
        for row in rows:
            x, y = row["parameters"] / 1e3 + aside, 100 * row["final_mean"]
            reach = None if row["final_low"] is None else [[y - 100 * row["final_low"]], [100 * row["final_high"] - y]]
            axes.errorbar(x, y, yerr=reach, color=colour, marker=marker, capsize=3, ls="", label=label, zorder=3)
            label = "_nolegend_"
        mine = [run for run in results if run["strategy"] == name]
        places = [run["parameters"] / 1e3 + aside for run in mine]
        axes.plot(places, [100 * run["final"] for run in mine], ".", color=colour, ms=4, alpha=0.5)
    blocks = ", ".join(map(str, sorted({row["blocks"] for row in report["rows"]})))
    which = "" if report["held_out"] else ", last epoch"
    title = f"{report['host']}, {report['data']['name']}, b = {blocks}"
    label_axes(axes, "parameters (thousands)", f"test {task_of_host(report['host']).metric} (%){which}", title)
    axes.legend(**_BELOW)
