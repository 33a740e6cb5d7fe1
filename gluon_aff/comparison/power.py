"""What a paired comparison will be able to tell, simulated before anything is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, List, Sequence

import numpy as np

from ..errors import UsageError
from ..utils.figures import label_axes, new_figure, write_figure
from ..utils.files import PathLike
from .paired import LEVEL, half_width

_DRAWS, _SEED = 40_000, 0
MOST, MOST_IMAGES = 1000, 10**9

#: In words, for reports and plans.
RULE = (
    "A strategy is ahead of the baseline, or behind it, when Holm's adjusted p of its paired difference is below 0.05 "
    "(a bootstrap over seeds and images, Student's t for the seeds' part); else it is undecided. "
    "Single seeds decide nothing, and neither does the order of the means."
)


@dataclass(frozen=True)
class Design:
    """A paired comparison to be.

    Attributes
    ----------
    seeds : int
        Pairs of runs, at least 2.
    images : int
        In the test.
    spread : float
        Standard deviation of the paired difference from seed to seed, as accuracies, 0 to 1.
    discordant : float
        Share of the images that only one of the two has right.
    common : float
        Share of the images' variance that all seeds have in common: what one strategy finds easier than the other.
    contrasts : int
        Strategies that are compared with the baseline; the error of all together is 5 %.
    """

    seeds: int
    images: int
    spread: float
    discordant: float = 0.25
    common: float = 0.1
    contrasts: int = 1

    def __post_init__(self) -> None:
        sizes = 2 <= self.seeds <= MOST and 1 <= self.contrasts <= MOST and 1 <= self.images <= MOST_IMAGES
        if not (sizes and all(0 <= share <= 1 for share in (self.spread, self.discordant, self.common))):
            raise UsageError(
                f"{self}: expected 2 to {MOST} seeds, 1 to {MOST} contrasts, 1 to {MOST_IMAGES:,} images, from 0 to 1 "
                "a spread, a discordant and a common share"
            )


def power(design: Design, difference: float) -> float:
    """The chance that a true ``difference`` is found, with its sign, by `paired.interval` and Bonferroni's level.

    A pair's difference is normal around the true one; the test images shift all pairs together. Bonferroni's level is
    the first step of Holm's, so the chance is at least this.
    """
    random = np.random.default_rng(_SEED)
    shared = design.discordant * design.common
    images = (shared + design.discordant * (1 - design.common) / design.seeds) / design.images
    centre = difference + math.sqrt(shared / design.images) * random.standard_normal((_DRAWS, 1))
    pairs = centre + design.spread * random.standard_normal((_DRAWS, design.seeds))
    spread = pairs.var(axis=1, ddof=1) / design.seeds
    limit = half_width((1 - LEVEL) / design.contrasts, spread, images, design.seeds)
    return float((pairs.mean(axis=1) > limit).mean())


def detectable(design: Design, wanted: float = 0.8) -> float:
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


def spreads(report: Dict[str, Any], baseline: str) -> Dict[str, List[float]]:
    """Paired differences by seed of every strategy from ``baseline`` in a report of `gluon-aff ablation`.

    Raises UsageError when the report has no runs of it.
    """
    figures = {(run["blocks"], run["strategy"], run["seed"]): run["final"] for run in report["runs"]}
    found: Dict[str, List[float]] = {}
    for (blocks, strategy, seed), figure in sorted(figures.items()):
        if strategy != baseline and (blocks, baseline, seed) in figures:
            name = f"{strategy}, b = {blocks}"
            found.setdefault(name, []).append(figure - figures[blocks, baseline, seed])
    if not found:
        raise UsageError(f"the report has no pairs with {baseline}: name another --baseline")
    return found


def pooled(differences: Dict[str, List[float]]) -> float:
    """One standard deviation for all strategies: the root of the mean variance, weighted by degrees of freedom.

    Raises UsageError where no strategy has two seeds.
    """
    freedom = sum(len(values) - 1 for values in differences.values())
    if not freedom:
        raise UsageError("a single seed has no spread: give --spread")
    squares = sum(float(np.var(values)) * len(values) for values in differences.values())
    return math.sqrt(squares / freedom)


def draw_power(designs: Sequence[Design], path: PathLike) -> None:
    """The chance of finding a difference against its size, a line for each number of seeds."""
    figure = new_figure(6.5, 4)
    axes = figure.subplots()
    most = 4 * min(detectable(design) for design in designs)
    sizes = np.linspace(0, most, 61)
    for design in designs:
        axes.plot(100 * sizes, [100 * power(design, size) for size in sizes], label=f"{design.seeds} seeds")
    axes.axhline(80, color="0.6", lw=1, ls=":")
    about = designs[0]
    title = f"spread {100 * about.spread:.2f} points from seed to seed, {about.images:,} test images"
    label_axes(axes, "true difference (points)", "found (%)", title)
    axes.set_ylim(0, 102)
    axes.legend(fontsize="small")
    write_figure(figure, path)
