"""``gluon-aff train TASK ...``: the training scripts, for who has the package and no clone."""

from __future__ import annotations

import argparse
import sys
from typing import Optional, Sequence

from ..utils import console
from . import load_mxnet


def train(args: argparse.Namespace) -> int:
    show_help(args.task, args.options, f"gluon-aff train {args.task}")
    load_mxnet()
    from ..tasks import get_task

    return get_task(args.task).main(args.options)


def script(task: str, argv: Optional[Sequence[str]] = None) -> int:
    """A training script: ``train_cifar.py ...`` does what ``gluon-aff train cifar ...`` does."""
    prog = f"train_{task}.py"
    show_help(task, sys.argv[1:] if argv is None else argv, prog)
    load_mxnet()
    from ..tasks import get_task

    return get_task(task).main(argv, prog=prog)


def show_help(task: str, argv: Sequence[str], prog: str) -> None:
    """Where ``--help`` is asked for, print it and leave, before MXNet is imported."""
    if "-h" in argv or "--help" in argv:
        from ..tasks import get_task, list_tasks

        if task in list_tasks():
            get_task(task).parser(prog).parse_args(argv)


def run_script(task: str) -> None:
    """Run the script as a program and leave with its exit code."""
    console.run_program(lambda argv: script(task, argv))


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make it known to the command line."""
    command = commands.add_parser(
        "train",
        help="train a network: cifar, imagenet, seg, or a task of your own",
        usage="gluon-aff train TASK [options of the task]",
        description="The same as train_cifar.py, train_imagenet.py and train_seg.py. `gluon-aff train TASK --help` "
        "shows a task's options.",
    )
    command.add_argument("task", metavar="TASK", help="cifar, imagenet, seg")
    command.add_argument("options", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    command.set_defaults(run=train, without_mxnet=True)  # it loads it behind the task's --help
