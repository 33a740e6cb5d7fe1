"""Print our own figures in tables, each with its interval, what the interval is over, its images, command and commit.

    python experiments/results.py --format md

They are those of results.json, of the ablation reports here and of evaluations/. `gluon-aff results` prints the paper's
and the authors'.
"""

import argparse
import json
import sys
from pathlib import Path

import gluon_aff  # noqa: F401  # before MXNet, which it makes importable
from gluon_aff.comparison.result_tables import FORMATS, Table, render
from gluon_aff.tasks import task_of_host
from gluon_aff.utils import console
from gluon_aff.utils.resampling import share_interval

sys.path.insert(0, str(Path(__file__).resolve().parent))
from size import IOU, NIOU, read  # noqa: E402

HERE = Path(__file__).resolve().parent
COLUMNS = ("what", "metric", "value", "low", "high", "interval over", "images", "command", "commit")
PAIR_COLUMNS = ("what", "metric", "value", "low", "high", "p (Holm)", "found", *COLUMNS[5:])
NOTE = (
    "low and high: an interval of 95 % over what is named beside it; one over images alone knows nothing of other seeds"
)


def tables(place=HERE):
    """Every figure kept in a folder, and every paired difference."""
    ablations = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(place.glob("*/report.json"))]
    figures = [*singles(place / "results.json")]
    figures += [row for report in ablations for row in means(report)]
    evaluations = [*sorted((place / "evaluations").glob("*.json")), *sorted((place / "unet").glob("*.json"))]
    figures += [row for path in evaluations for row in scores(path)]
    differences = [row for report in ablations for row in pairs(report)]
    digits = dict.fromkeys(("value", "low", "high", "p (Holm)"), 4)
    return [
        Table("ours", "Ours", COLUMNS, figures, (NOTE,), digits),
        Table("ours-paired", "Ours, pair by pair", PAIR_COLUMNS, differences, (NOTE,), digits),
    ]


def singles(path):
    """Rows of records ``what, value, metric, images, command, commit, date``."""
    for record in json.loads(path.read_text(encoding="utf-8")):
        low, high = share_interval(round(record["value"] * record["images"]), record["images"])
        first = (record["what"], record["metric"], record["value"], low, high, "images")
        yield (*first, record["images"], record["command"], record["commit"])


def means(report):
    """Rows of an ablation's strategies."""
    for row in report["rows"]:
        spread = "" if row["final_spread"] is None else f" ± {row['final_spread']:.4f}"
        what = f"{setting(report, row)}, {count(len(row['seeds']), 'seed')}{spread}"
        over = drawn(row["final_low"], "seeds", row.get("images_drawn") and "images")
        span = (row["final_mean"], row["final_low"], row["final_high"], over, row["test_images"])
        yield (what, task_of_host(report["host"]).metric, *span, report["command"], ", ".join(report["commits"]))


def pairs(report):
    """Rows of an ablation's paired differences."""
    metric = f"difference of {task_of_host(report['host']).metric}"
    images = {(row["blocks"], row["strategy"]): row["test_images"] for row in report["rows"]}
    for row in report["contrasts"]:
        what = f"{setting(report, row)}, from {row['baseline']}, {count(row['seeds'], 'pair')}"
        over = drawn(row["low"], "seeds", row["images_drawn"] and "images")
        found = (row["difference"], row["low"], row["high"], row["p_holm"], row["verdict"], over)
        counted = images[row["blocks"], row["strategy"]]
        yield (what, metric, *found, counted, report["command"], ", ".join(report["commits"]))


def scores(path):
    """Rows of a scored checkpoint of a segmentation run."""
    report, point = read(path)
    facts, run = report["facts"], report["facts"]["run"]
    what = (
        f"{run.get('model', 'fpn')} b={point.blocks}, {point.fusion}, {facts['data'].split()[0]} at {point.size} "
        f"pixels, epoch {point.epoch} of {point.epochs}, seed {run['seed']}"
    )
    trained = run.get("commits")
    commit = f"{facts['commit']}, trained at {', '.join(trained)}" if trained else facts["commit"]
    for metric in (IOU, NIOU):
        value, span = point.figures[metric]
        low, high = span or (None, None)
        yield (what, metric, value, low, high, drawn(low, "images"), point.images, facts["command"], commit)


def setting(report, row):
    data = report["data"]
    return f"{report['host']} b={row['blocks']}, {row['strategy']}, {data['name']}, {data['train']} training images"


def count(number, what):
    return f"{number} {what}{'' if number == 1 else 's'}"


def drawn(low, *names):
    """What else could have been drawn, by the interval."""
    return None if low is None else " and ".join(name for name in names if name)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--format", choices=FORMATS, default="md", help="(default: %(default)s)")
    print(render(tables(), parser.parse_args(argv).format), end="")


if __name__ == "__main__":
    console.run_program(main)
