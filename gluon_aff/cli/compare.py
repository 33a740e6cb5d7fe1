"""``gluon-aff compare``: a run against the authors' runs and the paper's figures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..utils.arguments import number
from ..utils.outputs import Reads, Writes, claim
from .arguments import add_figure, add_json, print_report

if TYPE_CHECKING:
    from ..comparison import Curve


def compare(args: argparse.Namespace) -> int:
    from ..comparison import Comparison, draw_comparison, open_curve, references

    if args.list:
        print("\n".join(references()))
        return 0
    if not args.run_name or not args.reference:
        raise UsageError("nothing to compare: gluon-aff compare RUN --with NAME (--list prints the names)")
    plot = Path(args.plot or _plot_path(args.run_name))
    claim(plot, Writes(forms=("figure",)))
    comparison = Comparison(open_curve(args.run_name, args.segment), _reference(args.reference))
    draw_comparison(comparison, plot, args.dpi)
    lines = [*comparison.lines(args.every), "", f"plot       {plot}"]
    print_report(lines, {**comparison.to_json(), "plot": str(plot)}, args.json)
    return 0


def _reference(text: str) -> Curve:
    """One of our own runs or logs where the path exists, otherwise a published name."""
    from ..comparison import open_curve, reference

    return open_curve(text) if Path(text).expanduser().exists() else reference(text)


def _plot_path(run: str) -> str:
    """In a run's directory, otherwise in the current one."""
    return str(Path(run) / "comparison.png") if Path(run).is_dir() else "comparison.png"


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make it known to the command line."""
    command = commands.add_parser(
        "compare",
        help="compare a training run with the authors' logs and the paper's figures",
        description="Epoch-matched figures, best and final difference, the epoch at which the run reached the "
        "reference's value, settings side by side, and a plot. Works while the run is in progress.",
    )
    command.add_argument(
        "run_name",
        nargs="?",
        type=Reads(),
        metavar="RUN",
        help="a run's directory or history.jsonl, a log of the authors' scripts, a .csv curve, or a published id",
    )
    command.add_argument(
        "--with",
        dest="reference",
        type=Reads(),
        metavar="NAME",
        help="a published id, a row such as table4/aff/resnet_b4, or another run of your own",
    )
    command.add_argument("--list", action="store_true", help="print every name that --with knows")
    command.add_argument("--segment", type=int, metavar="K", help="which run of a log that holds several")
    command.add_argument(
        "--every", type=number(int, 1), metavar="N", help="print every Nth epoch (default: about 14 in all)"
    )
    add_figure(command, "--plot", "the plot (default: comparison.png in the run's directory, or in this one)")
    add_json(command)
    command.set_defaults(run=compare)
