"""The options that training scripts share, in argparse groups: data, model, optimisation, targets, run."""

from __future__ import annotations

import os
from argparse import ArgumentTypeError
from typing import Callable, Sequence

from ...data.autoaugment import VARIANTS
from ...errors import UsageError
from ...training import OPTIMIZERS
from ...training.schedule import MODES
from ...utils.outputs import Reads, Writes
from .paper_time import FLAGS, model_name
from .parser import OptionGroup, OptionParser, Role, Switch, epochs, number

#: What the help of a task's --fusion says; the register itself needs MXNet.
FUSIONS = ("aff", "iaff", "add", "any other of `gluon-aff fusions`")
DTYPES = ("float32", "float16", "bfloat16")


def data_options(parser: OptionParser, datasets: Sequence[str], default: str) -> OptionGroup:
    """The group itself, so that a task can add what its data need."""
    group = parser.add_argument_group("data")
    group.add_argument("--dataset", choices=datasets, default=default, help="data set (default: %(default)s)")
    group.add_argument(
        "--data-dir",
        type=Reads(),
        metavar="PLACE",
        help="folder, archive or zip that holds the data",
        role=Role.FREE,
    )
    group.add_argument("--train-images", type=number(int, 1), metavar="N", help="train on N of the images only")
    group.add_argument("--test-images", type=number(int, 1), metavar="N", help="validate on N of the images only")
    group.add_argument(
        "-j",
        "--num-data-workers",
        type=number(int, 0),
        default=min(4, os.cpu_count() or 1),
        metavar="N",
        help="threads that make batches; no result depends on it (default here: %(default)s)",
        role=Role.FREE,
    )
    return group


def val_fraction_option(group: OptionGroup) -> None:
    """--val-fraction, for data without a validation part of their own."""
    group.add_argument(
        "--val-fraction",
        type=number(float, 0, 1, above=True),
        metavar="SHARE",
        help="folders without a validation part: hold out this share of every class, drawn by --seed",
    )


def hold_out_options(group: OptionGroup) -> None:
    """--hold-out: epochs are chosen on training images, the test images scored once."""
    group.add_argument(
        "--hold-out",
        type=number(int, 1),
        metavar="N",
        help="validate on N of the training images, the same for every --seed, and score the test images once, at "
        "the end, with the best of these epochs",
    )
    group.add_argument(
        "--final-test",
        action=Switch,
        off=("--no-final-test",),
        default=True,
        help="with --hold-out: do score the test images at the end (default)",
    )


def model_options(
    parser: OptionParser, models: Sequence[str], fusion: Callable[[str], str], fusions: Sequence[str]
) -> OptionGroup:
    """``fusion`` is an argparse type that accepts a fusion's name; ``fusions`` are named in the help."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model", type=model_name, choices=models, default=models[0], help="host network (default: %(default)s)"
    )
    parser.refuse(FLAGS)
    group.add_argument(
        "--fusion",
        "--askc-type",
        type=fusion,
        default="aff",
        help=f"{', '.join(fusions)}, or one of the authors' names (default: %(default)s)",
    )
    group.add_argument("--r", type=number(int, 0), help="bottleneck ratio of the fusion, 0: none (default: the host's)")
    group.add_argument("--init", choices=("xavier", "kaiming"), default="xavier", help="initialisation (%(default)s)")
    group.add_argument(
        "--init-by-name",
        action=Switch,
        off=("--no-init-by-name",),
        help="draw each array from --seed and its name: networks that differ in --fusion start with the same host",
    )
    group.add_argument("--sync-bn", action=Switch, off=("--no-sync-bn",), help="BatchNorm over all devices' batches")
    return group


def optimisation_options(parser: OptionParser) -> OptionGroup:
    group = parser.add_argument_group("optimisation")
    group.add_argument("--batch-size", type=number(int, 1), default=128, help="per device (default: %(default)s)")
    group.add_argument("--num-epochs", type=number(int, 1), default=640, help="(default: %(default)s)")
    group.add_argument("--optimizer", choices=OPTIMIZERS, default="nag", help="(default: %(default)s)")
    group.add_argument("--lr", type=number(float, above=True), default=0.2, help="learning rate (default: %(default)s)")
    group.add_argument(
        "--momentum", type=number(float, 0, 1), default=0.9, help="of nag and sgd (default: %(default)s)"
    )
    group.add_argument("--wd", type=number(float), default=1e-4, help="weight decay (default: %(default)s)")
    group.add_argument(
        "--no-wd", action=Switch, off=("--all-wd",), help="no weight decay on biases and BatchNorm's gamma and beta"
    )
    group.add_argument("--lr-mode", choices=MODES, default="step", help="schedule (default: %(default)s)")
    group.add_argument("--cosine", dest="lr_mode", action="store_const", const="cosine", help="--lr-mode cosine")
    group.add_argument("--lr-decay", type=number(float, above=True), default=0.1, help="step factor (%(default)s)")
    group.add_argument("--lr-decay-period", type=number(int), default=0, metavar="N", help="a step every N epochs")
    group.add_argument("--lr-decay-epoch", type=epochs, default=[300, 450], metavar="E,E", help="or at these (300,450)")
    group.add_argument(
        "--step-timing",
        choices=("stated", "published"),
        default="stated",
        help="published: no warm-up, and steps --warmup-epochs before the stated epochs, as in the authors' step runs",
    )
    group.add_argument("--poly-power", type=number(float, above=True), default=2.0, help="(default: %(default)s)")
    group.add_argument("--warmup-lr", type=number(float), default=0.0, help="where the warm-up starts (%(default)s)")
    group.add_argument(
        "--warmup-epochs", type=number(int), help="linear warm-up (default: 10 with --cosine, else none)"
    )
    group.add_argument("--clip-gradient", type=number(float, above=True), metavar="NORM", help="limit its L2 norm")
    group.add_argument(
        "--update-parts",
        type=number(int, 1),
        metavar="N",
        help="N parts of --batch-size images make one update, on fewer devices one after another, each normalised by "
        "itself (default: the recipe's devices; without a recipe one for each device)",
    )
    group.add_argument(
        "--batch-as-given",
        action=Switch,
        off=("--batch-as-published",),
        help="one part of --batch-size images for each device, whatever the recipe says",
    )
    group.add_argument("--accumulate", type=number(int, 1), default=1, metavar="N", help="N batches make one update")
    group.add_argument(
        "--ema", type=number(float, 0, 1, above=True), metavar="DECAY", help="average the weights, as 0.999"
    )
    group.add_argument("--dtype", choices=DTYPES, default="float32", help="float16, bfloat16: by MXNet's AMP")
    return group


def autoaugment_options(group: OptionGroup, where: str) -> None:
    """``where``: to which images, for the help."""
    group.add_argument("--auto_aug", "--auto-aug", action=Switch, off=("--no-auto-aug",), help=f"AutoAugment, {where}")
    group.add_argument(
        "--auto-aug-policy",
        choices=VARIANTS,
        default="published",
        before="paper",
        help="AutoAugment as the authors' runs had it, or as its paper has it (default: %(default)s)",
    )


def mixing_options(parser: OptionParser) -> None:
    """What changes a classifier's targets."""
    group = parser.add_argument_group("targets")
    group.add_argument("--mixup", action=Switch, off=("--no-mixup",), help="mix each batch with itself reversed")
    group.add_argument("--mixup-alpha", type=number(float, above=True), default=1.0, help="(default: %(default)s)")
    group.add_argument(
        "--mixup-off-epoch", type=number(int), default=40, metavar="N", help="not in the last N epochs (%(default)s)"
    )
    group.add_argument(
        "--label-smoothing", action=Switch, off=("--no-label-smoothing",), help="distribute 0.1 over all classes"
    )


def run_options(parser: OptionParser) -> OptionGroup:
    group = parser.add_argument_group("run")
    group.add_argument("--recipe", metavar="NAME", help="fill in a recipe's options; others given here win")
    group.add_argument(
        "--config",
        type=Reads(first=True),
        metavar="FILE",
        help="fill in the options of a run's config.yaml",
        role=Role.COMMAND,
    )
    group.add_argument(
        "--print-recipe", action="store_true", help="print the recipe's options and leave", role=Role.COMMAND
    )
    group.add_argument(
        "--dry-run", action="store_true", help="print and plot the schedule and leave", role=Role.COMMAND
    )
    group.add_argument(
        "--quiet", action="store_true", help="print errors alone; train.log has every line", role=Role.COMMAND
    )
    group.add_argument(
        "--summary", action="store_true", help="print the network's layers and leave; needs no data", role=Role.COMMAND
    )
    group.add_argument(
        "--gpus", help="GPU numbers such as 0,1; '' for the CPU (default: the first GPU, if any)", role=Role.FREE
    )
    group.add_argument("--mode", choices=("hybrid", "imperative"), default="hybrid", help="(default: %(default)s)")
    group.add_argument("--seed", type=number(int, 0, 2**31 - 1), default=0, help="of all that is random (%(default)s)")
    group.add_argument(
        "--save-dir",
        type=Writes(folder=True, run=True),
        metavar="RUN",
        help="the run's directory (default: runs/<data>-<model>-<seed>)",
        role=Role.PLACE,
    )
    group.add_argument(
        "--save-period",
        type=number(int),
        default=0,
        metavar="N",
        help="keep every Nth epoch's checkpoint",
        role=Role.FREE,
    )
    group.add_argument(
        "--logging-dir",
        type=Writes(forms=("log",), folder=True, names=("train.log",)),
        metavar="DIR",
        help="for train.log (default: the run's directory)",
        role=Role.PLACE,
    )
    group.add_argument(
        "--logging-file",
        type=Writes(forms=("log",), inside="logging_dir"),
        metavar="FILE",
        help="the log under another name than train.log",
        role=Role.PLACE,
    )
    group.add_argument(
        "--tensorboard",
        action=Switch,
        off=("--no-tensorboard",),
        help="event files in the run's directory as well",
        role=Role.FREE,
    )
    group.add_argument(
        "--save-plot-dir",
        type=Writes(folder=True, grid=True),
        metavar="DIR",
        help="for the plots (default: the run's directory)",
        role=Role.PLACE,
    )
    group.add_argument(
        "--resume",
        nargs="?",
        const=True,
        type=Reads(),
        metavar="RUN",
        help="continue the run in RUN, or in --save-dir",
        role=Role.COMMAND,
    )
    group.add_argument(
        "--resume-from",
        type=Reads(),
        metavar="FILE",
        help="start from weights alone: a file, or an id of `gluon-aff published`",
        role=Role.FREE,
    )
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="remove the run that is in the directory, and start over",
        role=Role.COMMAND,
    )
    return group


def fusion_name(text: str) -> str:
    """An argparse type: a fusion's name, the field's where the authors' key means the same arithmetic."""
    from ...nn import canonical_fusion, fusion_spelling
    from ...nn.names import SAME_AS_KEY

    try:
        name = canonical_fusion(text)
    except UsageError as error:
        raise ArgumentTypeError(str(error)) from None
    return name if name in SAME_AS_KEY else fusion_spelling(text)
