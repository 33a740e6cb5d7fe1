"""``gluon-aff recipes``: which recipes there are, and what each is for."""

from __future__ import annotations

import argparse
import json
import textwrap
from fnmatch import fnmatchcase

from ..errors import UsageError


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


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make it known to the command line."""
    command = commands.add_parser("recipes", help="the training recipes, and what each is for")
    command.add_argument("pattern", nargs="?", default="*", help="shell pattern, such as 'cifar-*'")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=recipes, without_mxnet=True)
