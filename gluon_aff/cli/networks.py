"""``gluon-aff models``, ``summary`` and ``fusions``: what networks and fusions there are."""

from __future__ import annotations

import argparse
import json
import sys
from fnmatch import fnmatchcase
from typing import Any, Callable, Dict, Iterator, List

from .. import facts
from ..errors import UsageError
from ..published import ids_by_model
from ..utils import console
from ..utils.arguments import MAX_SIDE
from ..utils.files import atomic_write, json_text
from ..utils.outputs import Writes
from ..utils.tables import text_table
from . import load_mxnet
from .arguments import add_model_options, add_number, model_options

_Figures = Dict[str, Any]


def models(args: argparse.Namespace) -> int:
    if args.count:
        with atomic_write(args.count) as handle:  # first: counting takes a minute, and the place may be a wrong one
            records = _matching(args.pattern, _counted)
            handle.write(json_text(records))
    else:
        records = _matching(args.pattern, _stored)
    published = ids_by_model()
    if args.json:
        print(json.dumps([{**record, "published": published.get(record["name"], [])} for record in records], indent=1))
        return 0
    header = ("name", "tag", "fusion", "input", "parameters", "FLOPs (authors)", "MACs", "weights")
    rows = [
        (
            *(record["name"], record["tag"] or "-", record["fusion"], f"{record['input_size']}x{record['input_size']}"),
            *(f"{record[figure]:,}" for figure in ("trained_parameters", "authors_flops", "macs")),
            len(published.get(record["name"], [])) or "-",
        )
        for record in records
    ]
    print("\n".join(text_table(header, rows, left=4)))
    return 0


def _matching(pattern: str, figures: Callable[[str], Iterator[_Figures]]) -> List[_Figures]:
    records = list(figures(pattern))
    if not records:
        raise UsageError(f"no model's name matches {pattern!r}: `gluon-aff models` lists all")
    return records


def _stored(pattern: str) -> Iterator[_Figures]:
    """The figures in params/models.json, without MXNet; networks that are not in there are counted."""
    stored = facts.model_figures()
    registered = list(stored)
    if "gluon_aff.models" in sys.modules:  # somebody's own networks may be among them
        from ..models import list_models

        registered = list_models()
    for name in registered:
        if fnmatchcase(name, pattern):
            yield stored[name] if name in stored else _count(name)


def _counted(pattern: str) -> Iterator[_Figures]:
    load_mxnet()
    from ..models import list_models

    yield from map(_count, console.progress(list_models(pattern), label="counting", unit="model"))


def _count(name: str) -> _Figures:
    from ..models import build_model, model_entry
    from ..models.summary import summarize

    entry = model_entry(name)
    summary = summarize(build_model(name), (1, 3, entry.input_size, entry.input_size))
    return {
        "name": entry.name,
        "tag": entry.tag or None,
        "fusion": entry.fusion,
        "input_size": entry.input_size,
        "trained_parameters": summary.trained,
        "authors_flops": summary.authors_flops,
        "macs": summary.macs,
    }


def summary(args: argparse.Namespace) -> int:
    from ..models import build_model, model_entry
    from ..models.summary import describe

    entry = model_entry(args.name)
    size = args.input_size or entry.input_size
    print(describe(build_model(args.name, **model_options(args)), (1, 3, size, size)))
    return 0


def fusions(args: argparse.Namespace) -> int:
    from ..nn import AUTHORS_KEYS, list_fusions

    keys: Dict[str, List[str]] = {name: [] for name in list_fusions()}
    for key, name in AUTHORS_KEYS.items():
        keys[name].append(key)
    print("\n".join(text_table(("fusion", "authors' keys"), [(name, ", ".join(keys[name]) or "-") for name in keys])))
    return 0


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make the three known to the command line."""
    command = commands.add_parser("models", help="list the networks with parameters, FLOPs and published weights")
    command.add_argument("pattern", nargs="?", default="*", help="shell pattern, such as 'cifar_aff*'")
    command.add_argument("--json", action="store_true", help="print JSON")
    text = "count again and write to FILE; what is stored is params/models.json"
    command.add_argument("--count", type=Writes(forms=("json",)), metavar="FILE", help=text)
    command.set_defaults(run=models, without_mxnet=True)

    command = commands.add_parser("summary", help="layers of a network: shapes, parameters, FLOPs")
    command.add_argument("name", help="a name of `gluon-aff models`")
    add_number(command, "--input-size", high=MAX_SIDE, help="height and width of the input")
    add_model_options(command)
    command.set_defaults(run=summary)

    command = commands.add_parser("fusions", help="list the fusion strategies and the authors' keys for them")
    command.set_defaults(run=fusions)
