"""What a task says of itself: its options, data, network and job, and what is said of its runs."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import mxnet as mx

from ..data.pictures import NetworkInput
from ..errors import UsageError
from ..evaluation import Report, ScoreRequest, TrainedNetwork
from ..models import ModelEntry
from ..training import Job
from ..training.history import EpochRecord, epoch_line
from .final_test import FinalTest
from .options.parser import OptionParser
from .parts import Data, Setup

Options = Dict[str, Any]
Record = EpochRecord


class TaskDefinition:
    """What a task says of itself; `Task` adds what can be done with it.

    Attributes
    ----------
    name : str
        Of the command, of its recipes' files, and what checkpoints say they are of.
    description : str
        One sentence for ``--help``.
    metric : str
        What a record's "val" is: "accuracy", "IoU" and the like.
    ablation_hosts : mapping
        Values of ``--model`` that `gluon-aff ablation` may have as its host, to the registered network whose figures
        the paper's tables give.
    ablation_strategies : sequence of str
        Fusions that its hosts' grid compares besides those of the paper's tables.
    paper_setting : str
        What the paper's Tables 3 and 4 were trained and tested on.
    paper_figures : str
        What their figures are.
    """

    name: str
    description: str
    metric: str = "accuracy"
    ablation_hosts: Mapping[str, str] = {}
    ablation_strategies: Sequence[str] = ()
    paper_setting: str = ""
    paper_figures: str = ""

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

    def default_recipe(self, options: Options) -> Optional[str]:
        """The recipe that comes by itself with some data set, or None."""
        return None

    def adapt_recipe(self, values: Options, given: Options) -> None:
        """Take out of a recipe's ``values``, in place, what does not belong to what is given."""

    def unused(self, options: Options) -> Iterator[Tuple[str, str]]:
        """Options that these ``options`` make useless, each with the reason: ``("temperature", "without --teacher")``.

        Giving one of them on the command line is an error.
        """
        yield from ()

    def model_name(self, options: Namespace) -> str:
        """The network's name for people: ``cifar_aff_resnet32`` and the like."""
        raise NotImplementedError

    def directory(self, options: Namespace) -> Path:
        """A run's default directory."""
        return Path("runs") / f"{options.dataset}-{self.model_name(options)}-{options.seed}"

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

    def test(self, options: Namespace, setup: Setup, data: Data, net: mx.gluon.HybridBlock) -> FinalTest:
        """Score a trained network on the test images of a run with ``--hold-out``. Raises UsageError without any."""
        raise UsageError(f"task {self.name} has no test images besides those it validates on: leave --hold-out out")

    def batches_per_epoch(self, options: Namespace, devices: int) -> int:
        """For the schedule alone; a batch has as many parts of ``--batch-size`` images as ``devices`` says.

        Data are read only where nothing else tells how many training images there are.
        """
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

    def metric_of(self, options: Namespace) -> str:
        """What the "val" of a run with these options is, where that is not always `metric`."""
        return self.metric

    def log_line(self, record: Record) -> str:
        """From an epoch's record to its line in the log."""
        return epoch_line(record)

    def best_file(self, options: Namespace, best: Record) -> Optional[str]:
        """A second name of the best weights' file, or None."""
        return None

    # ---- what can be done with it

    def supports(self, entry: ModelEntry) -> bool:
        """Whether a registered network is one for this task."""
        return False

    def data_facts(self, options: Namespace) -> Options:
        """What is known of the images that a run's network is for, under the names of `evaluation.DataOptions`."""
        return {"dataset": options.dataset, "data": options.data_dir}

    def default_data_facts(self) -> Options:
        """The same for a file of weights that tells nothing else."""
        return {}

    def loaded_data_facts(self, data: Data) -> Options:
        """What only a run's data tell of its images: their ``size``, and ``classes``, the names of their classes."""
        return {}

    def network_input(self, known: Options, outputs: int) -> NetworkInput:
        """How a picture becomes the input of a network of this task.

        ``known``: of its images, as `data_facts` and `loaded_data_facts` have it; ``outputs``: of the network's head.

        Raises UsageError for what it has not, and where pictures cannot be explained.
        """
        raise UsageError(f"a network of task {self.name} cannot be explained on pictures")

    def score(self, trained: TrainedNetwork, request: ScoreRequest) -> Report:
        """Score a network of this task. Raises UsageError and GluonAFFError for what cannot be."""
        raise UsageError(f"a network of task {self.name} cannot be scored")

    def model_args(self, options: Options) -> Optional[Tuple[str, Options]]:
        """Name and options for ``create_model`` of the network of a run's options; None for one of its own."""
        return None

    def ablation_recipe(self, epochs: int) -> List[str]:
        """Options of an ablation's cells: the paper's recipe at another length."""
        return ["--recipe", "paper"]
