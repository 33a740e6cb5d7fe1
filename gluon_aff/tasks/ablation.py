"""The ablation grid of the paper's Tables 3 and 4: every strategy under one recipe, cell by cell.

A cell is a normal run of its host's task, in a directory of its own: it is skipped when finished, and
resumed when not.
"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence

from ..errors import UsageError
from ..nn import canonical_fusion, fusion_class, list_fusions
from ..training.history import History
from .definition import TaskDefinition
from .options.completing import identity
from .options.config import check_same, flag, read_yaml
from .options.parser import Role
from .register import task_of_host

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


def bottleneck_ratio(budget: str, strategy: str) -> int:
    """r of a strategy under a budget: Table 3 compares at r = 4, Table 4 at equal numbers of parameters."""
    return fusion_class(strategy).table4_ratio if budget == "table4" else 4


def default_strategies(host: str) -> List[str]:
    """The strategies of the paper's Tables 3 and 4, in their order, and what else is compared in this host."""
    rows = {name: fusion_class(name).table_row for name in list_fusions()}
    of_tables = sorted((name for name, row in rows.items() if row is not None), key=lambda name: rows[name] or 0)
    return [*of_tables, *task_of_host(host).ablation_strategies]


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
        return History(self.directory / "history.jsonl")

    def begun(self) -> bool:
        return self.history().path.exists()

    def finished(self) -> bool:
        return self.begun() and len(self.history().epochs()) >= self.options.num_epochs


def make_cells(
    host: str,
    strategies: Sequence[str],
    blocks: Sequence[int],
    seeds: Sequence[int],
    epochs: int,
    budget: str,
    directory: Path,
    more: Sequence[str] = (),
) -> List[Cell]:
    """The grid's cells in the order they run: seed by seed, so that a stopped grid is whole for its first seeds.

    ``more`` are options of the host's training script for all cells; they win over the paper's recipe, whose decay
    epochs and last epochs without mixup are scaled to ``epochs``. Raises UsageError for what cannot be, before anything
    runs.
    """
    names = [canonical_fusion(strategy) for strategy in strategies]
    for what, values in (("strategies", names), ("blocks", blocks), ("seeds", seeds)):
        if not values or len(set(values)) != len(values):
            raise UsageError(f"--{what} {','.join(map(str, values))}: expected at least one, and none twice")
    task = task_of_host(host)
    _check_more(task, more)
    recipe = [*task.ablation_recipe(epochs), "--channel-times", "1"]
    cells = []
    for seed in seeds:
        for count in blocks:
            for strategy in names:
                r = bottleneck_ratio(budget, strategy)
                place = directory / "cells" / f"{host}-{strategy}-r{r}-b{count}-s{seed}"
                argv = [*recipe, *more, "--model", host, "--fusion", strategy, "--r", str(r), "--blocks", str(count)]
                argv += ["--seed", str(seed), "--num-epochs", str(epochs), "--save-dir", str(place)]
                cells.append(Cell(host, strategy, r, count, seed, place, task.options(argv)))
    return cells


def _check_more(task: TaskDefinition, more: Sequence[str]) -> None:
    """Raise UsageError for options of all cells which the grid sets itself, or which are no options of a run."""
    parser = task.parser()
    given = parser.given(more)
    for name, instead in _GRIDS.items():
        if name in given:
            raise UsageError(f"{flag(name)} behind --: the grid sets it, use {instead} before --")
    commands = sorted(parser.names(Role.COMMAND) & set(given) - {"config"})
    if commands:
        raise UsageError(f"{flag(commands[0])} behind --: it is for a single run, leave it out")


def run_cells(cells: Sequence[Cell]) -> int:
    """Train what is not finished. The exit code is 0, or that of the signal which stopped a cell.

    Raises UsageError for a cell that was begun with other options.
    """
    for cell in cells:
        _check(cell)
    for number, cell in enumerate(cells, 1):
        if cell.finished():
            print(f"cell {number} of {len(cells)}, {cell.name}: finished already", flush=True)
            continue
        print(f"cell {number} of {len(cells)}, {cell.name}", flush=True)
        cell.options.resume = cell.begun()
        outcome = task_of_host(cell.host).train(cell.options)
        if not outcome.finished:
            return outcome.exit_code
    return 0


def _check(cell: Cell) -> None:
    if cell.begun():
        saved = read_yaml(cell.directory / "config.yaml")
        mine = identity(task_of_host(cell.host).parser(), vars(cell.options))
        check_same(saved, mine, str(cell.directory), independent_of_length=False)


def results(cells: Sequence[Cell]) -> Iterator[Dict[str, Any]]:
    """One record for each finished cell: what ran, its figures with image counts, parameters, images/s, commits.

    "final" and "best" are accuracies, of an FPN foreground IoU with "final_niou" and "best_niou" beside them. A run
    that was resumed may have several commits.
    """
    for cell in cells:
        if not cell.finished():
            continue
        header, epochs = cell.history().header(), cell.history().epochs()
        best = max(epochs, key=lambda record: record["val"])
        speeds = sorted(record["images"] / record["time"] for record in epochs)
        yield {
            "host": cell.host,
            "strategy": cell.strategy,
            "r": cell.r,
            "blocks": cell.blocks,
            "seed": cell.seed,
            "parameters": header["parameters"],
            "final": epochs[-1]["val"],
            "best": best["val"],
            "best_epoch": best["epoch"],
            **({"final_niou": epochs[-1]["niou"], "best_niou": best["niou"]} if "niou" in best else {}),
            "test_images": epochs[-1]["val_images"],
            "images_per_second": speeds[len(speeds) // 2],
            "threads": header["threads"],
            "commits": sorted({str(record["commit"]) for record in cell.history().starts()}),
            "options": header["options"],
            "data": header["data"],
        }
