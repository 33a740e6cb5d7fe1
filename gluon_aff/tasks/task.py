"""What a task is: its options, data, network and job, what is said and made of its runs; the register of tasks."""

from __future__ import annotations

import importlib
import os
from argparse import Namespace
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Dict,
    Generic,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
)

import yaml

from ..errors import UsageError, near_matches
from ..training.history import EpochRecord, epoch_line
from ..utils.console import quietly
from ..utils.files import FileNames
from ..utils.outputs import guarded
from .config import complete_options, disagreements, read_recipe
from .options import OptionParser
from .setup import Data, Setup

if TYPE_CHECKING:  # MXNet is imported where a run needs it, so that no help waits for it
    import mxnet as mx

    from ..data.pictures import NetworkInput
    from ..evaluation import Report, ScoreRequest, TrainedNetwork
    from ..models import ModelEntry
    from ..training import Job, Schedule
    from .final_score import FinalScore
    from .train import Outcome

Options = Dict[str, Any]
Record = EpochRecord


D = TypeVar("D", bound=Data)


class Task(Generic[D]):
    """One kind of training, from its command line to what is made of its runs.

    A task derives from this class, names its own `Data`, and is registered with `register_task`; then `gluon-aff train
    NAME` trains it, runs stop and resume, and evaluate, compare, plot and the other commands know its runs. It must
    give `name`, `description`, `add_options`, `datasets`, `model_name`, `data`, `network`, `job`, `batches_per_epoch`
    and `input_shape`; everything else has a default.

    Attributes
    ----------
    name : str
        Of the command, and what checkpoints say they are of.
    recipes : str
        What the names of its recipes' files begin with; a task derived from another takes that one's.
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
    recipes: str = ""
    description: str
    metric: str = "accuracy"
    ablation_hosts: Mapping[str, str] = {}
    ablation_strategies: Sequence[str] = ()
    paper_setting: str = ""
    paper_figures: str = ""

    # ---- options

    def add_options(self, parser: OptionParser) -> None:
        """Add all options, most of them by the groups of `tasks.options`."""
        raise NotImplementedError

    def datasets(self) -> Sequence[str]:
        """Return the names of the data sets that it trains on."""
        raise NotImplementedError

    def complete(self, options: Options) -> None:
        """Fill in, in place, what depends on other options."""

    def default_recipe(self, options: Options) -> Optional[str]:
        """Return the recipe that comes by itself with some data set, or None."""
        return None

    def adapt_recipe(self, values: Options, given: Options) -> None:
        """Take out of a recipe's ``values``, in place, what does not belong to what is given."""

    def unused(self, options: Options) -> Iterator[Tuple[str, str]]:
        """Yield options that these ``options`` make useless, each with the reason: ``("temperature", "without …")``.

        Giving one of them on the command line is an error.
        """
        yield from ()

    def model_name(self, options: Namespace) -> str:
        """Return the network's name for people: ``cifar_aff_resnet32`` and the like."""
        raise NotImplementedError

    def directory(self, options: Namespace) -> Path:
        """Return a run's default directory, ``runs/<data>-<model>-<seed>``; where it is taken a number comes behind."""
        name, place = options.dataset, getattr(options, "data_dir", None)
        if place and name in ("folder", "imagenet"):  # which are the data of a place
            place = Path(os.path.abspath(Path(place).expanduser()))
            name = FileNames()(place.stem if place.is_file() else place.name)
        return Path("runs") / f"{name}-{self.model_name(options)}-{options.seed}"

    # ---- the parts of a run

    def data(self, options: Namespace, setup: Setup) -> D:
        """Return what the run trains and validates on. Raises UsageError and GluonAFFError."""
        raise NotImplementedError

    def network(self, options: Namespace, outputs: Optional[int] = None, ctx: Any = None) -> mx.gluon.HybridBlock:
        """Return the network, initialised from the seed; ``outputs`` as `Data.outputs`. Raises UsageError."""
        raise NotImplementedError

    def job(self, options: Namespace, setup: Setup, data: D, net: mx.gluon.HybridBlock) -> Job:
        """Return loader, targets, loss, metric and validation, put together by `parts.make_job`."""
        raise NotImplementedError

    def test(self, options: Namespace, setup: Setup, data: D, net: mx.gluon.HybridBlock) -> FinalScore:
        """Score a trained network on the test images of a run with ``--hold-out``. Raises UsageError without any."""
        raise UsageError(f"task {self.name} has no test images besides those it validates on: leave --hold-out out")

    def batches_per_epoch(self, options: Namespace, devices: int) -> int:
        """Return it for the schedule alone; a batch has ``devices`` parts of ``--batch-size`` images.

        Data are read only where nothing else tells how many training images there are.
        """
        raise NotImplementedError

    def input_shape(self, options: Namespace) -> Tuple[int, ...]:
        """Return the shape that ``--summary`` shows the network at."""
        raise NotImplementedError

    # ---- what is said of a run

    def introduction(self, options: Namespace, data: D, parameters: int) -> Iterator[str]:
        """Yield what a reader of the log must know of data and network, line by line."""
        yield from ()

    def notes(self, options: Namespace, data: D) -> Iterator[str]:
        """Yield lines behind the introduction: what is unusual about this run."""
        yield from ()

    def figure(self, record: Record) -> str:
        """Return a record's validation figure in words."""
        return f"{self.metric} {record['val']:.4f} ({record['val_images']} images)"

    def metric_of(self, options: Namespace) -> str:
        """Return what the "val" of a run with these options is, where that is not always `metric`."""
        return self.metric

    def log_line(self, record: Record) -> str:
        """Return an epoch's line in the log."""
        return epoch_line(record)

    def best_file(self, options: Namespace, best: Record) -> Optional[str]:
        """Return a second name of the best weights' file, or None."""
        return None

    # ---- what can be done with its networks

    def supports(self, entry: ModelEntry) -> bool:
        """Return whether a registered network is one for this task."""
        return False

    def data_facts(self, options: Namespace) -> Options:
        """Return what is known of the images that a run's network is for, as `evaluation.DataOptions` names it."""
        return {"dataset": options.dataset, "data": options.data_dir}

    def default_data_facts(self) -> Options:
        """Return the same for a file of weights that tells nothing else."""
        return {}

    def loaded_data_facts(self, data: D) -> Options:
        """Return what only a run's data tell of its images: ``size``, and ``classes``, the names of their classes."""
        return {}

    def network_input(self, known: Options, outputs: int) -> NetworkInput:
        """Return how a picture becomes the input of a network of this task.

        ``known``: of its images, as `data_facts` and `loaded_data_facts` have it; ``outputs``: of the network's head.

        Raises UsageError for what it has not, and where pictures cannot be explained.
        """
        raise UsageError(f"a network of task {self.name} cannot be explained on pictures")

    def score(self, trained: TrainedNetwork, request: ScoreRequest) -> Report:
        """Score a network of this task. Raises UsageError and GluonAFFError."""
        raise UsageError(f"a network of task {self.name} cannot be scored")

    def model_args(self, options: Options) -> Optional[Tuple[str, Options]]:
        """Return name and options for ``create_model`` of the network of a run's options; None for one of its own."""
        return None

    def ablation_recipe(self, epochs: int) -> List[str]:
        """Return options of an ablation's cells: the paper's recipe at another length."""
        return ["--recipe", "paper"]

    # ---- the same for every task

    def parser(self, prog: Optional[str] = None) -> OptionParser:
        """Return the command line; ``prog`` is what its help calls the program."""
        parser = OptionParser(prog=prog or f"gluon-aff train {self.name}", description=self.description)
        self.add_options(parser)
        return parser

    def options(self, argv: Optional[Sequence[str]] = None, prog: Optional[str] = None) -> Namespace:
        """Return every option of a run: what is given wins over --config and --recipe, these over the defaults.

        With --resume the run's own config.yaml takes the place of the defaults, and what is given must agree with it.

        Raises
        ------
        UsageError
            For options that do not exist, contradict each other, or differ from the run's that is to be resumed.
        """
        return self.completed(self.parser(prog).given(argv))

    def completed(self, given: Options) -> Namespace:
        """Return the same for the options in ``given``."""
        return complete_options(self, given)

    def main(self, argv: Optional[Sequence[str]] = None, prog: Optional[str] = None) -> int:
        """Run the command line from its arguments to the exit code."""
        options = self.options(argv, prog)
        with guarded(self.parser(prog), options):
            return self.run(options)

    def run(self, options: Namespace) -> int:
        """Do what complete options ask for: print, draw, or train."""
        if options.print_recipe:
            print(self.recipe_text(options), end="")
            return 0
        if options.summary:
            from ..models.summary import describe

            print(describe(self.network(options), self.input_shape(options)))
            return 0
        if options.dry_run:
            from .train import show_schedule

            return show_schedule(self, options)
        return self.train(options).exit_code

    def train(self, options: Namespace) -> Outcome:
        """Start or resume the training run that complete options describe, see `train.train_run`.

        Raises
        ------
        UsageError, GluonAFFError
            For options, data and devices that do not fit.
        Diverged
            When the loss is no longer finite.
        """
        from .train import train_run

        with quietly(options.quiet):
            return train_run(self, options)

    def schedule(self, options: Namespace) -> Schedule:
        """Return the run's learning rates, without network and, where possible, without data."""
        from .train import schedule_of

        return schedule_of(self, options)

    def recipe_text(self, options: Namespace) -> str:
        """Return a recipe's options as YAML that --config reads, and in comments where paper and code disagree.

        Raises UsageError without --recipe.
        """
        if options.recipe is None:
            raise UsageError("--print-recipe prints the recipe that --recipe names")
        values = read_recipe(self.recipes, options.recipe, options.model, vars(options))
        lines = [f"recipe {options.recipe} for {options.model}", *disagreements(self.recipes, options.recipe)]
        return "".join(f"# {line}\n" for line in lines) + yaml.safe_dump(values, sort_keys=False)


# ---- the register

_BUILT_IN = ("cifar", "imagenet", "seg")
_TASKS: Dict[str, Task] = {}


def load_built_in() -> Dict[str, Task]:
    """Import the package's own tasks, which register themselves; return all tasks by name."""
    for name in _BUILT_IN:
        importlib.import_module(f".{name}", __package__)
    return _TASKS


def register_task(task: Task) -> Task:
    """Make a task known under its name, here and to every command. Raises UsageError when the name is taken."""
    if task.name in _TASKS:
        raise UsageError(f"task {task.name!r} is registered already, as {type(_TASKS[task.name]).__name__}")
    _TASKS[task.name] = task
    return task


def list_tasks() -> List[str]:
    """Return the names of the tasks, in the order they were registered."""
    return list(load_built_in())


def get_task(name: str) -> Task:
    """Return the task of a name. Raises UsageError for an unknown one."""
    tasks = load_built_in()
    if name not in tasks:
        raise UsageError(f"unknown task {name!r}: {near_matches(name, tasks)}")
    return tasks[name]


def task_of_dataset(dataset: str) -> Task:
    """Return the task that trains on a data set. Raises UsageError when none does."""
    tasks = load_built_in().values()
    for task in tasks:
        if dataset in task.datasets():
            return task
    known = [name for task in tasks for name in task.datasets()]
    raise UsageError(f"no task has the data set {dataset!r}: {near_matches(dataset, known)}")


def task_of_network(entry: ModelEntry) -> Task:
    """Return the task that a network of `gluon-aff models` is for, by its output and the size of its input."""
    return next(task for task in load_built_in().values() if task.supports(entry))


def task_of_host(host: str) -> Task:
    """Return the task whose ``--model`` an ablation's host network is. Raises UsageError when none has it."""
    for task in load_built_in().values():
        if host in task.ablation_hosts:
            return task
    raise UsageError(f"no ablation of {host!r}: choose from {', '.join(list_ablation_hosts())}")


def list_ablation_hosts() -> List[str]:
    """Return the host networks of all tasks that an ablation may have."""
    return [host for task in load_built_in().values() for host in task.ablation_hosts]
