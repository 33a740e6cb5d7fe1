"""``gluon-aff train TASK ...``: the training scripts, for who has the package and no clone."""

from __future__ import annotations

import argparse
from typing import Optional, Sequence

from ..utils import console


def train(args: argparse.Namespace) -> int:
    from ..tasks import get_task

    return get_task(args.task).main(args.options)


def script(task: str, argv: Optional[Sequence[str]] = None) -> int:
    """A training script: ``train_cifar.py ...`` does what ``gluon-aff train cifar ...`` does."""
    from ..tasks import get_task

    return get_task(task).main(argv, prog=f"train_{task}.py")


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
    command.set_defaults(run=train)
