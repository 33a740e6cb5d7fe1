"""Confidence intervals of figures that are counted on images: other images would have given other figures."""

from __future__ import annotations

from functools import lru_cache
from typing import Optional, Sequence, Tuple

import numpy as np

LEVEL = 0.95
_DRAWS, _BLOCK, _SEED = 2000, 250, 0

Span = Tuple[float, float]


def share_interval(hits: int, images: int) -> Span:
    """Wilson's interval (1927) of 95 % for a share of images, such as an accuracy."""
    from scipy.stats import binomtest

    found = binomtest(hits, images).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def quotient_interval(parts: Sequence[float], wholes: Sequence[float]) -> Optional[Span]:
    """An interval of 95 % for total part over total whole, such as an IoU, by a bootstrap over images.

    ``parts`` and ``wholes`` are of each image, such as its intersection and union. Percentiles of 2,000 draws with a
    fixed seed: the same images give the same interval. None for less than two images, which tell nothing about others.
    """
    return None if len(parts) < 2 else _quotient_interval(tuple(parts), tuple(wholes))


@lru_cache(maxsize=32)  # a report asks for the same in its lines, its JSON and its Markdown
def _quotient_interval(parts: Tuple[float, ...], wholes: Tuple[float, ...]) -> Span:
    part, whole = np.array(parts, dtype=np.float64), np.array(wholes, dtype=np.float64)
    random = np.random.default_rng(_SEED)
    drawn = []
    for _ in range(0, _DRAWS, _BLOCK):
        weights = image_weights(random, len(part), _BLOCK)
        drawn.append(quotient(weights @ part, weights @ whole))
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(np.concatenate(drawn), (tail, 100 - tail))
    return float(low), float(high)


def image_weights(random: np.random.Generator, images: int, draws: int) -> np.ndarray:
    """How often each image is in each draw of as many images, with replacement: float64 (draws, images)."""
    return random.multinomial(images, np.full(images, 1 / images), size=draws).astype(np.float64)


def quotient(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """1 where the whole is 0: nothing was to be found, and nothing was."""
    return np.divide(part, whole, out=np.ones_like(part), where=whole > 0)


def span_text(span: Optional[Span], sign: str = "") -> str:
    """``0.5721 to 0.6640``; ``-`` for None."""
    return "-" if span is None else f"{span[0]:{sign}.4f} to {span[1]:{sign}.4f}"
