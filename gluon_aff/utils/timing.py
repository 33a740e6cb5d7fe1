"""How long several ways of doing the same take, in turns, so that a machine that changes its pace meets all of them."""

from __future__ import annotations

import time
from typing import Callable, Dict, List, Mapping, Optional


def take_turns(
    runs: Mapping[str, Callable[[], object]], seconds: float, least: int = 1, most: Optional[int] = None
) -> Dict[str, List[float]]:
    """Return the seconds of every call of ``runs``, by their names.

    No further turn begins after so many ``seconds``, but for the ``least`` number of turns, nor behind the ``most``.
    """
    taken: Dict[str, List[float]] = {name: [] for name in runs}
    first, turn = time.perf_counter(), 0
    while turn < least or (time.perf_counter() - first < seconds and turn != most):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - began)
        turn += 1
    return taken
