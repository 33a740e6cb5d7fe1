"""Our own figures in tables, each with its interval, what the interval is over, its images, command and commit."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from ..facts import our_ablations, our_evaluations, our_results
from ..tasks import task_of_host
from ..utils.resampling import share_interval
from .size_plot import IOU, NIOU, point_of

Row = Tuple[Any, ...]

COLUMNS = ("what", "metric", "value", "low", "high", "interval over", "images", "command", "commit")
PAIR_COLUMNS = ("what", "metric", "value", "low", "high", "p (Holm)", "found", *COLUMNS[5:])


def figures() -> List[Row]:
    """A row of `COLUMNS` for every figure of results.json, of the ablations and of the evaluations in params/."""
    return [*_single(), *_ablations(), *_evaluations()]


def pairs() -> List[Row]:
    """A row of `PAIR_COLUMNS` for every paired difference of the ablations in params/."""
    rows = []
    for report in our_ablations().values():
        metric = f"difference of {task_of_host(report['host']).metric}"
        images = {(row["blocks"], row["strategy"]): row["test_images"] for row in report["rows"]}
        for row in report["contrasts"]:
            what = f"{_setting(report, row)}, from {row['baseline']}, {_seeds(row['seeds'], 'pair')}"
            over = _over(row["low"], row["images_drawn"])
            counted = images[row["blocks"], row["strategy"]]
            found = (row["p_holm"], row["verdict"], over, counted, report["command"], _commits(report))
            rows.append((what, metric, row["difference"], row["low"], row["high"], *found))
    return rows


def _single() -> List[Row]:
    rows = []
    for record in our_results():
        low, high = share_interval(round(record["value"] * record["images"]), record["images"])
        what, metric, value = record["what"], record["metric"], record["value"]
        rows.append((what, metric, value, low, high, "images", record["images"], record["command"], record["commit"]))
    return rows


def _ablations() -> List[Row]:
    rows = []
    for report in our_ablations().values():
        metric = task_of_host(report["host"]).metric
        for row in report["rows"]:
            spread = "" if row["final_spread"] is None else f" ± {row['final_spread']:.4f}"
            what = f"{_setting(report, row)}, {_seeds(len(row['seeds']), 'seed')}{spread}"
            low, high = row["final_low"], row["final_high"]
            over = _over(low, row.get("images_drawn", False))
            counted = (row["test_images"], report["command"], _commits(report))
            rows.append((what, metric, row["final_mean"], low, high, over, *counted))
    return rows


def _evaluations() -> List[Row]:
    rows = []
    for place, report in our_evaluations().items():
        point = point_of(report, place)
        facts = report["facts"]
        data = facts["data"].split()[0]
        epoch = f"epoch {point.epoch} of {point.epochs}"
        what = (
            f"fpn b={point.blocks}, {point.fusion}, {data} at {point.size} pixels, {epoch}, seed {facts['run']['seed']}"
        )
        trained = facts["run"].get("commits")
        commit = f"{facts['commit']}, trained at {', '.join(trained)}" if trained else facts["commit"]
        for metric in (IOU, NIOU):
            value, span = point.figures[metric]
            low, high = span or (None, None)
            over = _over(low, True, seeds=False)
            rows.append((what, metric, value, low, high, over, point.images, facts["command"], commit))
    return rows


def _setting(report: Dict[str, Any], row: Dict[str, Any]) -> str:
    data = report["data"]
    return f"{report['host']} b={row['blocks']}, {row['strategy']}, {data['name']}, {data['train']} training images"


def _seeds(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _over(low: Optional[float], images: bool, seeds: bool = True) -> Optional[str]:
    """What else could have been drawn, by the interval."""
    names = [name for name, drawn in (("seeds", seeds), ("images", images)) if drawn]
    return None if low is None else " and ".join(names)


def _commits(report: Dict[str, Any]) -> str:
    return ", ".join(report["commits"])
