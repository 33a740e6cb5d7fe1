"""``gluon-aff results``: the paper's and the authors' figures in tables."""

from __future__ import annotations

import argparse


def results(args: argparse.Namespace) -> int:
    from ..comparison.result_tables import render, tables

    print(render(tables(args.table), args.format), end="")
    return 0


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make it known to the command line."""
    command = commands.add_parser("results", help="tables of the paper's and the authors' figures")
    command.add_argument("--format", choices=("md", "csv", "json"), default="md", help="(default: %(default)s)")
    command.add_argument(
        "--table",
        action="append",
        metavar="NAME",
        help="one of table3, table4, table5, readme, sirst, logs-cifar, logs-imagenet (default: all)",
    )
    command.set_defaults(run=results)
