"""What a task is: its options, data, network and job for a training run, and what can be done with a run of it."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import mxnet as mx
import yaml

from ..errors import UsageError
from ..models import ModelEntry
from ..models.summary import describe
from ..training import Outcome
from ..training.history import epoch_line
from ..training.loop import Job
from .options.completing import complete_options
from .options.config import read_recipe
from .options.parser import OptionParser
from .parts import Data, Setup, show_schedule
from .running import train

Options = Dict[str, Any]
Record = Dict[str, Any]


class Task:
    """One kind of training, from its command line to what is made of its runs.

    A task derives from this class and is registered with `register_task`; then `gluon-aff train NAME` trains it, runs
    stop and resume, and evaluate, compare, plot and the other commands know its runs. Must be given: `name`,
    `description`, `add_options`, `datasets`, `model_name`, `data`, `network` and `job`.

    Attributes
    ----------
    name : str
        Of the command, of its recipes' files, and what checkpoints say they are of.
    description : str
        One sentence for ``--help``.
    metric : str
        What a record's "val" is: "accuracy", "IoU" and the like.
    ablation_hosts : sequence of str
        Values of ``--model`` that `gluon-aff ablation` may have as its host.
    """

    name: str
    description: str
    metric: str = "accuracy"
    ablation_hosts: Sequence[str] = ()

    # ---- options

    def parser(self, prog: Optional[str] = None) -> OptionParser:
        """The command line; ``prog`` is what the help calls the program."""
        parser = OptionParser(prog=prog or f"gluon-aff train {self.name}", description=self.description)
        self.add_options(parser)
        return parser

    def add_options(self, parser: OptionParser) -> None:
        """Add all options, most of them by the groups of `options.shared`."""
        raise NotImplementedError

    def datasets(self) -> Sequence[str]:
        """Names of the data sets that it trains on."""
        raise NotImplementedError

    def complete(self, options: Options) -> None:
        """Fill in, in place, what depends on other options."""

    def own_recipe(self, options: Options) -> Optional[str]:
        """The recipe that comes by itself with some data set, or None."""
        return None

    def fit_recipe(self, values: Options, given: Options) -> None:
        """Take out of a recipe's ``values``, in place, what does not belong to what is given."""

    def model_name(self, options: Namespace) -> str:
        """The network's name for people: ``cifar_aff_resnet32`` and the like."""
        raise NotImplementedError

    def directory(self, options: Namespace) -> Path:
        """A run's default directory."""
        return Path("runs") / f"{options.dataset}-{self.model_name(options)}-{options.seed}"

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

    # ---- the parts of a run

    def data(self, options: Namespace, setup: Setup) -> Data:
        """What the run trains and validates on. Raises UsageError and GluonAFFError for what cannot be."""
        raise NotImplementedError

    def network(self, options: Namespace, outputs: Optional[int] = None, ctx: Any = None) -> mx.gluon.HybridBlock:
        """The network, initialised from the seed; ``outputs`` as `Data.outputs` has them. Raises UsageError."""
        raise NotImplementedError

    def job(self, options: Namespace, setup: Setup, data: Data, net: mx.gluon.HybridBlock) -> Job:
        """Loader, targets, loss, metric and validation, put together by `parts.make_job`."""
        raise NotImplementedError

    def batches_per_epoch(self, options: Namespace, devices: int) -> int:
        """For the schedule alone. Data are read only where nothing else tells how many training images there are."""
        raise NotImplementedError

    def input_shape(self, options: Namespace) -> Tuple[int, ...]:
        """What ``--summary`` shows the network at."""
        raise NotImplementedError

    # ---- what is said of a run

    def introduction(self, options: Namespace, data: Data, parameters: int) -> Iterator[str]:
        """What a reader of the log must know of data and network, line by line."""
        yield from ()

    def notes(self, options: Namespace, data: Data) -> Iterator[str]:
        """Lines behind the introduction: what is unusual about this run."""
        yield from ()

    def figure(self, record: Record) -> str:
        """From the record of a best or last epoch to its validation figure in words."""
        return f"{self.metric} {record['val']:.4f} ({record['val_images']} images)"

    def log_line(self, record: Record) -> str:
        """From an epoch's record to its line in the log."""
        return epoch_line(record)

    def best_file(self, options: Namespace, best: Record) -> Optional[str]:
        """A second name of the best weights' file, or None."""
        return None

    # ---- what can be done with it

    def trains(self, entry: ModelEntry) -> bool:
        """Whether a registered network is one for this task."""
        return False

    def images(self, options: Namespace) -> Options:
        """What is known of the images that a run's network is for, under the names of `evaluation.DataOptions`."""
        return {"dataset": options.dataset, "data": options.data_dir}

    def ablation_recipe(self, epochs: int) -> List[str]:
        """Options of an ablation's cells: the paper's recipe at another length."""
        return ["--recipe", "paper"]

    # ---- the command line

    def train(self, options: Namespace) -> Outcome:
        """Begin, or go on with, the training run that complete options describe.

        Raises
        ------
        UsageError, GluonAFFError
            For what cannot be.
        Diverged
            When the loss is no longer finite.
        """
        return train(self, options)

    def main(self, argv: Optional[Sequence[str]] = None, prog: Optional[str] = None) -> int:
        """The command line from its arguments to the exit code; ``prog`` is what its help calls the program."""
        return self.run(self.options(argv, prog))

    def run(self, options: Namespace) -> int:
        """Do what complete options ask for: print, draw, or train."""
        if options.print_recipe:
            print(self.recipe_text(options), end="")
            return 0
        if options.summary:
            print(describe(self.network(options), self.input_shape(options)))
            return 0
        if options.dry_run:
            return show_schedule(self, options)
        return self.train(options).exit_code

    def recipe_text(self, options: Namespace) -> str:
        """A recipe's options as YAML that --config reads. Raises UsageError without --recipe."""
        if options.recipe is None:
            raise UsageError("--print-recipe prints the recipe that --recipe names")
        values = read_recipe(self.name, options.recipe, options.model)
        return f"# recipe {options.recipe} for {options.model}\n" + yaml.safe_dump(values, sort_keys=False)
