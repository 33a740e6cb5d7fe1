"""What the training scripts share: complete options from all their sources, and a run from its beginning to its end."""

from __future__ import annotations

import os
from argparse import Namespace
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Optional, Sequence

import mxnet as mx
import yaml

from .._version import __version__
from ..errors import UsageError
from ..training import Diverged, Job, Run, SingleProcess, State, Stop, fit, has_run, restore
from ..training.history import environment, epoch_line
from ..training.schedule import warmup_epochs
from ..training.tensorboard import EventLog, check_installed
from .options.config import COMMANDS, FREE, PLACES, check_same, identity, read_recipe, read_yaml, write_config
from .options.parser import OptionParser

Options = Dict[str, Any]
Record = Dict[str, Any]


@dataclass
class Outcome:
    """What became of a run. ``best`` and ``final`` are figures with what belongs to them; None before any."""

    directory: Path
    finished: bool
    exit_code: int
    best: Optional[Record]
    final: Optional[Record]


@dataclass(frozen=True)
class Task:
    """A training script's own part of what all of them do.

    Args:
        name: the beginning of its recipes' file names, and what its checkpoints say they are of.
        parser: makes its command line.
        complete: fills in what depends on other options, in place.
        directory: a run's default directory.
        own_recipe: the recipe that comes by itself with some data set, or None.
        fit_recipe: takes out of a recipe's values, in place, what does not belong to what is given.
        line: from an epoch's record to its line in the log.
        figure: from the record of a best or last epoch to its validation figure in words.
        best_file: from options and the best record to a second name of the best weights' file, or None.
    """

    name: str
    parser: Callable[[], OptionParser]
    complete: Callable[[Options], None]
    directory: Callable[[Namespace], Path]
    figure: Callable[[Record], str]
    own_recipe: Callable[[Options], Optional[str]] = lambda options: None
    fit_recipe: Callable[[Options, Options], None] = lambda values, given: None
    line: Callable[[Record], str] = epoch_line
    best_file: Optional[Callable[[Namespace, Record], str]] = None

    def options(self, argv: Optional[Sequence[str]] = None) -> Namespace:
        """Every option of a run: what is given wins over --config and --recipe, these win over the defaults.

        With --resume the run's own config.yaml takes the place of the defaults, and what is given must agree with it.
        Raises UsageError.
        """
        return self.completed(self.parser().given(argv))

    def completed(self, given: Options) -> Namespace:
        """The same for the options in ``given``."""
        parser = self.parser()
        asked = self._asked(parser, given)
        options = {**parser.defaults(), **asked}
        own = None if "recipe" in asked or "config" in asked else self.own_recipe(options)
        if own:
            options.update({**self._recipe(parser, own, given), **given})
        self.complete(options)
        if isinstance(options["resume"], str):
            options["save_dir"] = options["resume"]
        options["save_dir"] = str(options["save_dir"] or self.directory(Namespace(**options)))
        if options["resume"]:
            options = _of_run(parser, options, asked)
        return Namespace(**options)

    def recipe_text(self, options: Namespace) -> str:
        """A recipe's options as YAML that --config reads."""
        if options.recipe is None:
            raise UsageError("--print-recipe prints the recipe that --recipe names")
        values = read_recipe(self.name, options.recipe, options.model)
        return f"# recipe {options.recipe} for {options.model}\n" + yaml.safe_dump(values, sort_keys=False)

    def _asked(self, parser: OptionParser, given: Options) -> Options:
        if "config" in given and "recipe" in given:
            raise UsageError("--config holds all options of a run, a recipe's included: give it or --recipe, not both")
        if "config" in given:
            values = parser.checked(read_yaml(given["config"]), given["config"])
            return {**{name: value for name, value in values.items() if name not in (*COMMANDS, *PLACES)}, **given}
        return {**self._recipe(parser, given["recipe"], given), **given} if "recipe" in given else given

    def _recipe(self, parser: OptionParser, name: str, given: Options) -> Options:
        values = parser.checked(read_recipe(self.name, name, given.get("model")), f"recipe {name}")
        self.fit_recipe(values, given)
        return {**values, "recipe": name}

    def train(
        self,
        options: Namespace,
        job: Job,
        facts: Dict[str, Any],
        introduction: Iterable[str],
        watch: Callable[[Run], None] = lambda run: None,
    ) -> Outcome:
        """Begin a run in ``options.save_dir`` or go on with it, to its end or until a signal stops it.

        facts: what the run depends on besides its options (data, devices, parameters); kept in its header, and the
        same at every resume. introduction: lines for the log. watch: is given the run before it trains. Of several
        ranks (``job.group``) only the first has a run; the others train along and keep nothing.

        Raises UsageError for what cannot be, Diverged when the loss is no longer finite.
        """
        if job.group.rank > 0:
            return _train_along(options, job)
        if options.tensorboard:
            check_installed()
        run = Run(
            options.save_dir,
            {"task": self.name, "options": identity(vars(options)), **facts},
            log_dir=options.logging_dir,
            log_file=options.logging_file,
            plot_dir=options.save_plot_dir,
            save_period=options.save_period,
            line=self.line,
            best_name=partial(self.best_file, options) if self.best_file else None,
        )
        with run, Stop() as stop:
            state = self._begin(run, job, options, facts)
            for line in introduction:
                run.log(line)
            if options.tensorboard:
                run.history.listeners.append(EventLog(run.directory / "tensorboard", run.history.epochs()).add)
            watch(run)
            try:
                fit(job, state, run, stop)
            except Diverged as error:
                raise Diverged(f"{error}; {run.last_good()}; try a lower --lr, or --clip-gradient") from None
            return self._conclude(run, job, state, stop)

    def _begin(self, run: Run, job: Job, options: Namespace, facts: Dict[str, Any]) -> State:
        """A fresh state with its header and config.yaml, or the state that the run was left in."""
        if not options.resume:
            run.erase()
            write_config(run.config_path, vars(options))
            header = {**environment(__version__), "task": self.name, "options": identity(vars(options)), **facts}
            run.history.start(header)
            return State()
        header = run.history.header()
        for name, now in facts.items():
            if header.get(name) != now:
                raise UsageError(f"{run.directory} cannot be resumed: {name} was {header.get(name)}, is {now}")
        if header.get("threads") != os.environ.get("OMP_NUM_THREADS"):
            run.log(
                f"note: the run began with OMP_NUM_THREADS={header.get('threads')}; with another number bits differ"
            )
        state = restore(job, run)
        if state.epoch > job.epochs:
            raise UsageError(f"{run.directory} has done {state.epoch} epochs already, --num-epochs is {job.epochs}")
        write_config(run.config_path, vars(options))
        run.history.resume(state.epoch, {"epoch": state.epoch, "batch": state.batch, **environment(__version__)})
        run.log(f"resumed {run.directory} at epoch {state.epoch}, batch {state.batch}")
        return state

    def _conclude(self, run: Run, job: Job, state: State, stop: Stop) -> Outcome:
        epochs = run.history.epochs()
        finished = state.epoch >= job.epochs
        if epochs:
            run.plot()
        if state.best:
            run.log(
                f"best {self.figure(state.best)} after epoch {state.best['epoch']}; "
                f"after the last, {epochs[-1]['epoch']}: {self.figure(epochs[-1])}"
            )
        if not finished:
            run.log(f"stopped at epoch {state.epoch}, batch {state.batch}: --resume {run.directory} goes on from there")
        best = f", best: {run.checkpoints.best_link}" if state.best else ""
        run.log(f"checkpoints: {run.checkpoints.newest()}{best}")
        run.log(f"history: {run.history.path}" + (f"; plot: {run.plot_path}" if epochs else ""))
        code = 0 if finished else stop.exit_code
        return Outcome(run.directory, finished, code, state.best, epochs[-1] if epochs else None)


def _train_along(options: Namespace, job: Job) -> Outcome:
    with Stop() as stop:
        state = restore(job, None) if options.resume else State()
        fit(job, state, None, stop)
        finished = state.epoch >= job.epochs
        return Outcome(Path(options.save_dir), finished, 0 if finished else stop.exit_code, state.best, None)


def check_free(options: Namespace, ranks: Optional[SingleProcess] = None) -> None:
    """Raise UsageError, on the first rank, when a run is there that is neither to be resumed nor to be removed."""
    if ranks and ranks.rank > 0:  # the first may have begun already
        return
    if has_run(options.save_dir) and not (options.resume or options.overwrite):
        raise UsageError(f"{options.save_dir} holds a run already: --resume goes on with it, --overwrite removes it")


def introduce_machine(facts: Dict[str, Any]) -> str:
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    return f"device: {', '.join(facts['devices'])}; OMP_NUM_THREADS={threads}; MXNet {mx.__version__}"


def introduce_training(options: Namespace, job: Job) -> Iterable[str]:
    """The lines of an introduction about length, schedule, seed and start weights."""
    recipe = f"recipe {options.recipe}; " if options.recipe else ""
    yield (
        f"training: {recipe}{options.num_epochs} epochs of {len(job.loader)} batches, "
        f"{options.optimizer}, {options.lr_mode} schedule, {options.dtype}, seed {options.seed}"
    )
    if options.resume_from and not options.resume:
        yield f"weights: from {options.resume_from}; optimizer, schedule and best start anew"
    if warmup_epochs(options) >= options.num_epochs:
        yield f"note: the run ends within its warm-up of {warmup_epochs(options)} epochs (--warmup-epochs)"
    if getattr(options, "mixup", False) and options.mixup_off_epoch >= options.num_epochs:
        yield f"note: mixup is off in the last {options.mixup_off_epoch} epochs (--mixup-off-epoch), so in all of them"


def _of_run(parser: OptionParser, options: Options, asked: Options) -> Options:
    """The options of the run in ``options["save_dir"]``, with those of ``asked`` that may change."""
    path = Path(options["save_dir"]) / "config.yaml"
    if not path.is_file():
        raise UsageError(f"nothing to resume: {path.parent} holds no run (no config.yaml)")
    saved = parser.checked(read_yaml(path), str(path))
    free_length = saved["lr_mode"] in ("step", "constant") and not (saved.get("mixup") and saved["mixup_off_epoch"])
    check_same(saved, {k: v for k, v in asked.items() if k not in (*COMMANDS, *FREE)}, str(path.parent), free_length)
    mine = {name: options[name] for name in (*COMMANDS, "save_dir") if name in options}
    return {**parser.defaults(), **saved, **asked, **mine}
