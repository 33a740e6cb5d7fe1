"""The ablation grid of the paper's Tables 3 and 4: every strategy under one recipe, cell by cell.

A cell is a normal run of its host's task, in a directory of its own: it is skipped when finished, and resumed when not.
A learning rate for every strategy may be searched for before, on held-out training images.
"""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ..errors import GluonAFFError, UsageError
from ..nn import canonical_fusion
from ..training import Diverged
from ..training.history import HISTORY, History
from ..utils.files import write_json
from . import final_score
from .config import check_same, flag, identity, saved_options
from .options import Role, wants_final_test
from .task import task_of_host

#: Options that the grid sets in every cell, and the option of ``gluon-aff ablation`` for them.
_GRIDS = {
    "model": "--host",
    "fusion": "--strategies",
    "r": "--budget",
    "blocks": "--blocks",
    "seed": "--seeds",
    "num_epochs": "--epochs",
    "save_dir": "--out",
}
BUDGETS = ("table3", "table4")
SEARCH_SEED = 1000  # of every search's runs; none of the comparison's, and the same in all parts of a grid
_SEARCH = "search.json"
_AT_2_IN_TABLE_4 = ("ms_gau", "ms_se", "ms_sa", "aff", "aff_global_global", "aff_local_local")
_OF_TABLES = ("add", "concat", *_AT_2_IN_TABLE_4[:4], "iaff", *_AT_2_IN_TABLE_4[4:], "se", "sk", "highway")

Rates = Dict[Tuple[str, int], float]  #: (strategy, blocks) -> learning rate
SearchRow = Mapping[str, Any]


def bottleneck_ratio(budget: str, strategy: str) -> int:
    """Return r of a strategy under a budget: Table 3 compares at r = 4, Table 4 at equal numbers of parameters."""
    return 2 if budget == "table4" and strategy in _AT_2_IN_TABLE_4 else 4


def default_strategies(host: str) -> List[str]:
    """Return the strategies of the paper's Tables 3 and 4, in their order, and what else is compared in this host."""
    return [*_OF_TABLES, *task_of_host(host).ablation_strategies]


@dataclass(frozen=True)
class Cell:
    """One run of the grid."""

    host: str
    strategy: str
    r: int
    blocks: int
    seed: int
    directory: Path
    options: Namespace

    @property
    def name(self) -> str:
        return self.directory.name

    def history(self) -> History:
        return History(self.directory / HISTORY)

    def begun(self) -> bool:
        return self.history().path.exists()

    def finished(self) -> bool:
        """Whether it was trained to its end and, where that is asked for, tested."""
        trained = self.begun() and len(self.history().epochs()) >= self.options.num_epochs
        return trained and (final_score.scored(self.directory) or not wants_final_test(self.options))


class Grid:
    """Strategies and numbers of blocks in one host, under the paper's recipe.

    Parameters
    ----------
    host : str
        One of `list_ablation_hosts`.
    strategies : sequence of str
        Fusions, by any of their names.
    blocks : sequence of int
    budget : {"table3", "table4"}
        Of the bottleneck ratios, see `bottleneck_ratio`.
    directory : Path
        Where runs, search and report go.
    more : sequence of str
        Options of the host's training script for all cells; they win over the recipe, whose decay epochs and last
        epochs without mixup are scaled to the cells' length, and over --init-by-name, with which the cells of a seed
        are pairs.

    Raises
    ------
    UsageError
        For what cannot be, before anything runs.
    """

    def __init__(
        self,
        host: str,
        strategies: Sequence[str],
        blocks: Sequence[int],
        budget: str,
        directory: Path,
        more: Sequence[str] = (),
    ) -> None:
        self.task = task_of_host(host)
        self.host, self.blocks, self.budget, self.directory = host, blocks, budget, directory
        self.strategies, self.more = [canonical_fusion(strategy) for strategy in strategies], more
        _check_list("strategies", self.strategies)
        _check_list("blocks", blocks)
        self.given = self.task.parser().given(more)
        self._refuse(_GRIDS)
        commands = sorted(self.task.parser().names(Role.COMMAND) & set(self.given) - {"config"})
        if commands:
            raise UsageError(f"{flag(commands[0])} behind --: it is for a single run, leave it out")

    def cells(self, seeds: Sequence[int], epochs: int, rates: Optional[Rates] = None) -> List[Cell]:
        """Return the cells in the order they run: seed by seed, so that a stopped grid is whole for its first seeds.

        Without ``rates`` the learning rate is the recipe's. Raises UsageError for what cannot be.
        """
        _check_list("seeds", seeds)
        if rates:
            self._refuse({"lr": "--learning-rates"})
        return [
            self._cell(strategy, count, seed, epochs, "cells", rates[strategy, count] if rates else None)
            for seed in seeds
            for count in self.blocks
            for strategy in self.strategies
        ]

    def candidates(self, rates: Sequence[float], epochs: int) -> List[Cell]:
        """Return a run for every strategy, number of blocks and learning rate, none of which sees the test images.

        Raises UsageError for what cannot be, such as a search without held-out images.
        """
        _check_list("learning-rates", rates)
        self._refuse({"lr": "--learning-rates"})
        if not self.given.get("hold_out"):
            raise UsageError("--learning-rates chooses on held-out training images: say how many, -- --hold-out N")
        return [
            self._cell(strategy, count, SEARCH_SEED, epochs, "search", rate)
            for count in self.blocks
            for strategy in self.strategies
            for rate in rates
        ]

    def _refuse(self, owned: Mapping[str, str]) -> None:
        """Raise UsageError for options of all cells which the grid sets itself; beside each the one to use."""
        for name, instead in owned.items():
            if name in self.given:
                raise UsageError(f"{flag(name)} behind --: the grid sets it, use {instead} before --")

    def _cell(self, strategy: str, blocks: int, seed: int, epochs: int, folder: str, rate: Optional[float]) -> Cell:
        r = bottleneck_ratio(self.budget, strategy)
        name = f"{self.host}-{strategy}-r{r}-b{blocks}-s{seed}" + (f"-lr{rate:g}" if folder == "search" else "")
        place = self.directory / folder / name
        argv = [*self.task.ablation_recipe(epochs), "--channel-times", "1", "--init-by-name", *self.more]
        argv += [] if rate is None else ["--lr", repr(rate)]
        argv += ["--no-final-test"] if folder == "search" else []
        argv += ["--model", self.host, "--fusion", strategy, "--r", str(r), "--blocks", str(blocks)]
        argv += ["--seed", str(seed), "--num-epochs", str(epochs), "--save-dir", str(place)]
        return Cell(self.host, strategy, r, blocks, seed, place, self.task.options(argv))


def _check_list(what: str, values: Sequence[Any]) -> None:
    """Raise UsageError for an option's list that is empty or has a value twice."""
    if not values or len(set(values)) != len(values):
        raise UsageError(f"--{what} {','.join(map(str, values))}: expected at least one, and none twice")


def run_cells(cells: Sequence[Cell], may_diverge: bool = False) -> int:
    """Train what is not finished. The exit code is 0, or that of the signal which stopped a cell.

    Raises UsageError for a cell that was begun with other options, and Diverged unless a cell ``may_diverge``: then it
    is left unfinished.
    """
    for cell in cells:
        if cell.begun():
            parser = task_of_host(cell.host).parser()
            saved, mine = saved_options(parser, cell.directory), identity(parser, vars(cell.options))
            check_same(saved, mine, str(cell.directory), independent_of_length=False)
    for number, cell in enumerate(cells, 1):
        if cell.finished():
            print(f"cell {number} of {len(cells)}, {cell.name}: finished already", flush=True)
            continue
        print(f"cell {number} of {len(cells)}, {cell.name}", flush=True)
        cell.options.resume = cell.begun()
        try:
            outcome = task_of_host(cell.host).train(cell.options)
        except Diverged as error:
            if not may_diverge:
                raise
            print(f"{cell.name} is left out: {error}", flush=True)
            continue
        if not outcome.finished:
            return outcome.exit_code
    return 0


def results(cells: Sequence[Cell]) -> Iterator[Dict[str, Any]]:
    """Return a record for each finished cell: what ran, its figures with image counts, parameters, images/s, commits.

    "final" and "best" are accuracies, of an FPN foreground IoU with "final_niou" and "best_niou" beside them. Where
    epochs were chosen on held-out images "final" is the test's, "best" the chosen epoch's on these images, and
    "held_out" their number. A run that was resumed may have several commits.
    """
    for cell in cells:
        if not cell.finished():
            continue
        header, epochs = cell.history().header(), cell.history().epochs()
        best = max(epochs, key=lambda record: record["val"])
        speeds = sorted(record["images"] / record["time"] for record in epochs)
        tested = final_score.scored(cell.directory)
        final = final_score.read_figures(cell.directory) if tested else epochs[-1]
        yield {
            **{name: getattr(cell, name) for name in ("host", "strategy", "r", "blocks", "seed")},
            "lr": cell.options.lr,
            "parameters": header["parameters"],
            "final": final["val"],
            "best": best["val"],
            "best_epoch": best["epoch"],
            **({"final_niou": final["niou"], "best_niou": best["niou"]} if "niou" in best else {}),
            "test_images": final["val_images"],
            **({"held_out": best["val_images"]} if tested else {}),
            "images_per_second": speeds[len(speeds) // 2],
            "threads": header["threads"],
            "commits": cell.history().commits(),
            "options": header["options"],
            "data": header["data"],
        }


def shares(cells: Sequence[Cell]) -> Dict[Tuple[int, str, int], final_score.Shares]:
    """Return (blocks, strategy, seed) -> every test image's share, of the finished cells that kept them."""
    found = {}
    for cell in cells:
        if cell.finished() and final_score.scored(cell.directory):
            kept = final_score.read_shares(cell.directory)
            if kept is not None:
                found[cell.blocks, cell.strategy, cell.seed] = kept
    return found


# A learning rate for every strategy


def search(candidates: Sequence[Cell], directory: Path) -> int:
    """Run the candidates and write down what they reached; the exit code as of `run_cells`.

    The best rate of every strategy and number of blocks is marked as chosen, of equal ones the lowest. A rate whose
    loss is no longer finite is out. Raises GluonAFFError when that is so of all rates of a strategy.
    """
    code = run_cells(candidates, may_diverge=True)
    if code:
        return code
    rows: List[Dict[str, Any]] = []
    for cell in candidates:
        epochs = cell.history().epochs() if cell.finished() else []
        best = max((record["val"] for record in epochs), default=None)
        images = epochs[-1]["val_images"] if epochs else None
        place = {"strategy": cell.strategy, "blocks": cell.blocks, "seed": cell.seed, "epochs": cell.options.num_epochs}
        rows.append({**place, "lr": cell.options.lr, "held_out": best, "images": images})
    for (strategy, blocks), mine in _by_network(rows).items():
        finite = [row for row in mine if row["held_out"] is not None]
        if not finite:
            raise GluonAFFError(f"{strategy}, b = {blocks}: the loss ran away at every learning rate, give lower ones")
        chosen = max(finite, key=lambda row: (row["held_out"], -row["lr"]))
        for row in mine:
            row["chosen"] = row is chosen
    write_json(rows, directory / _SEARCH)
    return 0


def read_search(directory: Path) -> List[Dict[str, Any]]:
    """Return what the search in a grid's directory has found; empty before it has ended. Raises GluonAFFError."""
    path = directory / _SEARCH
    if not path.exists():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        [(row["strategy"], row["blocks"], float(row["lr"]), row["held_out"], row["chosen"]) for row in rows]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise GluonAFFError(f"{path} cannot be read ({error!r}): remove it and search again") from None
    return rows


def chosen_rates(rows: Sequence[SearchRow], grid: Grid) -> Rates:
    """Return the learning rates of a search. Raises UsageError for a network of the grid that was not searched for."""
    rates = {(row["strategy"], row["blocks"]): row["lr"] for row in rows if row["chosen"]}
    for strategy in grid.strategies:
        for count in grid.blocks:
            if (strategy, count) not in rates:
                raise UsageError(f"no learning rate was chosen for {strategy}, b = {count}: search with it")
    return rates


def at_the_edge(rows: Sequence[SearchRow]) -> List[str]:
    """Return a sentence for every chosen rate that is the lowest or the highest of those tried."""
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


def _by_network(rows: Sequence[Any]) -> Dict[Tuple[str, int], List[Any]]:
    """(strategy, blocks) -> what was tried."""
    networks: Dict[Tuple[str, int], List[Any]] = {}
    for row in rows:
        networks.setdefault((row["strategy"], row["blocks"]), []).append(row)
    return networks
