"""A learning rate for every strategy of an ablation, chosen on held-out training images before the cells are run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple, TypeVar

from ..errors import GluonAFFError, UsageError
from ..nn import canonical_fusion
from ..utils.files import write_json
from .ablation import Cell, bottleneck_ratio, check_list, check_more, make_cell, run_cells
from .task import task_of_host

_FILE = "search.json"
SEED = 1000  # of every search's runs; none of the comparison's, and the same in all parts of a grid
_Row = TypeVar("_Row", bound=Mapping[str, Any])
_SEARCHS = {"lr": "--learning-rates"}


@dataclass(frozen=True)
class Candidate:
    """A run of the search with its learning rate."""

    rate: float
    cell: Cell


def make_candidates(
    host: str,
    strategies: Sequence[str],
    blocks: Sequence[int],
    rates: Sequence[float],
    epochs: int,
    budget: str,
    directory: Path,
    more: Sequence[str] = (),
) -> List[Candidate]:
    """A run for every strategy, number of blocks and rate, none of which looks at the test images.

    Arguments as of `ablation.make_cells`. Raises UsageError for what cannot be, such as a search without held-out
    images.
    """
    check_list("learning-rates", rates)
    task = task_of_host(host)
    check_more(task, more, _SEARCHS)
    if not task.parser().given(more).get("hold_out"):
        raise UsageError("--learning-rates chooses on held-out training images: say how many, -- --hold-out N")
    found = []
    for count in blocks:
        for strategy in map(canonical_fusion, strategies):
            r = bottleneck_ratio(budget, strategy)
            for rate in rates:
                place = directory / "search" / f"{host}-{strategy}-r{r}-b{count}-s{SEED}-lr{rate:g}"
                given = [*more, "--lr", repr(rate), "--no-final-test"]
                found.append(Candidate(rate, make_cell(host, strategy, r, count, SEED, epochs, place, given)))
    return found


def search(candidates: Sequence[Candidate], directory: Path) -> int:
    """Run the candidates and write down what they reached; the exit code as of `run_cells`.

    A rate whose loss is no longer finite is out. Raises GluonAFFError when that is so of all rates of a strategy.
    """
    code = run_cells([candidate.cell for candidate in candidates], may_diverge=True)
    if code:
        return code
    rows: List[Dict[str, Any]] = []
    for candidate in candidates:
        cell = candidate.cell
        epochs = cell.history().epochs() if cell.finished() else []
        best = max((record["val"] for record in epochs), default=None)
        images = epochs[-1]["val_images"] if epochs else None
        place = {"strategy": cell.strategy, "blocks": cell.blocks, "seed": cell.seed, "epochs": cell.options.num_epochs}
        rows.append({**place, "lr": candidate.rate, "held_out": best, "images": images})
    _choose(rows)
    write_json(rows, directory / _FILE)
    return 0


def _choose(rows: List[Dict[str, Any]]) -> None:
    """Mark the best rate of every strategy, of equal ones the lowest."""
    for key, mine in _by_network(rows).items():
        finite = [row for row in mine if row["held_out"] is not None]
        if not finite:
            raise GluonAFFError(f"{key[0]}, b = {key[1]}: the loss ran away at every learning rate, give lower ones")
        best = max(finite, key=lambda row: (row["held_out"], -row["lr"]))
        for row in mine:
            row["chosen"] = row is best


def found(directory: Path) -> List[Dict[str, Any]]:
    """What the search in a grid's directory has found; empty before it has ended. Raises GluonAFFError."""
    path = directory / _FILE
    if not path.exists():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        [(row["strategy"], row["blocks"], float(row["lr"]), row["held_out"], row["chosen"]) for row in rows]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise GluonAFFError(f"{path} cannot be read ({error!r}): remove it and search again") from None
    return rows


def chosen(
    rows: Sequence[Mapping[str, Any]], strategies: Sequence[str], blocks: Sequence[int]
) -> Dict[Tuple[str, int], float]:
    """(strategy, blocks) -> the learning rate. Raises UsageError for one that was not searched for."""
    rates = {(row["strategy"], row["blocks"]): row["lr"] for row in rows if row["chosen"]}
    for strategy in map(canonical_fusion, strategies):
        for count in blocks:
            if (strategy, count) not in rates:
                raise UsageError(f"no learning rate was chosen for {strategy}, b = {count}: search with it")
    return rates


def at_the_edge(rows: Sequence[Mapping[str, Any]]) -> List[str]:
    """A sentence for every chosen rate that is the lowest or the highest of those tried."""
    sides: Dict[Tuple[float, str], List[str]] = {}
    for (strategy, blocks), mine in _by_network(rows).items():
        tried = {row["lr"] for row in mine}
        for rate in {row["lr"] for row in mine if row["chosen"]} & {min(tried), max(tried)}:
            if len(tried) > 1:
                side = "high" if rate == max(tried) else "low"
                sides.setdefault((rate, side), []).append(f"{strategy} (b = {blocks})")
    return [
        f"{rate:g}, chosen for {', '.join(names)}, is the {side}est rate that was tried: a {side}er one may be better."
        for (rate, side), names in sides.items()
    ]


def _by_network(rows: Sequence[_Row]) -> Dict[Tuple[str, int], List[_Row]]:
    """(strategy, blocks) -> what was tried."""
    networks: Dict[Tuple[str, int], List[_Row]] = {}
    for row in rows:
        networks.setdefault((row["strategy"], row["blocks"]), []).append(row)
    return networks
