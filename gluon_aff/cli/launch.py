"""``gluon-aff launch``: a training script on several workers, here or on several machines."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..errors import UsageError
from ..utils.arguments import number
from ..utils.outputs import Reads, Writes


def launch(args: argparse.Namespace) -> int:
    from ..launching import cluster_nodes, launch, read_hosts

    command = args.command_line[1:] if args.command_line[:1] == ["--"] else args.command_line
    if not command:
        raise UsageError("nothing to launch: gluon-aff launch -n 2 -- python train_imagenet.py ...")
    hosts = read_hosts(args.hosts) if args.hosts else None
    nodes = cluster_nodes(command, args.workers, args.servers, hosts, args.address, args.timeout, args.env)
    try:
        Path(args.log_dir).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--log-dir {args.log_dir} cannot be a folder: {error.strerror}") from None
    _report(f"{args.workers} workers, {args.servers} servers; logs in {args.log_dir}")
    return launch(nodes, Path(args.log_dir), _report)


def _report(line: str) -> None:
    print(f"launch: {line}", file=sys.stderr, flush=True)


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make it known to the command line."""
    command = commands.add_parser(
        "launch",
        help="run a training script on several workers, here or over ssh",
        usage="gluon-aff launch -n WORKERS [-s SERVERS] [-H HOSTFILE --address ADDRESS] [...] -- COMMAND...",
        description="Starts MXNet's scheduler, servers and the workers, which train one network together, and ends all "
        "of them when one fails. Rank 0's output is shown, everybody's is in --log-dir. See docs/training.md.",
    )
    command.add_argument(
        "-n", "--workers", type=number(int, 1, 1024), required=True, help="processes that train, one rank each"
    )
    command.add_argument(
        "-s", "--servers", type=number(int, 1, 1024), default=1, help="processes that add up (default: 1)"
    )
    command.add_argument(
        "-H", "--hosts", type=Reads(), metavar="FILE", help="lines [user@]host[:slots] (default: this machine)"
    )
    command.add_argument("--address", help="of this machine, as the hosts reach it; needed with other machines")
    command.add_argument(
        "--log-dir",
        type=Writes(forms=("log",), folder=True, names=("worker-*.log", "server-*.log", "scheduler*.log")),
        metavar="DIR",
        default="launch-logs",
        help="one file a process (%(default)s)",
    )
    command.add_argument(
        "--timeout",
        type=number(int, 1),
        default=600,
        metavar="SECONDS",
        help="a rank that waits longer than this for the others gives up (default: %(default)s)",
    )
    command.add_argument("--env", action="append", default=[], metavar="NAME", help="a variable to carry over ssh")
    command.add_argument("command_line", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    command.set_defaults(run=launch)
