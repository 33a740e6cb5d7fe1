"""``gluon-aff ablation``: the paper's Tables 3 and 4 without their ImageNet column, at any size."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import List

from ..errors import UsageError
from ..utils.arguments import list_of, number
from ..utils.outputs import Reads, Writes


def ablation(args: argparse.Namespace) -> int:
    from ..comparison import ablation_report
    from ..nn import canonical_fusion
    from ..tasks import ablation as grid
    from ..tasks import rate_search

    more = args.options[1:] if args.options[:1] == ["--"] else args.options
    if args.dataset:
        more = ["--dataset", args.dataset, *more]
    if args.data:
        more = ["--data-dir", args.data, *more]
    out = Path(args.out or f"runs/ablation-{args.host}")
    strategies = args.strategies or grid.default_strategies(args.host)
    settings = (args.host, strategies, args.blocks)
    cells = grid.make_cells(*settings, args.seeds, args.epochs, args.budget, out, more)
    found: List = []
    baseline, searches, takes = canonical_fusion(args.baseline), args.learning_rates is not None, bool(args.rates_of)
    if args.rates_of == []:
        raise UsageError("--rates-of: expected the directories of grids")
    if searches and takes:
        raise UsageError("--learning-rates searches, --rates-of takes what was found: give one of them")
    if args.search_epochs and not searches:
        raise UsageError("--search-epochs has no effect without --learning-rates: leave it out")
    if args.search_only and not searches:
        raise UsageError("--search-only has no effect without --learning-rates: leave it out")
    if searches:
        epochs = args.search_epochs or args.epochs
        candidates = rate_search.make_candidates(*settings, args.learning_rates, epochs, args.budget, out, more)
        code = 0 if args.report_only else rate_search.search(candidates, out)
        if code:
            return code
    if searches or takes:
        places = [Path(place) for place in args.rates_of or [out]]
        for place in places:
            rows = rate_search.found(place)
            found += rows
            if rows:
                continue
            raise UsageError(
                f"{place} has no search that has ended: search with --learning-rates, without --report-only"
            )
        rates = rate_search.chosen(found, strategies, args.blocks)
        for sentence in rate_search.at_the_edge(found):
            print(sentence)
        cells = grid.make_cells(*settings, args.seeds, args.epochs, args.budget, out, more, rates)
    code = 0 if args.report_only or args.search_only else grid.run_cells(cells)
    results = list(grid.results(cells))
    if not results and args.search_only:
        print(f"the learning rates are chosen: {out}; --rates-of takes them")
        return 0
    if not results:
        print("no cell is finished yet: there is nothing to report", file=sys.stderr)
        return code or 1
    command = shlex.join(["gluon-aff", *args.argv])
    report = ablation_report.summarize(results, command, baseline, grid.shares(cells), found)
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
        "--host fpn of train_seg.py. Cells of one seed start with the same host (--init-by-name).",
    )
    command.add_argument(
        "--host", metavar="HOST", default="resnet", help="resnet, inception, fpn (default: %(default)s)"
    )
    command.add_argument(
        "--strategies", type=list_of(str), metavar="A,B", help="fusions (default: those of the paper's Tables 3 and 4)"
    )
    command.add_argument("--baseline", default="add", help="what the others are compared with (default: %(default)s)")
    command.add_argument("--blocks", type=list_of(int), default=[1], help="list of b (default: 1)")
    command.add_argument("--epochs", type=number(int, 1), required=True)
    command.add_argument("--seeds", type=list_of(int), default=[0], help="list of seeds (default: 0)")
    command.add_argument(
        "--learning-rates",
        type=list_of(float),
        metavar="A,B",
        help="first choose one of these for each strategy, on the images of -- --hold-out N, with a seed of its own",
    )
    command.add_argument(
        "--search-epochs", type=number(int, 1), metavar="N", help="length of that search (default: --epochs)"
    )
    command.add_argument(
        "--rates-of",
        type=Reads(list_of(str)),
        metavar="DIR,DIR",
        help="the learning rates that other grids have chosen",
    )
    command.add_argument("--search-only", action="store_true", help="choose the learning rates and leave")
    command.add_argument("--dataset", help="as in train_cifar.py (default: cifar100) or train_seg.py (coco)")
    command.add_argument("--data", type=Reads(), metavar="PLACE", help="the script's --data-dir")
    command.add_argument(
        "--budget",
        choices=("table3", "table4"),
        default="table4",
        help="bottleneck ratios: r = 4 throughout (table3), or r = 2 for the strategies with one MS-CAM (table4)",
    )
    command.add_argument(
        "--out",
        type=Writes(folder=True, grid=True),
        metavar="DIR",
        help="where runs and report go (default: runs/ablation-HOST)",
    )
    command.add_argument("--report-only", action="store_true", help="train nothing, report what is finished")
    command.add_argument("options", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    command.set_defaults(run=ablation)
