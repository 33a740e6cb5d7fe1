"""``gluon-aff train``, ``recipes`` and ``launch``: training scripts, for who has no clone, and their workers."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Optional, Sequence

from ..errors import UsageError
from ..utils.outputs import Reads, Writes
from . import load_mxnet
from .arguments import add_number


def train(args: argparse.Namespace) -> int:
    return script(args.task, args.options, f"gluon-aff train {args.task}")


def script(task: str, argv: Optional[Sequence[str]] = None, prog: Optional[str] = None) -> int:
    """A training script: ``train_cifar.py ...`` does what ``gluon-aff train cifar ...`` does."""
    argv, prog = sys.argv[1:] if argv is None else argv, prog or f"train_{task}.py"
    if "-h" in argv or "--help" in argv:  # which is printed before MXNet is imported
        from ..tasks import get_task, list_tasks

        if task in list_tasks():
            get_task(task).parser(prog).parse_args(argv)
    load_mxnet()
    from ..tasks import get_task

    return get_task(task).main(argv, prog=prog)


def recipes(args: argparse.Namespace) -> int:
    from ..tasks.config import every_recipe

    found = {name: about for name, about in every_recipe().items() if fnmatchcase(name, args.pattern)}
    if not found:
        raise UsageError(f"no recipe's name matches {args.pattern!r}: `gluon-aff recipes` lists all")
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    for name, about in found.items():
        task, recipe = name.split("-", 1)
        print(f"{name}    gluon-aff train {task} --recipe {recipe}")
        print(textwrap.fill(about, 100, initial_indent="    ", subsequent_indent="    ") + "\n")
    print("--print-recipe behind a command prints the options, --dry-run its schedule.")
    return 0


def launch(args: argparse.Namespace) -> int:
    from .. import launching

    command = args.command_line[1:] if args.command_line[:1] == ["--"] else args.command_line
    if not command:
        raise UsageError("nothing to launch: gluon-aff launch -n 2 -- python train_imagenet.py ...")
    hosts = launching.read_hosts(args.hosts) if args.hosts else None
    nodes = launching.cluster_nodes(command, args.workers, args.servers, hosts, args.address, args.timeout, args.env)
    try:
        Path(args.log_dir).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--log-dir {args.log_dir} cannot be a folder: {error.strerror}") from None
    _report(f"{args.workers} workers, {args.servers} servers; logs in {args.log_dir}")
    return launching.launch(nodes, Path(args.log_dir), _report)


def _report(line: str) -> None:
    print(f"launch: {line}", file=sys.stderr, flush=True)


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make them known to the command line."""
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

    command = commands.add_parser("recipes", help="the training recipes, and what each is for")
    command.add_argument("pattern", nargs="?", default="*", help="shell pattern, such as 'cifar-*'")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=recipes, without_mxnet=True)

    command = commands.add_parser(
        "launch",
        help="run a training script on several workers, here or over ssh",
        usage="gluon-aff launch -n WORKERS [-s SERVERS] [-H HOSTFILE --address ADDRESS] [...] -- COMMAND...",
        description="Starts MXNet's scheduler, servers and the workers, which train one network together, and ends all "
        "of them when one fails. Rank 0's output is shown, everybody's is in --log-dir. See docs/training.md.",
    )
    add_number(command, "-n", "--workers", high=1024, required=True, help="processes that train, one rank each")
    add_number(command, "-s", "--servers", high=1024, default=1, help="processes that add up (default: 1)")
    text = "lines [user@]host[:slots] (default: this machine)"
    command.add_argument("-H", "--hosts", type=Reads(), metavar="FILE", help=text)
    command.add_argument("--address", help="of this machine, as the hosts reach it; needed with other machines")
    logs = Writes(forms=("log",), folder=True, names=("worker-*.log", "server-*.log", "scheduler*.log"))
    text = "one file a process (%(default)s)"
    command.add_argument("--log-dir", type=logs, metavar="DIR", default="launch-logs", help=text)
    text = "a rank that waits longer than this for the others gives up (default: %(default)s)"
    add_number(command, "--timeout", default=600, metavar="SECONDS", help=text)
    command.add_argument("--env", action="append", default=[], metavar="NAME", help="a variable to carry over ssh")
    command.add_argument("command_line", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    command.set_defaults(run=launch)
