"""``gluon-aff ablation``: the paper's Tables 3 and 4 without their ImageNet column, at any size."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any, Dict, List

from ..errors import UsageError
from ..utils.arguments import list_of
from ..utils.outputs import Reads, Writes
from .arguments import add_number


def ablation(args: argparse.Namespace) -> int:
    from ..comparison import ablation_report
    from ..nn import canonical_fusion
    from ..tasks import ablation as grids

    searches = args.learning_rates is not None
    if args.rates_of == []:
        raise UsageError("--rates-of: expected the directories of grids")
    if searches and args.rates_of:
        raise UsageError("--learning-rates searches, --rates-of takes what was found: give one of them")
    for name in ("search_epochs", "search_only"):
        if getattr(args, name) and not searches:
            raise UsageError(f"--{name.replace('_', '-')} has no effect without --learning-rates: leave it out")
    more = args.options[1:] if args.options[:1] == ["--"] else args.options
    for name, value in (("--dataset", args.dataset), ("--data-dir", args.data)):
        more = [name, value, *more] if value else more
    out = Path(args.out or f"runs/ablation-{args.host}")
    strategies, baseline = args.strategies or grids.default_strategies(args.host), canonical_fusion(args.baseline)
    grid = grids.Grid(args.host, strategies, args.blocks, args.budget, out, more)
    cells = grid.cells(args.seeds, args.epochs)
    if searches:
        candidates = grid.candidates(args.learning_rates, args.search_epochs or args.epochs)
        code = 0 if args.report_only else grids.search(candidates, out)
        if code:
            return code
    found: List[Dict[str, Any]] = []
    for place in args.rates_of or ([out] if searches else []):
        rows = grids.read_search(Path(place))
        if not rows:
            raise UsageError(
                f"{place} has no search that has ended: search with --learning-rates, without --report-only"
            )
        found += rows
    if found:
        rates = grids.chosen_rates(found, grid)
        print("".join(f"{sentence}\n" for sentence in grids.at_the_edge(found)), end="")
        cells = grid.cells(args.seeds, args.epochs, rates)
    code = 0 if args.report_only or args.search_only else grids.run_cells(cells)
    results = list(grids.results(cells))
    if not results and args.search_only:
        print(f"the learning rates are chosen: {out}; --rates-of takes them")
        return 0
    if not results:
        print("no cell is finished yet: there is nothing to report", file=sys.stderr)
        return code or 1
    command = shlex.join(["gluon-aff", *args.argv])
    report = ablation_report.summarize(results, command, baseline, grids.shares(cells), found)
    ablation_report.write_ablation_report(report, results, out)
    print(f"{len(results)} of {len(cells)} cells are finished; report: {out / 'report.md'}, {out / 'report.png'}")
    return code


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make it known to the command line."""
    command = commands.add_parser(
        "ablation",
        help="train a grid of fusion strategies and report it beside the paper's Tables 3 and 4",
        usage="gluon-aff ablation --host HOST --epochs N [...] [-- options of the training script for all cells]",
        description="Cells that are finished are skipped, stopped ones are resumed. The recipe is the paper's, "
        "with its decay epochs scaled to --epochs; options after -- win over it: those of train_cifar.py, with "
        "a segmentation host of train_seg.py. Cells of one seed start with the same host (--init-by-name).",
    )
    text = "resnet, inception, or of segmentation fpn, unet (default: %(default)s)"
    command.add_argument("--host", metavar="HOST", default="resnet", help=text)
    text = "fusions (default: those of the paper's Tables 3 and 4)"
    command.add_argument("--strategies", type=list_of(str), metavar="A,B", help=text)
    command.add_argument("--baseline", default="add", help="what the others are compared with (default: %(default)s)")
    command.add_argument("--blocks", type=list_of(int), default=[1], help="list of b (default: 1)")
    add_number(command, "--epochs", "--num-epochs", required=True, help="of each run")
    command.add_argument("--seeds", type=list_of(int), default=[0], help="list of seeds (default: 0)")
    text = "first choose one of these for each strategy, on the images of -- --hold-out N, with a seed of its own"
    command.add_argument("--learning-rates", type=list_of(float), metavar="A,B", help=text)
    add_number(command, "--search-epochs", help="length of that search (default: --epochs)")
    text = "the learning rates that other grids have chosen"
    command.add_argument("--rates-of", type=Reads(list_of(str)), metavar="DIR,DIR", help=text)
    command.add_argument("--search-only", action="store_true", help="choose the learning rates and leave")
    command.add_argument("--dataset", help="as in train_cifar.py (default: cifar100) or train_seg.py (coco)")
    command.add_argument("--data", "--data-dir", type=Reads(), metavar="PLACE", help="the script's --data-dir")
    text = "bottleneck ratios: r = 4 throughout (table3), or r = 2 for the strategies with one MS-CAM (table4)"
    command.add_argument("--budget", choices=("table3", "table4"), default="table4", help=text)
    text = "where runs and report go (default: runs/ablation-HOST)"
    command.add_argument("--out", type=Writes(folder=True, grid=True), metavar="DIR", help=text)
    command.add_argument("--report-only", action="store_true", help="train nothing, report what is finished")
    command.add_argument("options", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    command.set_defaults(run=ablation)
