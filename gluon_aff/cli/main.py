"""``gluon-aff ...`` = ``python -m gluon_aff ...``: the subcommands of gluon_aff/cli under one parser."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Optional, Sequence

from .._version import __version__
from ..utils import console
from ..utils.outputs import add_overwrite, guarded
from . import load_mxnet
from .arguments import CommandParser

#: The modules of this folder that have `add_commands`, in the order of --help.
_MODULES = "train networks ablation published evaluate predict export compare gradcam records doctor"


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; each subcommand sets ``run(args) -> exit code``."""
    parser = CommandParser(prog="gluon-aff", description="Attentional Feature Fusion for MXNet/Gluon.")
    parser.add_argument("--version", action="version", version=f"gluon_aff {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in _MODULES.split():
        importlib.import_module(f".{name}", __package__).add_commands(commands)
    add_overwrite(parser)
    return parser


def main(argv: Optional[Sequence[str]] = None) -> Optional[int]:
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = build_parser()
    args = parser.parse_args(argv, argparse.Namespace(argv=argv))
    with guarded(parser, args):
        if not getattr(args, "without_mxnet", False):
            load_mxnet()
        return args.run(args)


def entry() -> None:
    """The console script."""
    console.run_program(main)
