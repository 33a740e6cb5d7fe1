"""A task and its command line: what is trained, and what is made of its runs."""

from __future__ import annotations

from argparse import Namespace
from typing import Optional, Sequence

import yaml

from ..errors import UsageError
from ..models.summary import describe
from ..training import Outcome, Schedule
from ..utils.console import quietly
from ..utils.outputs import guarded
from .definition import Options, Record, TaskDefinition
from .options.completing import complete_options
from .options.config import disagreements, read_recipe
from .parts import schedule_of, show_schedule
from .running import train

__all__ = ["Options", "Record", "Task"]


class Task(TaskDefinition):
    """One kind of training, from its command line to what is made of its runs.

    A task derives from this class and is registered with `register_task`; then `gluon-aff train NAME` trains it, runs
    stop and resume, and evaluate, compare, plot and the other commands know its runs. It must give `name`,
    `description`, `add_options`, `datasets`, `model_name`, `data`, `network`, `job`, `batches_per_epoch` and
    `input_shape`; everything else of `TaskDefinition` has a default.
    """

    def options(self, argv: Optional[Sequence[str]] = None, prog: Optional[str] = None) -> Namespace:
        """Every option of a run: what is given wins over --config and --recipe, these win over the defaults.

        With --resume the run's own config.yaml takes the place of the defaults, and what is given must agree with it.

        Raises
        ------
        UsageError
            For options that do not exist, contradict each other, or differ from the run's that is to be resumed.
        """
        return self.completed(self.parser(prog).given(argv))

    def completed(self, given: Options) -> Namespace:
        """The same for the options in ``given``."""
        return complete_options(self, given)

    def train(self, options: Namespace) -> Outcome:
        """Start or resume the training run that complete options describe.

        Raises
        ------
        UsageError, GluonAFFError
            For what cannot be.
        Diverged
            When the loss is no longer finite.
        """
        with quietly(options.quiet):
            return train(self, options)

    def schedule(self, options: Namespace) -> Schedule:
        """The run's learning rates, without network and, where possible, without data."""
        return schedule_of(options, self.batches_per_epoch)

    def main(self, argv: Optional[Sequence[str]] = None, prog: Optional[str] = None) -> int:
        """The command line from its arguments to the exit code; ``prog`` is what its help calls the program."""
        options = self.options(argv, prog)
        with guarded(self.parser(prog), options):
            return self.run(options)

    def run(self, options: Namespace) -> int:
        """Do what complete options ask for: print, draw, or train."""
        if options.print_recipe:
            print(self.recipe_text(options), end="")
            return 0
        if options.summary:
            print(describe(self.network(options), self.input_shape(options)))
            return 0
        if options.dry_run:
            return show_schedule(self.schedule(options), self.model_name(options), options)
        return self.train(options).exit_code

    def recipe_text(self, options: Namespace) -> str:
        """A recipe's options as YAML that --config reads, and in comments where paper and code disagree.

        Raises UsageError without --recipe.
        """
        if options.recipe is None:
            raise UsageError("--print-recipe prints the recipe that --recipe names")
        values = read_recipe(self.name, options.recipe, options.model, vars(options))
        lines = [f"recipe {options.recipe} for {options.model}", *disagreements(self.name, options.recipe)]
        return "".join(f"# {line}\n" for line in lines) + yaml.safe_dump(values, sort_keys=False)
