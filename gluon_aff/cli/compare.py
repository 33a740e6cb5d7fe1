"""``gluon-aff compare``, ``plot`` and ``results``: runs beside the authors' and the paper's figures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Dict, Tuple

from ..errors import UsageError
from ..utils.outputs import Reads, Writes, claim
from ..utils.tables import text_table
from .arguments import add_figure, add_json, add_number, names_of, print_report

_UPDATES = 100  # per epoch: the drawn curve hardly depends on it, and no data are needed


def compare(args: argparse.Namespace) -> int:
    from ..comparison import Comparison, draw_comparison, fitting, open_curve, reference, references

    if args.list:
        print("\n".join(references()))
        return 0
    if not args.run_name:
        raise UsageError("nothing to compare: gluon-aff compare RUN --with NAME (--list prints the names)")
    run, curve = Path(args.run_name), open_curve(args.run_name, args.segment)
    if not args.references:
        if args.plot:
            raise UsageError("--plot draws a comparison: add --with NAME, or draw runs alone by gluon-aff plot history")
        found = [(theirs.name, f"{theirs.metric} {theirs.goal():.4f}") for theirs in fitting(curve)]
        table = text_table(("published", "figure"), found, left=2) if found else ["nothing published is of such data"]
        lines = [*table, "", f"to compare: gluon-aff compare {run} --with NAME,NAME (--list prints every name)"]
        print_report(lines, {"run": curve.name, "fitting": [name for name, _ in found]}, args.json)
        return 0
    plot = Path(args.plot or (run / "comparison.png" if run.is_dir() else "comparison.png"))
    names = [part for text in args.references for part in ([text] if Path(text).exists() else text.split(","))]
    lines, documents = [], []
    for number, name in enumerate(names, start=1):
        place = plot if number == 1 else plot.with_name(f"{plot.stem}-{number}{plot.suffix}")
        claim(place, Writes(forms=("figure",)))
        own = Path(name).expanduser().exists()  # otherwise it is a published name
        comparison = Comparison(curve, open_curve(name) if own else reference(name))
        draw_comparison(comparison, place, args.dpi)
        lines += [*comparison.lines(args.every), "", f"plot       {place}", ""]
        documents.append({**comparison.to_json(), "plot": str(place)})
    print_report(lines[:-1], documents if len(names) > 1 else documents[0], args.json)
    return 0


def depth(args: argparse.Namespace) -> int:
    from ..comparison.depth_plot import draw_depth, our_points, paper_points
    from ..tasks import task_of_host
    from ..utils.resampling import span_text

    ours = our_points(args.results)
    if args.host:
        task_of_host(args.host)  # raises for a name that is none
        ours = [point for point in ours if point.host == args.host]
    hosts = [args.host] if args.host else sorted({point.host for point in ours})
    drawn = {point.strategy for point in ours} if args.results else None
    theirs = [] if args.no_paper else [point for host in hosts for point in paper_points(host, drawn)]
    draw_depth(ours, theirs, Path(args.out), args.dpi)
    for point in ours:
        std = "" if point.std is None else f" ± {point.std:.4f}, 95 % {span_text(point.interval)}"
        print(
            f"{point.host} b{point.blocks} {point.strategy}: {point.parameters:,} parameters, "
            f"{point.accuracy:.4f}{std} ({point.runs} {'run' if point.runs == 1 else 'runs'})"
        )
    print(f"{len(ours)} of ours, {len(theirs)} of the paper's: {args.out}")
    return 0


def history(args: argparse.Namespace) -> int:
    from ..comparison import draw_runs

    names = names_of(args.names, len(args.runs), "runs")
    for curve in draw_runs(args.runs, Path(args.out), names, args.dpi):
        best, final = curve.best(), curve.final()
        print(f"{curve.name}: best {best.value:.4f} (epoch {best.epoch}), last {final.value:.4f} (epoch {final.epoch})")
    print(args.out)
    return 0


def schedule(args: argparse.Namespace) -> int:
    from ..tasks import get_task
    from ..training.plots import plot_schedule
    from ..training.schedule import from_options

    task, name = _recipe(args.recipe)
    options = get_task(task).options(["--recipe", name])
    found = from_options(options, _UPDATES)
    plot_schedule(found, f"{task} {name}: {options.num_epochs} epochs, {options.lr_mode}", Path(args.out), args.dpi)
    print(args.out)
    return 0


def _recipe(text: str) -> Tuple[str, str]:
    """(task, name) of ``cifar-release``, or of ``release`` where one task alone has it."""
    from ..tasks.config import every_recipe

    known = list(every_recipe())
    found = [name for name in known if text in (name, name.split("-", 1)[1])]
    if len(found) != 1:
        reason = f"it could be {', '.join(found)}" if found else f"choose one of {', '.join(known)}"
        raise UsageError(f"no single recipe {text!r}: {reason}")
    task, name = found[0].split("-", 1)
    return task, name


def results(args: argparse.Namespace) -> int:
    from ..comparison.result_tables import render, tables

    print(render(tables(args.table), args.format), end="")
    return 0


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make them known to the command line."""
    command = commands.add_parser(
        "compare",
        help="compare a training run with the authors' logs and the paper's figures",
        description="Epoch-matched figures, best and final difference, the epoch at which the run reached the "
        "reference's value, settings side by side, and a plot. Works while the run is in progress.",
    )
    text = "a run's directory or history.jsonl, a log of the authors' scripts, a .csv curve, or a published id"
    command.add_argument("run_name", nargs="?", type=Reads(), metavar="RUN", help=text)
    text = "published ids, rows such as table4/aff/resnet_b4, other runs of your own (default: print those that fit)"
    kind: Dict[str, Any] = {"type": Reads(several=True), "action": "append", "metavar": "NAME,NAME"}
    command.add_argument("--with", dest="references", help=text, **kind)
    command.add_argument("--list", action="store_true", help="print every name that --with knows")
    command.add_argument("--segment", type=int, metavar="K", help="which run of a log that holds several")
    add_number(command, "--every", help="print every Nth epoch (default: about 14 in all)")
    add_figure(command, "--plot", "the plot (default: comparison.png in the run's directory, or in this one)")
    add_json(command)
    command.set_defaults(run=compare)

    plot = commands.add_parser("plot", help="draw the paper's Fig. 7, curves of runs, a schedule")
    actions = plot.add_subparsers(dest="action", metavar="WHAT", required=True)

    command = actions.add_parser("depth", help="accuracy against parameters for each strategy, ours and the paper's")
    text = "directories of `gluon-aff ablation`'s reports and of runs (default: the paper's figures alone)"
    command.add_argument("results", nargs="*", type=Reads(), metavar="RESULTS", help=text)
    command.add_argument("--host", metavar="HOST", help="only this network, such as resnet, inception or fpn")
    command.add_argument("--no-paper", action="store_true", help="leave out the paper's figures")
    add_figure(command, "--out", "(default: %(default)s)", "depth.png")
    command.set_defaults(run=depth)

    command = actions.add_parser("history", help="curves of several runs, logs or published runs in one figure")
    command.add_argument("runs", nargs="+", type=Reads(), metavar="RUN", help="as in `gluon-aff compare`")
    command.add_argument("--names", default="", metavar="A,B", help="the runs' names in the legend")
    add_figure(command, "--out", "(default: %(default)s)", "history.png")
    command.set_defaults(run=history)

    command = actions.add_parser(
        "schedule",
        help="the learning rate of a recipe",
        description="To see the schedule of other options than the recipe's, use --dry-run of the training scripts.",
    )
    command.add_argument("recipe", metavar="RECIPE", help="such as cifar-release or seg-paper")
    add_figure(command, "--out", "(default: %(default)s)", "schedule.png")
    command.set_defaults(run=schedule)

    command = commands.add_parser("results", help="tables of the paper's and the authors' figures")
    command.add_argument("--format", choices=("md", "csv", "json"), default="md", help="(default: %(default)s)")
    text = "one of table3, table4, table5, readme, sirst, logs-cifar, logs-imagenet (default: all)"
    command.add_argument("--table", action="append", metavar="NAME", help=text)
    command.set_defaults(run=results)
