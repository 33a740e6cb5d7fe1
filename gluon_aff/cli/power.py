"""``gluon-aff power``: how large a difference a comparison over seeds can find, before it is run."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Dict, List

from ..errors import GluonAFFError, UsageError
from ..utils.outputs import Reads, Writes
from .arguments import figure_file, list_of


def power(args: argparse.Namespace) -> int:
    from ..comparison import power as design
    from ..utils.tables import text_table

    spread, lines = args.spread, []
    if args.report:
        found = design.spreads(_read(args.report), args.baseline)
        seen = [(name, len(each), " ".join(f"{value:+.4f}" for value in each)) for name, each in found.items()]
        lines = [*text_table(("strategy", "seeds", f"by seed, from {args.baseline}"), seen, left=1), ""]
        spread = design.pooled(found) if spread is None else spread
    if spread is None:
        raise UsageError("give --spread, or a report of `gluon-aff ablation` to take it from")
    if not args.seeds:
        raise UsageError("--seeds: expected at least one number, as 4,6,8")
    designs = [
        design.Design(seeds, args.images, spread, args.discordant, args.common, args.contrasts) for seeds in args.seeds
    ]
    lines += [
        f"spread of the paired difference {spread:.4f}; {args.images:,} test images, of which {args.discordant:.0%} "
        f"tell two networks apart ({args.common:.0%} of that alike for all seeds); {args.contrasts} compared",
        "",
    ]
    rows = [
        (each.seeds, f"{design.detectable(each, args.power):.4f}", f"{2 * design.power(each, 0.0):.4f}")
        for each in designs
    ]
    lines += text_table(("seeds", f"found with chance {args.power:.0%}", "found though there is none"), rows, left=0)
    print("\n".join([*lines, "", design.RULE]))
    if args.plot:
        design.draw_power(designs, args.plot)
        print(f"plot: {args.plot}")
    return 0


def _read(place: str) -> Dict[str, Any]:
    path = Path(place)
    path = path / "report.json" if path.is_dir() else path
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        runs: List[Any] = report["runs"]
        [(run["blocks"], run["strategy"], run["seed"], float(run["final"])) for run in runs]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise GluonAFFError(f"{path} is no report of `gluon-aff ablation` ({error!r})") from None
    return report


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make it known to the command line."""
    command = commands.add_parser(
        "power",
        help="how large a difference an ablation can find, before it is run",
        description="Simulates paired comparisons: the smallest true difference (of accuracies, 0 to 1) that so many "
        "seeds and test images find.",
    )
    command.add_argument(
        "report", nargs="?", type=Reads(), metavar="REPORT", help="of an ablation, to take the spread from"
    )
    command.add_argument("--baseline", default="add", help="strategy of the report (default: %(default)s)")
    command.add_argument("--spread", type=float, help="standard deviation of the paired difference between seeds")
    command.add_argument("--seeds", type=list_of(int), default=[2, 4, 6, 8, 12, 20], help="list (default: 2,4,6,...)")
    command.add_argument("--images", type=int, default=10000, metavar="N", help="in the test (default: %(default)s)")
    command.add_argument(
        "--discordant", type=float, default=0.25, metavar="SHARE", help="that one of two has right (%(default)s)"
    )
    command.add_argument(
        "--common", type=float, default=0.1, metavar="SHARE", help="of this, alike for all seeds (%(default)s)"
    )
    command.add_argument("--contrasts", type=int, default=1, metavar="N", help="strategies against the baseline (1)")
    command.add_argument("--power", type=float, default=0.8, metavar="CHANCE", help="(default: %(default)s)")
    command.add_argument(
        "--plot",
        type=Writes(figure_file, forms=("figure",)),
        metavar="FILE",
        help="draw the chance against the difference",
    )
    command.set_defaults(run=power)
