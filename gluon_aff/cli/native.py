"""``gluon-aff native``: the operator that makes MS-CAM's fusions faster, built here for this machine."""

from __future__ import annotations

import argparse

from ..utils.tables import text_table


def build(args: argparse.Namespace) -> int:
    from ..nn import native

    print("building; this takes some ten seconds")
    entry = native.build(again=True)
    print(f"built {entry.library}")
    return 0


def status(args: argparse.Namespace) -> int:
    from ..nn import native

    entry = native.entry()
    used = "switched off by GLUON_AFF_NATIVE=0" if native.switched_off() else native.identity or "no"
    rows = [
        ("in use", used),
        ("cache", entry.state.value + (f": {entry.detail}" if entry.detail else "")),
        ("folder", str(entry.folder)),
        ("compiler", native.compiler() or "none found"),
    ]
    print("\n".join(text_table(("native operator", ""), rows, left=2)))
    return 0


def clean(args: argparse.Namespace) -> int:
    from ..nn import native

    print(f"removed {native.clean()} built operator(s)")
    return 0


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make it known to the command line."""
    command = commands.add_parser(
        "native",
        help="build the native operator, see whether it is in use, remove it",
        description="MS-CAM's fusions as one operator, compiled for this machine: see docs/deploy.md. It is built when "
        "a fusion is first used and a compiler is there; GLUON_AFF_NATIVE=0 prevents that, and its use.",
    )
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, run, text in (
        ("build", build, "compile it, again if it is there"),
        ("status", status, "whether it is built and in use"),
        ("clean", clean, "remove what was built, for this machine and others"),
    ):
        actions.add_parser(name, help=text).set_defaults(run=run)
