"""Report of an ablation grid: a table beside the paper's figures, a plot like its Fig. 7, rank correlations."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ..facts import paper_accuracy, sirst_figures
from ..nn import fusion_class
from ..tasks import task_of_host
from ..utils.figures import label_axes, new_figure, plain, write_figure
from ..utils.files import PathLike, atomic_write, write_json
from ..utils.tables import markdown_table

Record = Dict[str, Any]


def summarize(results: Sequence[Record], command: str) -> Record:
    """Summarise a grid of ablation runs.

    Parameters
    ----------
    results : sequence of dict
        Of `tasks.ablation.results`, at least one.
    command : str
        What made them.

    Returns
    -------
    dict
        JSON's types: a row for each strategy and number of blocks, rank correlations with the paper, and what differs
        from the paper's setting.
    """
    groups: Dict[Tuple[int, str], List[Record]] = {}
    for result in results:
        groups.setdefault((result["blocks"], result["strategy"]), []).append(result)
    host = results[0]["host"]
    rows = []
    for (blocks, strategy), runs in sorted(groups.items()):
        final = [run["final"] for run in runs]
        rows.append(
            {
                "strategy": strategy,
                "r": runs[0]["r"] if fusion_class(strategy).uses_ratio else None,
                "blocks": blocks,
                "parameters": runs[0]["parameters"],
                "seeds": sorted(run["seed"] for run in runs),
                "final_mean": statistics.mean(final),
                "final_spread": statistics.stdev(final) if len(final) > 1 else None,
                "best_mean": statistics.mean(run["best"] for run in runs),
                **_niou(runs),
                "test_images": runs[0]["test_images"],
                "images_per_second": statistics.median(run["images_per_second"] for run in runs),
                "paper": paper_accuracy(host, blocks, strategy),
            }
        )
    rows.sort(key=lambda row: (row["blocks"], -row["final_mean"]))
    return {
        "host": host,
        "command": command,
        "commits": sorted({commit for result in results for commit in result["commits"]}),
        "threads": sorted({str(result["threads"]) for result in results}),
        "data": results[0]["data"],
        "rows": rows,
        "rank_correlation": {str(b): rank_correlation([r for r in rows if r["blocks"] == b]) for b in _blocks(rows)},
        "differences": differences(results[0]),
    }


def _niou(runs: Sequence[Record]) -> Record:
    if "final_niou" not in runs[0]:
        return {}
    return {f"{which}_niou_mean": statistics.mean(run[f"{which}_niou"] for run in runs) for which in ("final", "best")}


def _blocks(rows: Sequence[Record]) -> List[int]:
    return sorted({row["blocks"] for row in rows})


def rank_correlation(rows: Sequence[Record]) -> Optional[float]:
    """Spearman's rho of our final means with the paper's accuracies; None for fewer than three or for equal ones."""
    from scipy.stats import spearmanr

    pairs = [(row["final_mean"], row["paper"]) for row in rows if row["paper"] is not None]
    if len(pairs) < 3 or any(len(set(side)) == 1 for side in zip(*pairs)):
        return None
    return float(spearmanr(*zip(*pairs))[0])


def differences(result: Record) -> List[str]:
    """What in the run is not as in the paper's setting, one phrase each."""
    blocks = str(result["blocks"])
    argv = ["--recipe", "paper", "--model", result["host"], "--channel-times", "1", "--blocks", blocks]
    task = task_of_host(result["host"])
    paper = vars(task.options(argv))
    mine = result["options"]
    data = result["data"]
    images = f"data: {data['name']}, {data['train']} training and {data['test']} test images"
    outputs = f", {data['classes']} outputs" if "classes" in data else ""
    found = [f"{images}{outputs} (paper: {task.paper_setting})"]
    skipped = {
        *("dataset", "labels", "classes", "train_images", "test_images", "train_split", "val_split"),
        *("fusion", "r", "seed", "save_dir", "recipe"),
    }
    for name, value in mine.items():
        if name in paper and name not in skipped and paper[name] != value:
            found.append(f"{name.replace('_', '-')}: {value} (paper: {paper[name]})")
    return found


def markdown(report: Record) -> str:
    """The report as Markdown."""
    task = task_of_host(report["host"])
    with_niou = "final_niou_mean" in report["rows"][0]
    header = ["strategy", "r", "b", "parameters", "seeds", f"final {task.metric}", "best epoch"]
    header += ["final nIoU", "nIoU of the best"] if with_niou else []
    header += ["test images", "images/s", "paper"]
    lines = [
        f"# Ablation on {report['host']}",
        "",
        f"Command: `{report['command']}`  ",
        f"Commit: {', '.join(report['commits'])}; OMP_NUM_THREADS={', '.join(report['threads'])}",
        "",
        f"{task.metric[0].upper()}{task.metric[1:]} after the last epoch, mean over seeds ± sample standard deviation; "
        f"the best epoch's mean beside it is chosen on the same test images. The paper's figures are "
        f"{task.paper_figures}.",
        "",
    ]
    table = []
    for row in report["rows"]:
        spread = "" if row["final_spread"] is None else f" ± {row['final_spread']:.4f}"
        cells = [row["strategy"], row["r"] or "-", row["blocks"], f"{row['parameters']:,}", len(row["seeds"])]
        cells += [f"{row['final_mean']:.4f}{spread}", f"{row['best_mean']:.4f}"]
        cells += [f"{row['final_niou_mean']:.4f}", f"{row['best_niou_mean']:.4f}"] if with_niou else []
        cells += [row["test_images"], f"{row['images_per_second']:.0f}"]
        cells += ["" if row["paper"] is None else f"{row['paper']:.3f}"]
        table.append(cells)
    lines += [*markdown_table(header, table), ""]
    for blocks, rho in report["rank_correlation"].items():
        rows = [row for row in report["rows"] if str(row["blocks"]) == blocks]
        ours = " > ".join(row["strategy"] for row in rows)
        known = sorted((row for row in rows if row["paper"] is not None), key=lambda row: -row["paper"])
        lines += [f"b = {blocks}: {ours}  ", f"paper: {' > '.join(row['strategy'] for row in known)}  "]
        lines += ["rank correlation (Spearman): " + ("not defined" if rho is None else f"{rho:.2f}"), ""]
    lines += ["What differs from the paper's setting:", "", *(f"- {phrase}" for phrase in report["differences"]), ""]
    if report["data"]["name"] == "sirst":
        lines += _published_on_sirst()
    return "\n".join(lines)


def _published_on_sirst() -> List[str]:
    data = sirst_figures()
    rows = [(row["network"], f"{row['iou']:.3f}", f"{row['niou']:.3f}") for row in data["rows"]]
    table = markdown_table(("network", "IoU", "nIoU"), rows)
    return ["Published on SIRST, at another size and length:", "", *table, "", f"{data['note']} {data['source']}.", ""]


def draw_ablation(report: Record, path: PathLike) -> None:
    """Accuracy against parameters as in the paper's Fig. 7, a line for each strategy, with error bars over seeds."""
    figure = new_figure(7, 4.5)
    axes = figure.subplots()
    for number, strategy in enumerate(sorted({row["strategy"] for row in report["rows"]})):
        rows = sorted((row for row in report["rows"] if row["strategy"] == strategy), key=lambda row: row["blocks"])
        axes.errorbar(
            [row["parameters"] / 1e3 for row in rows],
            [100 * row["final_mean"] for row in rows],
            yerr=[100 * (row["final_spread"] or 0) for row in rows],
            marker="osD^vP*X<>hdp"[number % 13],
            capsize=3,
            label=plain(strategy),
        )
    title = f"{report['host']}, {report['data']['name']}, b = {', '.join(map(str, _blocks(report['rows'])))}"
    metric = task_of_host(report["host"]).metric
    label_axes(axes, "parameters (thousands)", f"test {metric} (%), last epoch", title)
    axes.legend(fontsize="small", ncols=2)
    write_figure(figure, path)


def write_ablation_report(report: Record, results: Sequence[Record], directory: Path) -> None:
    """report.md, report.json (with every single run) and report.png."""
    write_json({**report, "runs": list(results)}, directory / "report.json")
    with atomic_write(directory / "report.md") as handle:
        handle.write(markdown(report))
    draw_ablation(report, directory / "report.png")
