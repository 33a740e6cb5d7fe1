"""Paired comparison of trained networks: runs of one seed that were tested on the same images.

A difference is uncertain because other seeds would have trained other networks, and because other test images would
have given other figures. `interval` has both: a bootstrap over seeds and images, with Student's t for few seeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ..errors import GluonAFFError
from ..tasks.final_score import Shares
from ..utils.resampling import LEVEL, image_weights, quotient

_DRAWS, _BLOCK, _SEED = 4000, 250, 0

#: In words, for reports and plans.
RULE = (
    "A strategy is ahead of the baseline, or behind it, when Holm's adjusted p of its paired difference is below 0.05 "
    "(a bootstrap over seeds and images, Student's t for the seeds' part); else it is undecided. "
    "Single seeds decide nothing, and neither does the order of the means."
)


class Measured(NamedTuple):
    """A run's figure, and every test image's share in it where that was kept."""

    figure: float
    shares: Optional[Shares] = None


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its confidence interval.

    Attributes
    ----------
    mean, low, high : float
    p_value : float
        Two-sided, that the true mean is 0; by the same standard error.
    images : bool
        Whether the interval knows of the choice of test images, not of the seeds alone.
    """

    mean: float
    low: float
    high: float
    p_value: float
    images: bool


@dataclass(frozen=True)
class ImageTest:
    """Two networks on the same images.

    Attributes
    ----------
    better, worse : int
        Images on which the first is better than the second, and worse.
    p_value : float
        Two-sided: exact McNemar for classifiers, Wilcoxon's signed rank on the images' IoU for segmentation.
    name : str
        Of the test.
    """

    better: int
    worse: int
    p_value: float
    name: str


def interval(runs: Sequence[Measured], others: Optional[Sequence[Measured]] = None) -> Optional[Interval]:
    """Mean figure of runs, or mean difference from their pairs in ``others``, with a confidence interval of 95 %.

    A bootstrap draws seeds and images anew, together (4,000 draws, fixed seed; images alike for all networks). Its
    variance less the seeds' part, (n - 1) / n of s^2 / n, is the images' part. `half_width` joins both: seeds by
    Student's t with n - 1 degrees of freedom, images by the normal distribution. The chance in single predictions is
    in both parts: the interval errs on the wide side. Where images' shares were not kept it is the t interval over
    seeds.

    Parameters
    ----------
    runs : sequence of Measured
        One for each seed.
    others : sequence of Measured, optional
        Of the same seeds in the same order, tested on the same images.

    Returns
    -------
    Interval or None
        None for a single seed, which says nothing about other seeds.

    Raises
    ------
    GluonAFFError
        When two runs of a pair were tested on different images.
    """
    values = np.array([run.figure for run in runs]) - np.array([other.figure for other in others or []] or 0.0)
    count = len(values)
    if count < 2:
        return None
    seeds = float(values.var(ddof=1)) / count
    drawn = _bootstrap(runs, others)
    images = 0.0 if drawn is None else max(0.0, float(drawn.var()) - seeds * (count - 1) / count)
    mean = float(values.mean())
    reach = float(half_width(1 - LEVEL, seeds, images, count))
    return Interval(mean, mean - reach, mean + reach, _p_value(abs(mean), seeds, images, count), drawn is not None)


def half_width(level: float, seeds: Any, images: Any, count: int) -> Any:
    """Half an interval that misses with the chance ``level``, or less often.

    Parameters
    ----------
    level : float
    seeds, images : float or array
        Variances of the mean, estimated from ``count`` seeds and from very many images.
    count : int

    Returns
    -------
    float or array
        The root of t^2 seeds + z^2 images: exact where either is 0, and too wide rather than too narrow between them.
    """
    from scipy.stats import norm, t

    return np.sqrt(t.isf(level / 2, count - 1) ** 2 * seeds + norm.isf(level / 2) ** 2 * images)


def _p_value(size: float, seeds: float, images: float, count: int) -> float:
    """The level at which an interval of this ``size`` to either side begins to hold 0."""
    if size == 0 or seeds + images == 0:
        return float(size == 0)
    low, high = 1e-300, 1.0  # by halving its logarithm
    for _ in range(80):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if half_width(middle, seeds, images, count) < size else (middle, high)
    return high


def _bootstrap(runs: Sequence[Measured], others: Optional[Sequence[Measured]]) -> Optional[np.ndarray]:
    """Means over drawn seeds of figures of drawn images; None where shares were not kept."""
    mine = [run.shares for run in runs if run.shares is not None]
    theirs = [other.shares for other in others or [] if other.shares is not None]
    if len(mine) < len(runs) or len(theirs) < len(others or []):
        return None
    for one, other in zip(mine, theirs):
        _check_same(one, other)
    random = np.random.default_rng(_SEED)
    alike = all(each.images == mine[0].images for each in mine)
    if not alike and len({len(each.images) for each in mine}) > 1:
        return None
    means: List[np.ndarray] = []
    for _ in range(0, _DRAWS, _BLOCK):
        seeds = random.integers(len(mine), size=(_BLOCK, len(mine)))
        figures = np.stack(list(_drawn(mine, theirs, random, alike)), axis=1)  # (draws, seeds)
        means.append(np.take_along_axis(figures, seeds, axis=1).mean(axis=1))
    return np.concatenate(means)


def _drawn(
    mine: Sequence[Shares], theirs: Sequence[Shares], random: np.random.Generator, alike: bool
) -> Iterator[np.ndarray]:
    """Of each seed the figure, or the difference, on every draw of images; one draw for all seeds where these agree."""
    weights = None
    for place, one in enumerate(mine):
        if weights is None or not alike:
            weights = image_weights(random, len(one.images), _BLOCK)
        figures = quotient(weights @ one.part, weights @ one.whole)
        if theirs:
            other = theirs[place]
            figures = figures - quotient(weights @ other.part, weights @ other.whole)
        yield figures


def _check_same(one: Shares, other: Shares) -> None:
    if one.images != other.images:
        raise GluonAFFError(
            f"two runs of one seed were tested on different images ({len(one.images)} and {len(other.images)}): give "
            "both the same data and --test-images"
        )


def image_test(one: Shares, other: Shares) -> ImageTest:
    """On how many images ``one`` is better and worse than ``other``, and how likely chance alone is to make as much.

    Raises GluonAFFError for different images.
    """
    _check_same(one, other)
    first, second = (quotient(each.part, each.whole) for each in (one, other))
    better, worse = int((first > second).sum()), int((first < second).sum())
    if (one.whole == 1).all() and (other.whole == 1).all():
        return ImageTest(better, worse, mcnemar(better, worse), "McNemar")
    return ImageTest(better, worse, _signed_rank(first - second), "Wilcoxon")


def mcnemar(better: int, worse: int) -> float:
    """Exact two-sided p: a fair coin for every image that only one of two classifiers has right."""
    from scipy.stats import binom

    return min(1.0, 2 * float(binom.cdf(min(better, worse), better + worse, 0.5)))


def _signed_rank(differences: np.ndarray) -> float:
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences).pvalue) if differences.any() else 1.0


def holm(p_values: Sequence[float]) -> List[float]:
    """Holm's adjusted p: below 0.05 in all the cases where the chance of a single false one stays below 0.05."""
    order = np.argsort(p_values)
    adjusted, least = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return adjusted


def discordant(pairs: Sequence[Tuple[Shares, Shares]]) -> float:
    """Share of the images on which two networks differ, mean over pairs."""
    return float(np.mean([np.mean(one.part * other.whole != other.part * one.whole) for one, other in pairs]))
