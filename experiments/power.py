"""Say how large a difference a paired comparison over seeds can find, before anything is trained.

    python experiments/power.py --spread 0.006 --seeds 4,6,8 --images 10000 --contrasts 4 --plot power.png
    python experiments/power.py experiments/resnet-cifar10jpeg --contrasts 4    # the spread of an earlier report

Simulates the test that the report of `gluon-aff ablation` makes (`gluon_aff.comparison.paired`): the smallest true
difference (of accuracies, 0 to 1) that so many seeds and test images find.
"""

import argparse
import json
import math
from dataclasses import dataclass
from pathlib import Path

import gluon_aff  # noqa: F401  # before MXNet, which it makes importable

# isort: split
import numpy as np

from gluon_aff.cli.arguments import figure_file
from gluon_aff.comparison.paired import LEVEL, RULE, half_width
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.utils import console
from gluon_aff.utils.arguments import list_of
from gluon_aff.utils.figures import label_axes, new_figure, write_figure
from gluon_aff.utils.outputs import Writes, guarded
from gluon_aff.utils.tables import text_table

DRAWS, SEED = 40_000, 0
MOST, MOST_IMAGES = 1000, 10**9


@dataclass(frozen=True)
class Design:
    """A paired comparison to be: pairs of runs, test images, the standard deviation of the paired difference from seed
    to seed; the share of images that only one of two has right, and of their variance what all seeds have in common;
    how many strategies are compared with the baseline (the error of all together is 5 %)."""

    seeds: int
    images: int
    spread: float
    discordant: float = 0.25
    common: float = 0.1
    contrasts: int = 1

    def __post_init__(self):
        sizes = 2 <= self.seeds <= MOST and 1 <= self.contrasts <= MOST and 1 <= self.images <= MOST_IMAGES
        if not (sizes and all(0 <= share <= 1 for share in (self.spread, self.discordant, self.common))):
            raise UsageError(
                f"{self}: expected 2 to {MOST} seeds, 1 to {MOST} contrasts, 1 to {MOST_IMAGES:,} images, from 0 to 1 "
                "a spread, a discordant and a common share"
            )


def power(design, difference):
    """The chance that a true ``difference`` is found, with its sign, by `paired.interval` and Bonferroni's level.

    A pair's difference is normal around the true one; the test images shift all pairs together. Bonferroni's level is
    the first step of Holm's, so the chance is at least this.
    """
    random = np.random.default_rng(SEED)
    shared = design.discordant * design.common
    images = (shared + design.discordant * (1 - design.common) / design.seeds) / design.images
    centre = difference + math.sqrt(shared / design.images) * random.standard_normal((DRAWS, 1))
    pairs = centre + design.spread * random.standard_normal((DRAWS, design.seeds))
    spread = pairs.var(axis=1, ddof=1) / design.seeds
    limit = half_width((1 - LEVEL) / design.contrasts, spread, images, design.seeds)
    return float((pairs.mean(axis=1) > limit).mean())


def detectable(design, wanted=0.8):
    """The smallest difference that is found with the chance ``wanted``, to a ten-thousandth."""
    if not 0.05 < wanted < 1:
        raise UsageError(f"--power {wanted:g}: expected a chance above 0.05 and below 1, such as 0.8")
    low, high = 0.0, 0.001
    while power(design, high) < wanted:
        low, high = high, 2 * high
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if power(design, middle) >= wanted else (middle, high)
    return high


def differences(report, baseline):
    """Paired differences by seed of every strategy from ``baseline`` in a report of `gluon-aff ablation`."""
    figures = {(run["blocks"], run["strategy"], run["seed"]): float(run["final"]) for run in report["runs"]}
    found = {}
    for (blocks, strategy, seed), figure in sorted(figures.items()):
        if strategy != baseline and (blocks, baseline, seed) in figures:
            found.setdefault(f"{strategy}, b = {blocks}", []).append(figure - figures[blocks, baseline, seed])
    if not found:
        raise UsageError(f"the report has no pairs with {baseline}: name another --baseline")
    return found


def pooled(found):
    """One standard deviation for all strategies: the root of the mean variance, weighted by degrees of freedom."""
    freedom = sum(len(values) - 1 for values in found.values())
    if not freedom:
        raise UsageError("a single seed has no spread: give --spread")
    return math.sqrt(sum(float(np.var(values)) * len(values) for values in found.values()) / freedom)


def draw_power(designs, path):
    """The chance of finding a difference against its size, a line for each number of seeds."""
    figure = new_figure(6.5, 4)
    axes = figure.subplots()
    sizes = np.linspace(0, 4 * min(detectable(design) for design in designs), 61)
    for design in designs:
        axes.plot(100 * sizes, [100 * power(design, size) for size in sizes], label=f"{design.seeds} seeds")
    axes.axhline(80, color="0.6", lw=1, ls=":")
    about = designs[0]
    title = f"spread {100 * about.spread:.2f} points from seed to seed, {about.images:,} test images"
    label_axes(axes, "true difference (points)", "found (%)", title)
    axes.set_ylim(0, 102)
    axes.legend(fontsize="small")
    write_figure(figure, path)


def read(place, baseline):
    path = Path(place)
    path = path / "report.json" if path.is_dir() else path
    try:
        return differences(json.loads(path.read_text(encoding="utf-8")), baseline)
    except UsageError:
        raise
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise GluonAFFError(f"{path} is no report of `gluon-aff ablation` ({error!r})") from None


def parse_args(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("report", nargs="?", metavar="REPORT", help="of an ablation, to take the spread from")
    add("--baseline", default="add", help="strategy of the report (default: %(default)s)")
    add("--spread", type=float, help="standard deviation of the paired difference between seeds")
    add("--seeds", type=list_of(int), default=[2, 4, 6, 8, 12, 20], help="list (default: 2,4,6,...)")
    add("--images", type=int, default=10000, metavar="N", help="in the test (default: %(default)s)")
    add("--discordant", type=float, default=0.25, metavar="SHARE", help="that one of two has right (%(default)s)")
    add("--common", type=float, default=0.1, metavar="SHARE", help="of this, alike for all seeds (%(default)s)")
    add("--contrasts", type=int, default=1, metavar="N", help="strategies against the baseline (1)")
    add("--power", type=float, default=0.8, metavar="CHANCE", help="(default: %(default)s)")
    add("--plot", type=Writes(figure_file, ("figure",)), metavar="FILE", help="draw the chance against the difference")
    return parser, parser.parse_args(argv)


def main(argv=None):
    parser, args = parse_args(argv)
    spread, lines = args.spread, []
    if args.report:
        found = read(args.report, args.baseline)
        seen = [(name, len(each), " ".join(f"{value:+.4f}" for value in each)) for name, each in found.items()]
        lines = [*text_table(("strategy", "seeds", f"by seed, from {args.baseline}"), seen, left=1), ""]
        spread = pooled(found) if spread is None else spread
    if spread is None:
        raise UsageError("give --spread, or a report of `gluon-aff ablation` to take it from")
    if not args.seeds:
        raise UsageError("--seeds: expected at least one number, as 4,6,8")
    designs = [Design(seeds, args.images, spread, args.discordant, args.common, args.contrasts) for seeds in args.seeds]
    lines += [
        f"spread of the paired difference {spread:.4f}; {args.images:,} test images, of which {args.discordant:.0%} "
        f"tell two networks apart ({args.common:.0%} of that alike for all seeds); {args.contrasts} compared",
        "",
    ]
    rows = [(each.seeds, f"{detectable(each, args.power):.4f}", f"{2 * power(each, 0.0):.4f}") for each in designs]
    lines += text_table(("seeds", f"found with chance {args.power:.0%}", "found though there is none"), rows, left=0)
    print("\n".join([*lines, "", RULE]))
    if args.plot:
        with guarded(parser, args):
            draw_power(designs, args.plot)
        print(f"plot: {args.plot}")


if __name__ == "__main__":
    console.run_program(main)
