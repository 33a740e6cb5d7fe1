"""Every strategy of an ablation against a baseline, seed by seed and all together."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from ..facts import paper_accuracy
from ..tasks.final_score import Shares
from .paired import Measured, discordant, holm, image_test, interval

Record = Dict[str, Any]
AllShares = Mapping[Tuple[int, str, int], Shares]

LEVEL = 0.05  # of Holm's adjusted p


def contrasts(results: Sequence[Record], baseline: str, shares: AllShares) -> List[Record]:
    """Paired differences of final figures from ``baseline``, for each number of blocks and strategy.

    Parameters
    ----------
    results : sequence of dict
        Of `tasks.ablation.results`.
    baseline : str
    shares : mapping
        Of `tasks.ablation.shares`; empty where no run kept any.

    Returns
    -------
    list of dict
        JSON's types: "difference" with "low", "high", "p" and "p_holm" (None for one seed), "verdict" ("ahead",
        "behind", "undecided", "one seed"), "spread" of the differences between seeds, "discordant", the "paper"'s
        difference, and "pairs", a record for each seed.
    """
    runs = {(run["blocks"], run["strategy"], run["seed"]): run for run in results}
    rows: List[Record] = []
    for blocks in sorted({run["blocks"] for run in results}):
        strategies = sorted({run["strategy"] for run in results if run["blocks"] == blocks} - {baseline})
        mine = [_contrast(runs, shares, blocks, strategy, baseline) for strategy in strategies]
        rows += _judged([row for row in mine if row is not None])
    return rows


def _contrast(
    runs: Mapping[Tuple[int, str, int], Record], shares: AllShares, blocks: int, strategy: str, baseline: str
) -> Optional[Record]:
    seeds = sorted(s for b, name, s in runs if (b, name) == (blocks, strategy) and (b, baseline, s) in runs)
    if not seeds:
        return None
    one, other = (
        [Measured(runs[blocks, name, seed]["final"], shares.get((blocks, name, seed))) for seed in seeds]
        for name in (strategy, baseline)
    )
    differences = [first.figure - second.figure for first, second in zip(one, other)]
    kept = [(first.shares, second.shares) for first, second in zip(one, other) if first.shares and second.shares]
    tests: List[Optional[Record]] = [None] * len(seeds)
    if len(kept) == len(seeds):
        tests = [asdict(image_test(*pair)) for pair in kept]
    found = interval(one, other)
    host = runs[blocks, strategy, seeds[0]]["host"]
    theirs, base = (paper_accuracy(host, blocks, name) for name in (strategy, baseline))
    return {
        "strategy": strategy,
        "baseline": baseline,
        "blocks": blocks,
        "seeds": len(seeds),
        "difference": float(np.mean(differences)),
        "low": found and found.low,
        "high": found and found.high,
        "p": found and found.p_value,
        "images_drawn": bool(found and found.images),
        "spread": float(np.std(differences, ddof=1)) if len(seeds) > 1 else None,
        "discordant": discordant(kept) if kept else None,
        "paper": None if theirs is None or base is None else round(theirs - base, 4),
        "pairs": [
            {"seed": seed, "difference": difference, "images": test}
            for seed, difference, test in zip(seeds, differences, tests)
        ],
    }


def _judged(rows: List[Record]) -> List[Record]:
    """The rows with Holm's p over those that have an interval, and what they come to."""
    decided = [row for row in rows if row["p"] is not None]
    for row, adjusted in zip(decided, holm([row["p"] for row in decided])):
        side = "ahead" if row["difference"] > 0 else "behind"
        row.update(p_holm=adjusted, verdict=side if adjusted < LEVEL else "undecided")
    for row in rows:
        if row["p"] is None:
            row.update(p_holm=None, verdict="one seed")
    return rows


def in_order(figures: Mapping[str, float]) -> str:
    """Names by falling figure, equal ones joined by =: ``iaff > aff > a = b > add``."""
    levels = sorted(set(figures.values()), reverse=True)
    return " > ".join(" = ".join(sorted(name for name in figures if figures[name] == level)) for level in levels)
