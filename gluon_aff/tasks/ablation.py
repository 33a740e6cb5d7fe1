"""The ablation grid of the paper's Tables 3 and 4: every strategy under one recipe, cell by cell.

A cell is a normal run of its host's task, in a directory of its own: it is skipped when finished, and
resumed when not.
"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ..errors import UsageError
from ..nn import canonical_fusion
from ..training import Diverged
from ..training.history import HISTORY, History
from . import final_score
from .config import check_same, flag, identity, read_yaml
from .options import Role
from .task import Task, task_of_host

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
_AT_2_IN_TABLE_4 = ("ms_gau", "ms_se", "ms_sa", "aff", "aff_global_global", "aff_local_local")
_OF_TABLES = ("add", "concat", *_AT_2_IN_TABLE_4[:4], "iaff", *_AT_2_IN_TABLE_4[4:], "se", "sk", "highway")


def bottleneck_ratio(budget: str, strategy: str) -> int:
    """r of a strategy under a budget: Table 3 compares at r = 4, Table 4 at equal numbers of parameters."""
    return 2 if budget == "table4" and strategy in _AT_2_IN_TABLE_4 else 4


def default_strategies(host: str) -> List[str]:
    """The strategies of the paper's Tables 3 and 4, in their order, and what else is compared in this host."""
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
        return trained and (final_score.scored(self.directory) or not final_score.wanted(self.options))


def make_cells(
    host: str,
    strategies: Sequence[str],
    blocks: Sequence[int],
    seeds: Sequence[int],
    epochs: int,
    budget: str,
    directory: Path,
    more: Sequence[str] = (),
    rates: Optional[Mapping[Tuple[str, int], float]] = None,
) -> List[Cell]:
    """The grid's cells in the order they run: seed by seed, so that a stopped grid is whole for its first seeds.

    ``more`` are options of the host's training script for all cells; they win over the paper's recipe, whose decay
    epochs and last epochs without mixup are scaled to ``epochs``, and over --init-by-name, with which the cells of a
    seed are pairs. ``rates`` are learning rates by (strategy, blocks). Raises UsageError for what cannot be, before
    anything runs.
    """
    names = [canonical_fusion(strategy) for strategy in strategies]
    for what, values in (("strategies", names), ("blocks", blocks), ("seeds", seeds)):
        check_list(what, values)
    task = task_of_host(host)
    check_more(task, more, {**_GRIDS, **({"lr": "--learning-rates"} if rates else {})})
    cells = []
    for seed in seeds:
        for count in blocks:
            for strategy in names:
                r = bottleneck_ratio(budget, strategy)
                place = directory / "cells" / f"{host}-{strategy}-r{r}-b{count}-s{seed}"
                rate = ["--lr", repr(rates[strategy, count])] if rates else []
                cells.append(make_cell(host, strategy, r, count, seed, epochs, place, [*more, *rate]))
    return cells


def make_cell(
    host: str, strategy: str, r: int, blocks: int, seed: int, epochs: int, place: Path, more: Sequence[str]
) -> Cell:
    """One run of a grid under the paper's recipe; ``more`` wins over it. Raises UsageError for what cannot be."""
    task = task_of_host(host)
    argv = [*task.ablation_recipe(epochs), "--channel-times", "1", "--init-by-name", *more]
    argv += ["--model", host, "--fusion", strategy, "--r", str(r), "--blocks", str(blocks)]
    argv += ["--seed", str(seed), "--num-epochs", str(epochs), "--save-dir", str(place)]
    return Cell(host, strategy, r, blocks, seed, place, task.options(argv))


def check_list(what: str, values: Sequence[Any]) -> None:
    """Raise UsageError for an option's list that is empty or has a value twice."""
    if not values or len(set(values)) != len(values):
        raise UsageError(f"--{what} {','.join(map(str, values))}: expected at least one, and none twice")


def check_more(task: Task, more: Sequence[str], grids: Mapping[str, str]) -> None:
    """Raise UsageError for options of all cells which the grid sets itself, or which are no options of a run."""
    parser = task.parser()
    given = parser.given(more)
    for name, instead in grids.items():
        if name in given:
            raise UsageError(f"{flag(name)} behind --: the grid sets it, use {instead} before --")
    commands = sorted(parser.names(Role.COMMAND) & set(given) - {"config"})
    if commands:
        raise UsageError(f"{flag(commands[0])} behind --: it is for a single run, leave it out")


def run_cells(cells: Sequence[Cell], may_diverge: bool = False) -> int:
    """Train what is not finished. The exit code is 0, or that of the signal which stopped a cell.

    Raises UsageError for a cell that was begun with other options, and Diverged unless a cell ``may_diverge``: then it
    is left unfinished.
    """
    for cell in cells:
        _check(cell)
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


def _check(cell: Cell) -> None:
    if cell.begun():
        parser = task_of_host(cell.host).parser()
        older = {**identity(parser, parser.defaults()), **parser.before()}  # runs older than some options
        saved = {**older, **read_yaml(cell.directory / "config.yaml")}
        mine = identity(parser, vars(cell.options))
        check_same(saved, mine, str(cell.directory), independent_of_length=False)


def results(cells: Sequence[Cell]) -> Iterator[Dict[str, Any]]:
    """One record for each finished cell: what ran, its figures with image counts, parameters, images/s, commits.

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
            "host": cell.host,
            "strategy": cell.strategy,
            "r": cell.r,
            "blocks": cell.blocks,
            "seed": cell.seed,
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
    """(blocks, strategy, seed) -> every test image's share, of the finished cells that kept them."""
    found = {}
    for cell in cells:
        if cell.finished() and final_score.scored(cell.directory):
            kept = final_score.read_shares(cell.directory)
            if kept is not None:
                found[cell.blocks, cell.strategy, cell.seed] = kept
    return found
