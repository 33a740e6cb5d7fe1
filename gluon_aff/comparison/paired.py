"""Paired comparison of trained networks: runs of one seed that were tested on the same images.

A difference is uncertain because other seeds would have trained other networks, and because other test images would
have given other figures. `interval` has both: a bootstrap over seeds and images, with Student's t for few seeds.
`contrasts` holds every strategy of a grid against a baseline.
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import GluonAFFError
from ..facts import paper_accuracy
from ..tasks.final_score import Shares
from ..utils.resampling import LEVEL, image_weights, quotient

_DRAWS, _BLOCK, _SEED = 4000, 250, 0
_DECIDED = 0.05  # of Holm's adjusted p

#: In words, for reports and plans.
RULE = (
    "A strategy is ahead of the baseline, or behind it, when Holm's adjusted p of its paired difference is below 0.05 "
    "(a bootstrap over seeds and images, Student's t for the seeds' part); else it is undecided. "
    "Single seeds decide nothing, and neither does the order of the means."
)

#: (blocks, strategy, seed) -> a run's result, or its images' shares.
Key = Tuple[int, str, int]


class Measured(NamedTuple):
    """A run's figure, and every test image's share in it where that was kept."""

    figure: float
    shares: Optional[Shares] = None


class Interval(NamedTuple):
    """A mean over seeds with its confidence interval.

    ``p_value`` is two-sided, that the true mean is 0, by the same standard error. ``images``: whether the interval
    knows of the choice of test images, not of the seeds alone.
    """

    mean: float
    low: float
    high: float
    p_value: float
    images: bool


class ImageTest(NamedTuple):
    """On how many images the first of two networks is better and worse, and the two-sided p of the test ``name``."""

    better: int
    worse: int
    p_value: float
    name: str


def interval(runs: Sequence[Measured], others: Optional[Sequence[Measured]] = None) -> Optional[Interval]:
    """Estimate the mean figure of runs, one for each seed, or the mean of their pairs' difference, to 95 %.

    A bootstrap draws seeds and images anew, together (4,000 draws, fixed seed; images alike for all networks). Its
    variance less the seeds' part, (n - 1) / n of s^2 / n, is the images' part. `half_width` joins both: seeds by
    Student's t with n - 1 degrees of freedom, images by the normal distribution. The chance in single predictions is
    in both parts: the interval errs on the wide side. Where images' shares were not kept it is the t interval over
    seeds. None for a single seed. Raises GluonAFFError when two runs of a pair were tested on different images.
    """
    values = np.array([run.figure for run in runs]) - np.array([other.figure for other in others or []] or 0.0)
    count = len(values)
    if count < 2:
        return None
    seeds = float(values.var(ddof=1)) / count
    drawn = _bootstrap(runs, others or [])
    images = 0.0 if drawn is None else max(0.0, float(drawn.var()) - seeds * (count - 1) / count)
    mean = float(values.mean())
    reach = float(half_width(1 - LEVEL, seeds, images, count))
    return Interval(mean, mean - reach, mean + reach, _p_value(abs(mean), seeds, images, count), drawn is not None)


def half_width(level: float, seeds: Any, images: Any, count: int) -> Any:
    """Return half an interval that misses with the chance ``level``, or less often: the root of t^2 seeds + z^2 images.

    ``seeds`` and ``images`` are variances of the mean, numbers or arrays, estimated from ``count`` seeds and from very
    many images. It is exact where either is 0, and too wide rather than too narrow between them.
    """
    from scipy.special import ndtri, stdtrit

    return np.sqrt(stdtrit(count - 1, level / 2) ** 2 * seeds + ndtri(level / 2) ** 2 * images)


def _p_value(size: float, seeds: float, images: float, count: int) -> float:
    """The level at which an interval of this ``size`` to either side begins to hold 0."""
    if size == 0 or seeds + images == 0:
        return float(size == 0)
    low, high = 1e-300, 1.0  # by halving its logarithm
    for _ in range(80):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if half_width(middle, seeds, images, count) < size else (middle, high)
    return high


def _bootstrap(runs: Sequence[Measured], others: Sequence[Measured]) -> Optional[np.ndarray]:
    """Means over drawn seeds of figures of drawn images; None where shares were not kept."""
    mine = [run.shares for run in runs if run.shares is not None]
    theirs = [other.shares for other in others if other.shares is not None]
    if len(mine) < len(runs) or len(theirs) < len(others):
        return None
    for one, other in zip(mine, theirs):
        _check_same(one, other)
    alike = all(each.images == mine[0].images for each in mine)
    if not alike and len({len(each.images) for each in mine}) > 1:
        return None
    random = np.random.default_rng(_SEED)
    means: List[np.ndarray] = []
    for _ in range(0, _DRAWS, _BLOCK):
        seeds = random.integers(len(mine), size=(_BLOCK, len(mine)))
        figures: List[np.ndarray] = []  # of each seed the figure, or the difference, on every draw of images
        for place, one in enumerate(mine):
            if not (figures and alike):
                weights = image_weights(random, len(one.images), _BLOCK)
            figures.append(quotient(weights @ one.part, weights @ one.whole))
            if theirs:
                figures[-1] -= quotient(weights @ theirs[place].part, weights @ theirs[place].whole)
        means.append(np.take_along_axis(np.stack(figures, axis=1), seeds, axis=1).mean(axis=1))
    return np.concatenate(means)


def _check_same(one: Shares, other: Shares) -> None:
    if one.images != other.images:
        raise GluonAFFError(
            f"two runs of one seed were tested on different images ({len(one.images)} and {len(other.images)}): give "
            "both the same data and `test_images`"
        )


def image_test(one: Shares, other: Shares) -> ImageTest:
    """Test two networks image by image: exact McNemar for classifiers, Wilcoxon's signed ranks of IoU for segmentation.

    Raises GluonAFFError for different images.
    """
    from scipy.stats import binomtest, wilcoxon

    _check_same(one, other)
    first, second = (quotient(each.part, each.whole) for each in (one, other))
    better, worse = int((first > second).sum()), int((first < second).sum())
    name, p_value = "Wilcoxon", 1.0
    if (one.whole == 1).all() and (other.whole == 1).all():
        name = "McNemar"  # exact: a fair coin for every image that only one of two classifiers has right
    if better + worse:
        found = binomtest(better, better + worse) if name == "McNemar" else wilcoxon(first - second)
        p_value = float(found.pvalue)
    return ImageTest(better, worse, p_value, name)


def holm(p_values: Sequence[float]) -> List[float]:
    """Return Holm's adjusted p: below 0.05 in all where the chance of a single false one stays below 0.05."""
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(np.argsort(p_values)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return adjusted


def contrasts(results: Sequence[Dict[str, Any]], baseline: str, shares: Mapping[Key, Shares]) -> List[Dict[str, Any]]:
    """Compare every strategy with ``baseline``, for each number of blocks, as JSON's types.

    ``results`` and ``shares`` are of `tasks.ablation`. A row has "difference" with "low", "high", "p" and "p_holm"
    (None for one seed), "verdict" ("ahead", "behind", "undecided", "one seed"), "spread" of the differences between
    seeds, "discordant" (share of the images on which the two differ), the "paper"'s difference, and "pairs".
    """
    cells: Dict[Tuple[int, str], Dict[int, Dict[str, Any]]] = {}
    for run in results:
        cells.setdefault((run["blocks"], run["strategy"]), {})[run["seed"]] = run
    rows = []
    for blocks in sorted({run["blocks"] for run in results}):
        base = cells.get((blocks, baseline), {})
        others = [cells[key] for key in sorted(cells) if key[0] == blocks and key[1] != baseline]
        family = [_contrast(mine, base, shares) for mine in others if mine.keys() & base.keys()]
        _judge(family)
        rows += family
    return rows


def _contrast(
    mine: Mapping[int, Dict[str, Any]], base: Mapping[int, Dict[str, Any]], shares: Mapping[Key, Shares]
) -> Dict[str, Any]:
    """The row of one strategy; runs by seed."""
    seeds = sorted(mine.keys() & base.keys())
    one, other = (
        [Measured(runs[s]["final"], shares.get((runs[s]["blocks"], runs[s]["strategy"], s))) for s in seeds]
        for runs in (mine, base)
    )
    differences = [first.figure - second.figure for first, second in zip(one, other)]
    kept = [(first.shares, second.shares) for first, second in zip(one, other) if first.shares and second.shares]
    tests: List[Optional[Dict[str, Any]]] = [None] * len(seeds)
    if len(kept) == len(seeds):
        tests = [image_test(*pair)._asdict() for pair in kept]
    found = interval(one, other)
    first, second = mine[seeds[0]], base[seeds[0]]
    theirs, paper = (paper_accuracy(run["host"], run["blocks"], run["strategy"]) for run in (first, second))
    discordant = [np.mean(one.part * other.whole != other.part * one.whole) for one, other in kept]
    return {
        "strategy": first["strategy"],
        "baseline": second["strategy"],
        "blocks": first["blocks"],
        "seeds": len(seeds),
        "difference": float(np.mean(differences)),
        "low": found and found.low,
        "high": found and found.high,
        "p": found and found.p_value,
        "images_drawn": bool(found and found.images),
        "spread": float(np.std(differences, ddof=1)) if len(seeds) > 1 else None,
        "discordant": float(np.mean(discordant)) if discordant else None,
        "paper": None if theirs is None or paper is None else round(theirs - paper, 4),
        "pairs": [
            {"seed": seed, "difference": difference, "images": test}
            for seed, difference, test in zip(seeds, differences, tests)
        ],
    }


def _judge(rows: Sequence[Dict[str, Any]]) -> None:
    """Give rows Holm's p over those that have an interval, and what they come to."""
    for row in rows:
        row.update(p_holm=None, verdict="one seed")
    decided = [row for row in rows if row["p"] is not None]
    for row, adjusted in zip(decided, holm([row["p"] for row in decided])):
        side = "ahead" if row["difference"] > 0 else "behind"
        row.update(p_holm=adjusted, verdict=side if adjusted < _DECIDED else "undecided")


def in_order(figures: Mapping[str, float]) -> str:
    """Write names by falling figure, equal ones joined by =: ``iaff > aff > a = b > add``."""
    levels = sorted(set(figures.values()), reverse=True)
    return " > ".join(" = ".join(sorted(name for name in figures if figures[name] == level)) for level in levels)
