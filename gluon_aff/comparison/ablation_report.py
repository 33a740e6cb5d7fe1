"""Report of an ablation grid: figures beside the paper's, and paired differences with their intervals."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ..facts import paper_accuracy, sirst_figures
from ..nn import fusion_class
from ..tasks import task_of_host
from ..tasks.rate_search import at_the_edge
from ..utils.files import atomic_write, write_json
from ..utils.resampling import span_text
from ..utils.tables import markdown_table
from .ablation_plot import draw_ablation
from .contrasts import AllShares, contrasts, in_order
from .paired import RULE, Measured, interval

Record = Dict[str, Any]


def summarize(
    results: Sequence[Record],
    command: str,
    baseline: str = "add",
    shares: Optional[AllShares] = None,
    search: Sequence[Mapping[str, Any]] = (),
) -> Record:
    """Summarise a grid of ablation runs.

    Parameters
    ----------
    results : sequence of dict
        Of `tasks.ablation.results`, at least one.
    command : str
        What made them.
    baseline : str
        The strategy that the others are compared with.
    shares : mapping, optional
        Of `tasks.ablation.shares`.
    search : sequence of mapping
        Of `tasks.rate_search.found`.

    Returns
    -------
    dict
        JSON's types: a row for each strategy and number of blocks, contrasts with the baseline, the search of learning
        rates, and what differs from the paper's setting.
    """
    groups: Dict[Tuple[int, str], List[Record]] = {}
    for result in sorted(results, key=lambda result: result["seed"]):
        groups.setdefault((result["blocks"], result["strategy"]), []).append(result)
    rows = [_row(runs, shares or {}) for _, runs in sorted(groups.items())]
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


def _row(runs: Sequence[Record], shares: AllShares) -> Record:
    """The figures of one strategy over its seeds."""
    first, final = runs[0], [run["final"] for run in runs]
    blocks, strategy = first["blocks"], first["strategy"]
    found = interval([Measured(run["final"], shares.get((blocks, strategy, run["seed"]))) for run in runs])
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
        **_niou(runs),
        "test_images": first["test_images"],
        "images_per_second": statistics.median(run["images_per_second"] for run in runs),
        "paper": paper_accuracy(first["host"], blocks, strategy),
    }


def _niou(runs: Sequence[Record]) -> Record:
    if "final_niou" not in runs[0]:
        return {}
    return {f"{which}_niou_mean": statistics.mean(run[f"{which}_niou"] for run in runs) for which in ("final", "best")}


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
    lines = [
        f"# Ablation on {report['host']}",
        "",
        f"Command: `{report['command']}`  ",
        f"Commit: {', '.join(report['commits'])}; OMP_NUM_THREADS={', '.join(report['threads'])}",
        "",
        *_figures(report),
        *_contrasts(report),
        *_search(report),
    ]
    lines += ["What differs from the paper's setting:", "", *(f"- {phrase}" for phrase in report["differences"]), ""]
    if report["data"]["name"] == "sirst":
        lines += _published_on_sirst()
    return "\n".join(lines)


def _figures(report: Record) -> List[str]:
    task, held_out = task_of_host(report["host"]), report["held_out"]
    with_niou = "final_niou_mean" in report["rows"][0]
    header = ["strategy", "r", "b", "lr", "parameters", "seeds", f"{'test' if held_out else 'final'} {task.metric}"]
    header += ["95 % interval", "held-out images" if held_out else "best epoch"]
    if with_niou:
        header += ["test nIoU", "held-out nIoU"] if held_out else ["final nIoU", "nIoU of the best"]
    header += ["test images", "images/s", "paper"]
    metric = f"{task.metric[0].upper()}{task.metric[1:]}"
    if held_out:
        said = (
            f"{metric} on the test images, scored once, by the weights of the epoch that was best on {held_out:,} "
            "held-out training images, whose figure stands beside it"
        )
    else:
        said = f"{metric} after the last epoch; the best epoch's mean beside it is chosen on the same test images"
    lines = [
        f"{said}. Mean over seeds ± sample standard deviation; intervals as below. The paper's figures are "
        f"{task.paper_figures}.",
        "",
    ]
    table = []
    for row in report["rows"]:
        spread = "" if row["final_spread"] is None else f" ± {row['final_spread']:.4f}"
        cells = [row["strategy"], row["r"] or "-", row["blocks"], "-" if row["lr"] is None else f"{row['lr']:g}"]
        cells += [f"{row['parameters']:,}", len(row["seeds"])]
        cells += [f"{row['final_mean']:.4f}{spread}", _span(row["final_low"], row["final_high"], "")]
        cells += [f"{row['best_mean']:.4f}"]
        cells += [f"{row['final_niou_mean']:.4f}", f"{row['best_niou_mean']:.4f}"] if with_niou else []
        cells += [row["test_images"], f"{row['images_per_second']:.0f}"]
        cells += ["" if row["paper"] is None else f"{row['paper']:.3f}"]
        table.append(cells)
    return [*lines, *markdown_table(header, table), ""]


def _contrasts(report: Record) -> List[str]:
    rows = report["contrasts"]
    if not rows:
        return []
    drawn = all(row["images_drawn"] or row["low"] is None for row in rows)
    kept = "" if drawn else " Where predictions were not kept, of the seeds alone: the test images are taken as given."
    starts = "" if report["paired_starts"] else ", whose hosts start with different weights"
    header = ["strategy", "b", "pairs", "difference", "95 % interval", "p", "p (Holm)", "found", "spread", "paper"]
    table, seeds = [], []
    for row in rows:
        p_values = ["-" if row[name] is None else f"{row[name]:.3g}" for name in ("p", "p_holm")]
        cells = [row["strategy"], row["blocks"], row["seeds"], f"{row['difference']:+.4f}"]
        cells += [_span(row["low"], row["high"], "+"), *p_values, row["verdict"]]
        cells += ["-" if row["spread"] is None else f"{row['spread']:.4f}"]
        table.append([*cells, "" if row["paper"] is None else f"{row['paper']:+.3f}"])
        seeds += [[row["strategy"], row["blocks"], *_pair(pair)] for pair in row["pairs"]]
    lines = [
        f"## Differences from {rows[0]['baseline']}, pair by pair",
        "",
        f"A pair is two runs of one seed{starts}. The intervals are of 95 % each, by a bootstrap over seeds and test "
        f"images.{kept} p is corrected for the number of strategies by Holm, the intervals are not. {RULE}",
        "",
        *markdown_table(header, table),
        "",
    ]
    for blocks in sorted({row["blocks"] for row in rows}):
        known = {r["strategy"]: r["paper"] for r in report["rows"] if r["blocks"] == blocks and r["paper"] is not None}
        if len(known) > 1:
            lines += [f"The paper's order, b = {blocks}: {in_order(known)}  "]
    shares = [row["discordant"] for row in rows if row["discordant"] is not None]
    if shares:
        lines += ["", f"On {statistics.mean(shares):.1%} of the test images the two networks of a pair differ."]
    lines += ["", "### Each seed", ""]
    names = ["strategy", "b", "seed", "difference", "images better", "worse", "p", "test"]
    return [
        *lines,
        *markdown_table(names, seeds),
        "",
        "The p of single pairs are of the test images alone, without correction.",
        "",
    ]


def _pair(pair: Record) -> List[str]:
    test = pair["images"]
    cells = [str(pair["seed"]), f"{pair['difference']:+.4f}"]
    return [
        *cells,
        *(["-"] * 4 if test is None else [test["better"], test["worse"], f"{test['p_value']:.3g}", test["name"]]),
    ]


def _span(low: Optional[float], high: Optional[float], sign: str) -> str:
    return span_text(None if low is None or high is None else (low, high), sign)


def _search(report: Record) -> List[str]:
    rows = report["search"]
    if not rows:
        return []
    table = [
        [
            *(row["strategy"], row["blocks"], f"{row['lr']:g}"),
            "not finite" if row["held_out"] is None else f"{row['held_out']:.4f}",
            "chosen" if row["chosen"] else "",
        ]
        for row in rows
    ]
    images = max(row["images"] or 0 for row in rows)
    return [
        "## Learning rates",
        "",
        f"Chosen for each strategy by the best epoch on {images:,} held-out training images, in runs of "
        f"{rows[0]['epochs']} epochs with seed {rows[0]['seed']}; of equal ones the lowest.",
        "",
        *markdown_table(["strategy", "b", "lr", "held-out figure", ""], table),
        "",
        *(f"{sentence}\n" for sentence in at_the_edge(rows)),
    ]


def _published_on_sirst() -> List[str]:
    data = sirst_figures()
    rows = [(row["network"], f"{row['iou']:.3f}", f"{row['niou']:.3f}") for row in data["rows"]]
    table = markdown_table(("network", "IoU", "nIoU"), rows)
    return ["Published on SIRST, at another size and length:", "", *table, "", f"{data['note']} {data['source']}.", ""]


def write_ablation_report(report: Record, results: Sequence[Record], directory: Path) -> None:
    """report.md, report.json (with every single run) and report.png."""
    write_json({**report, "runs": list(results)}, directory / "report.json")
    with atomic_write(directory / "report.md") as handle:
        handle.write(markdown(report))
    draw_ablation(report, results, directory / "report.png")
