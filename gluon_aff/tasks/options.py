"""The command line of a training run: a parser that knows what was given, and the options that tasks share."""

from __future__ import annotations

import argparse
import enum
import os
from argparse import ArgumentTypeError
from typing import Any, Dict, List, NoReturn, Optional, Sequence, Set

from ..data.autoaugment import VARIANTS
from ..errors import UsageError, similar
from ..training import OPTIMIZERS
from ..training.schedule import MODES
from ..utils.arguments import MAX_SIDE, SuggestingParser, number
from ..utils.outputs import Reads, Writes

_UNSET = object()


class Role(enum.Enum):
    """What an option is to a run; every option says so where it is added.

    IDENTITY: figures depend on it, so a resumed run keeps it. FREE: it may differ on resume, as no figure depends on
    it. PLACE: where the run writes; free, and not taken over from another run's configuration. COMMAND: what to do
    now; never part of a configuration.
    """

    IDENTITY = "identity"
    FREE = "free"
    PLACE = "place"
    COMMAND = "command"


FREE, PLACE, COMMAND = Role.FREE, Role.PLACE, Role.COMMAND


class _Container(argparse._ActionsContainer):
    def add_argument(
        self, *flags: str, role: Role = Role.IDENTITY, before: Any = _UNSET, **settings: Any
    ) -> argparse.Action:
        """``before``: what runs had that are older than the option, where that is not its default."""
        action = super().add_argument(*flags, **settings)
        action.role, action.before = role, before  # type: ignore[attr-defined]
        return action


class OptionGroup(_Container, argparse._ArgumentGroup):
    """A titled group of options that takes each option's role."""


class OptionParser(_Container, SuggestingParser):
    """An ArgumentParser that raises UsageError instead of leaving the program, and can tell what was given.

    Options are spelled out in full: what an abbreviation means would change with the next new option.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, **kwargs)

    def add_argument_group(self, *arguments: Any, **settings: Any) -> OptionGroup:
        group = OptionGroup(self, *arguments, **settings)
        self._action_groups.append(group)
        return group

    def names(self, *roles: Role) -> Set[str]:
        """The options of these roles. Of several flags for one option the first decides."""
        first: Dict[str, argparse.Action] = {}
        for action in self._actions:
            first.setdefault(action.dest, action)
        return {name for name, action in first.items() if getattr(action, "role", None) in roles}

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see --help)")

    def alias(self, flag: str, *others: str) -> None:
        """Let an option be known by other names, too."""
        action = self._option_string_actions[flag]
        for other in others:
            if other in self._option_string_actions:
                raise ValueError(f"{other} is an option already")
            self._option_string_actions[other] = action
            action.option_strings = [*action.option_strings, other]

    def revise(self, flag: str, **settings: Any) -> None:
        """Give an option of a shared group another default, help or the like, as a script needs it."""
        for name, value in settings.items():
            setattr(self._option_string_actions[flag], name, value)

    def refuse(self, reasons: Dict[str, str]) -> None:
        """Answer flags that others' scripts have and this one has not with the reason; kept out of the help."""
        for flag, reason in reasons.items():
            hide = argparse.SUPPRESS
            self.add_argument(flag, nargs="*", action=_Refused, const=reason, dest=hide, help=hide)

    def defaults(self) -> Dict[str, Any]:
        return vars(self.parse_args([]))

    def before(self) -> Dict[str, Any]:
        """What the configuration of a run means that is older than some of the options."""
        known = {action.dest: getattr(action, "before", _UNSET) for action in self._actions}
        return {name: value for name, value in known.items() if value is not _UNSET}

    def given(self, argv: Optional[Sequence[str]]) -> Dict[str, Any]:
        """The options that stand on the command line, and only those."""
        namespace = argparse.Namespace(**dict.fromkeys(self.defaults(), _UNSET))
        parsed = vars(self.parse_args(argv, namespace))
        return {name: value for name, value in parsed.items() if value is not _UNSET}

    def checked(self, values: Any, source: str) -> Dict[str, Any]:
        """Values from a file, held to the same types and choices as the command line's.

        Raises UsageError naming ``source`` and the option.
        """
        if not isinstance(values, dict):
            raise UsageError(f"{source} is not a list of 'option: value' lines")
        # the first of several flags for one option has its type and choices
        actions = {action.dest: action for action in reversed(self._actions) if action.dest != "help"}
        unknown = [name for name in values if name not in actions]
        if unknown:
            close = similar(str(unknown[0]), actions)
            hint = f"; did you mean {', '.join(close)}?" if close else ""
            raise UsageError(f"{source}: {unknown[0]!r} is not an option{hint}")
        return {name: self._checked(actions[name], value, f"{source}: {name}") for name, value in values.items()}

    def _checked(self, action: argparse.Action, value: Any, where: str) -> Any:
        if (value is None and action.default is None) or (value is True and action.const is True):
            return value
        if isinstance(action, Switch):
            if not isinstance(value, bool):
                raise UsageError(f"{where} is {value!r}: expected true or false")
            return value
        text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        try:
            result = self._get_value(action, text)
            self._check_value(action, result)
        except argparse.ArgumentError as error:
            raise UsageError(f"{where}: {error.message}") from None
        return result


class _Refused(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Optional[str] = None) -> None:
        raise UsageError(f"{option_string}: {self.const}")


class Switch(argparse.Action):
    """A flag with an opposite, the name behind ``--no-`` unless ``off`` says another; the last one given counts."""

    def __init__(
        self, option_strings: List[str], dest: str, off: Optional[Sequence[str]] = None, **kwargs: Any
    ) -> None:
        kwargs.setdefault("default", False)
        self.off = off or [f"--no-{option_strings[-1][2:]}"]
        super().__init__([*option_strings, *self.off], dest, nargs=0, **kwargs)

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Optional[str] = None) -> None:
        setattr(namespace, self.dest, option_string not in self.off)


COUNT = number(int, 1)
NATURAL = number(int)
POSITIVE = number(float, above=True)
SIDE = number(int, 1, MAX_SIDE)  # of an image, in pixels
SHARE = number(float, 0, 1, above=True)


def epochs(text: str) -> List[int]:
    """An argparse type: '300,450' as increasing epoch numbers; '' as none."""
    words = [word.strip() for word in text.strip("[]").split(",") if word.strip()]
    if not all(word.isdigit() for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of epochs such as 300,450")
    return sorted(int(word) for word in words)


# ---- groups of options that tasks share

DTYPES = ("float32", "float16", "bfloat16")


def data_options(parser: OptionParser, datasets: Sequence[str], default: str, also: str = "") -> OptionGroup:
    """The group itself, so that a task can add what its data need. ``also`` is another name of the default."""
    group = parser.add_argument_group("data")
    add = group.add_argument
    text = f"data set (default: %(default)s{also and f'; {also} is the same'})"
    add("--dataset", type=lambda name: default if name == also else name, choices=datasets, default=default, help=text)
    text = "folder, archive or zip that holds the data"
    add("--data-dir", "--data", type=Reads(), metavar="PLACE", help=text, role=FREE)
    add("--train-images", type=COUNT, metavar="N", help="train on N of the images only")
    add("--test-images", "--val-images", type=COUNT, metavar="N", help="validate on N of the images only")
    text = "go on with images that are in training and in validation, too"
    add("--accept-shared-images", action=Switch, help=text, role=FREE)
    workers = min(4, os.cpu_count() or 1)
    text = "threads that make batches; no result depends on it (default here: %(default)s)"
    add("-j", "--num-data-workers", type=NATURAL, default=workers, metavar="N", help=text, role=FREE)
    return group


def check_shared(options: argparse.Namespace, shared: str) -> None:
    """Raise UsageError for images that are in two splits, by a remark on them, unless the user goes on with them.

    A run that began with them is resumed.
    """
    if shared and not (options.accept_shared_images or options.resume):
        raise UsageError(f"{shared}: take them out of one, or --accept-shared-images goes on with them")


def val_fraction_option(group: OptionGroup) -> None:
    """--val-fraction, for data without a validation part of their own."""
    text = "folders without a validation part: hold out this share of every class, drawn by --seed"
    group.add_argument("--val-fraction", type=SHARE, metavar="SHARE", help=text)


def hold_out_options(group: OptionGroup) -> None:
    """--hold-out: epochs are chosen on training images, the test images scored once."""
    text = "validate on N of the training images, the same for every --seed, and score the test images once, at "
    text += "the end, with the best of these epochs"
    group.add_argument("--hold-out", type=COUNT, metavar="N", help=text)
    text = "with --hold-out, or val/ beside test/: do score the test images at the end (default)"
    group.add_argument("--final-test", action=Switch, default=True, help=text)


def wants_final_test(options: argparse.Namespace) -> bool:
    """Whether a run ends with a score of its test images; one's own tasks may be without `hold_out_options`."""
    return bool(getattr(options, "hold_out", None)) and bool(getattr(options, "final_test", False))


def model_options(parser: OptionParser, models: Sequence[str]) -> OptionGroup:
    """Add the host network, its fusion and its initialisation; the first of ``models`` is the default."""
    group = parser.add_argument_group("model")
    add = group.add_argument
    add("--model", type=model_name, choices=models, default=models[0], help="host network (default: %(default)s)")
    parser.refuse(PAPER_TIME_FLAGS)
    text = "aff, iaff, add, any other of `gluon-aff fusions`, or one of the authors' names (default: %(default)s)"
    add("--fusion", "--askc-type", type=fusion_name, default="aff", help=text)
    add("--r", type=NATURAL, help="bottleneck ratio of the fusion, 0: none (default: the host's)")
    add("--init", choices=("xavier", "kaiming"), default="xavier", help="initialisation (%(default)s)")
    text = "draw each array from --seed and its name: networks that differ in --fusion start with the same host"
    add("--init-by-name", action=Switch, help=text)
    add("--sync-bn", action=Switch, help="BatchNorm over all devices' batches")
    return group


def optimisation_options(parser: OptionParser) -> OptionGroup:
    group = parser.add_argument_group("optimisation")
    add = group.add_argument
    add("--batch-size", type=COUNT, default=128, help="per device (default: %(default)s)")
    add("--num-epochs", "--epochs", type=COUNT, default=640, help="(default: %(default)s)")
    add("--optimizer", choices=OPTIMIZERS, default="nag", help="(default: %(default)s)")
    add("--lr", type=POSITIVE, default=0.2, help="learning rate (default: %(default)s)")
    add("--momentum", type=number(float, 0, 1), default=0.9, help="of nag and sgd (default: %(default)s)")
    add("--wd", type=number(float), default=1e-4, help="weight decay (default: %(default)s)")
    add("--no-wd", action=Switch, off=("--all-wd",), help="no weight decay on biases and BatchNorm's gamma and beta")
    add("--lr-mode", choices=MODES, default="step", help="schedule (default: %(default)s)")
    add("--cosine", dest="lr_mode", action="store_const", const="cosine", help="--lr-mode cosine")
    add("--lr-decay", type=POSITIVE, default=0.1, help="step factor (%(default)s)")
    add("--lr-decay-period", type=NATURAL, default=0, metavar="N", help="a step every N epochs")
    add("--lr-decay-epoch", type=epochs, default=[300, 450], metavar="E,E", help="or at these (300,450)")
    text = "published: no warm-up, and steps --warmup-epochs before the stated epochs, as in the authors' step runs"
    add("--step-timing", choices=("stated", "published"), default="stated", help=text)
    add("--poly-power", type=POSITIVE, default=2.0, help="(default: %(default)s)")
    add("--warmup-lr", type=number(float), default=0.0, help="where the warm-up starts (%(default)s)")
    add("--warmup-epochs", type=NATURAL, help="linear warm-up (default: 10 with --cosine, else none)")
    add("--clip-gradient", type=POSITIVE, metavar="NORM", help="limit its L2 norm")
    text = "N parts of --batch-size images make one update, on fewer devices one after another, each normalised by "
    text += "itself (default: the recipe's devices; without a recipe one for each device)"
    add("--update-parts", type=COUNT, metavar="N", help=text)
    text = "one part of --batch-size images for each device, whatever the recipe says"
    add("--batch-as-given", action=Switch, off=("--batch-as-published",), help=text)
    add("--accumulate", type=COUNT, default=1, metavar="N", help="N batches make one update")
    add("--ema", type=SHARE, metavar="DECAY", help="average the weights, as 0.999")
    add("--dtype", choices=DTYPES, default="float32", help="float16, bfloat16: by MXNet's AMP")
    return group


def autoaugment_options(group: OptionGroup, where: str) -> None:
    """``where``: to which images, for the help."""
    group.add_argument("--auto_aug", "--auto-aug", action=Switch, help=f"AutoAugment, {where}")
    text = "AutoAugment as the authors' runs had it, or as its paper has it (default: %(default)s)"
    group.add_argument("--auto-aug-policy", choices=VARIANTS, default="published", before="paper", help=text)


def mixing_options(parser: OptionParser) -> None:
    """What changes a classifier's targets."""
    group = parser.add_argument_group("targets")
    add = group.add_argument
    add("--mixup", action=Switch, help="mix each batch with itself reversed")
    add("--mixup-alpha", type=POSITIVE, default=1.0, help="(default: %(default)s)")
    add("--mixup-off-epoch", type=NATURAL, default=40, metavar="N", help="not in the last N epochs (%(default)s)")
    add("--label-smoothing", action=Switch, help="distribute 0.1 over all classes")


def run_options(parser: OptionParser) -> OptionGroup:
    group = parser.add_argument_group("run")
    add = group.add_argument
    add("--recipe", metavar="NAME", help="fill in a recipe's options; others given here win")
    text = "fill in the options of a run's config.yaml"
    add("--config", type=Reads(first=True), metavar="FILE", help=text, role=COMMAND)
    add("--print-recipe", action="store_true", help="print the recipe's options and leave", role=COMMAND)
    add("--dry-run", action="store_true", help="print and plot the schedule and leave", role=COMMAND)
    add("--quiet", action="store_true", help="print errors alone; train.log has every line", role=COMMAND)
    add("--summary", action="store_true", help="print the network's layers and leave; needs no data", role=COMMAND)
    add("--gpus", help="GPU numbers such as 0,1; '' for the CPU (default: the first GPU, if any)", role=FREE)
    add("--mode", choices=("hybrid", "imperative"), default="hybrid", help="(default: %(default)s)")
    add("--seed", type=number(int, 0, 2**31 - 1), default=0, help="of all that is random (%(default)s)")
    text = "the run's directory (default: runs/<data>-<model>-<seed>, with a number behind where that is taken)"
    add("--save-dir", type=Writes(folder=True, run=True), metavar="RUN", help=text, role=PLACE)
    add("--save-period", type=NATURAL, default=0, metavar="N", help="keep every Nth epoch's checkpoint", role=FREE)
    text = "for train.log (default: the run's directory)"
    writes = Writes(forms=("log",), folder=True, names=("train.log",))
    add("--logging-dir", type=writes, metavar="DIR", help=text, role=PLACE)
    text = "the log under another name than train.log"
    add("--logging-file", type=Writes(forms=("log",), inside="logging_dir"), metavar="FILE", help=text, role=PLACE)
    add("--tensorboard", action=Switch, help="event files in the run's directory as well", role=FREE)
    text = "for the plots (default: the run's directory)"
    add("--save-plot-dir", type=Writes(folder=True, grid=True), metavar="DIR", help=text, role=PLACE)
    text = "continue the run in RUN, or in --save-dir, or the last one in its default"
    add("--resume", nargs="?", const=True, type=Reads(), metavar="RUN", help=text, role=COMMAND)
    text = "with --resume: go on where the run's config.yaml or history was edited"
    add("--accept-changed-run", action="store_true", help=text, role=COMMAND)
    text = "with --resume: go on where the run's images, their number or their classes' names have changed"
    add("--accept-changed-data", action="store_true", help=text, role=COMMAND)
    text = "start from weights alone: a file, or an id of `gluon-aff published`"
    add("--resume-from", type=Reads(), metavar="FILE", help=text, role=FREE)
    text = "remove the run that is in the directory, and start over"
    add("--overwrite", action="store_true", help=text, role=COMMAND)
    return group


def fusion_name(text: str) -> str:
    """An argparse type: a fusion's name, the field's where the authors' key means the same arithmetic."""
    from ..nn import canonical_fusion, fusion_spelling
    from ..nn.names import SAME_AS_KEY

    try:
        name = canonical_fusion(text)
    except UsageError as error:
        raise ArgumentTypeError(str(error)) from None
    return name if name in SAME_AS_KEY else fusion_spelling(text)


def fusion_prefix(fusion: str) -> str:
    """How a network's name begins: ``aff_``, ``iaff_`` and the like, without any for "add"."""
    from ..nn import canonical_fusion

    return "" if fusion == "add" else f"{canonical_fusion(fusion)}_"


# ---- what the authors' older scripts called things

_RESNEXT = "--model resnext --blocks {} --tag paper"

#: Names of ``--model`` in the scripts that the paper's tables were made with.
PAPER_TIME_MODELS = {
    "resnet_v2_askc": "train_cifar.py --model resnet --blocks 5 --tag paper",
    "resnext29_32x4d": f"train_cifar.py {_RESNEXT.format(3)}",
    "resnext38_32x4d": f"train_cifar.py {_RESNEXT.format(4)}",
    "se_resnext38_32x4d": f"train_cifar.py {_RESNEXT.format(4)}, whose blocks have no squeeze and excitation",
    "resnet50_v1b": "train_imagenet.py --model resnet --num-layer 50 --tag paper",
}

#: Flags of these scripts that are no flags here, with the reason.
PAPER_TIME_FLAGS = {"--scenario": "it is of the paper-time scripts; type --model resnet or resnext with --tag paper"}


def model_name(text: str) -> str:
    """An argparse type: a host's name; the paper-time names are answered with what to type."""
    if text in PAPER_TIME_MODELS:
        raise ArgumentTypeError(f"{text} is a name of the paper-time scripts: type {PAPER_TIME_MODELS[text]}")
    return text
