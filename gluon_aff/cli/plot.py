"""``gluon-aff plot``: the paper's Fig. 7, the curves of several runs, a recipe's schedule."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Tuple

from ..errors import UsageError
from ..utils.outputs import Reads
from .arguments import add_figure, names_of

_UPDATES = 100  # per epoch: the drawn curve hardly depends on it, and no data are needed


def depth(args: argparse.Namespace) -> int:
    from ..comparison.depth_plot import draw_depth, our_points, paper_points
    from ..utils.resampling import span_text

    ours = our_points(args.results)
    if args.host:
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
    from ..tasks.config import RECIPES

    known = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    found = [name for name in known if name == text or name.split("-", 1)[1] == text]
    if len(found) != 1:
        reason = f"it could be {', '.join(found)}" if found else f"choose one of {', '.join(known)}"
        raise UsageError(f"no single recipe {text!r}: {reason}")
    task, name = found[0].split("-", 1)
    return task, name


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make them known to the command line."""
    plot = commands.add_parser("plot", help="draw the paper's Fig. 7, curves of runs, a schedule")
    actions = plot.add_subparsers(dest="action", metavar="WHAT", required=True)

    command = actions.add_parser("depth", help="accuracy against parameters for each strategy, ours and the paper's")
    command.add_argument(
        "results",
        nargs="*",
        type=Reads(),
        metavar="RESULTS",
        help="reports of `gluon-aff ablation` (their directory) and runs (theirs); default: the paper's figures alone",
    )
    command.add_argument("--host", choices=("resnet", "inception", "fpn"), help="only this network")
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
