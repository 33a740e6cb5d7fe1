"""``gluon-aff doctor``."""

from __future__ import annotations

import argparse

from .. import doctor


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make it known to the command line."""
    command = commands.add_parser("doctor", help="what is installed here, what is wrong with it, what mends it")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=lambda args: doctor.main(["--json"] if args.json else []))
