"""``gluon-aff models``, ``summary`` and ``fusions``: what networks and fusions there are."""

from __future__ import annotations

import argparse
import json
from typing import Dict, List, Sequence

from ..errors import UsageError
from ..models import ModelEntry, build_model, list_models, model_entry
from ..models.summary import Summary, describe, summarize
from ..nn import AUTHORS_KEYS, list_fusions
from ..published import catalogue
from ..utils import console
from ..utils.tables import text_table
from .arguments import add_model_options, model_options


def _published_by_model() -> Dict[str, List[str]]:
    """Model name -> ids of the published files that fit it as the name stands (its own fusion)."""
    ids: Dict[str, List[str]] = {}
    for identity, record in catalogue().items():
        if "fusion" not in record["model"]["options"] and not record["alternative_reading_of"]:
            ids.setdefault(record["model"]["name"], []).append(identity)
    return ids


def _model_row(entry: ModelEntry, summary: Summary, published: Sequence[str]) -> List[str]:
    return [
        entry.name,
        entry.tag or "-",
        entry.fusion,
        f"{entry.input_size}x{entry.input_size}",
        f"{summary.trained:,}",
        f"{summary.authors_flops:,}",
        f"{summary.macs:,}",
        str(len(published)) if published else "-",
    ]


def models(args: argparse.Namespace) -> int:
    names = list_models(args.pattern)
    if not names:
        raise UsageError(f"no model's name matches {args.pattern!r}: `gluon-aff models` lists all")
    published = _published_by_model()
    entries = [model_entry(name) for name in names]
    summaries = []
    for entry in console.progress(entries, label="counting", unit="model"):
        summaries.append(summarize(build_model(entry.name), (1, 3, entry.input_size, entry.input_size)))
    if args.json:
        records = [
            {
                "name": entry.name,
                "tag": entry.tag or None,
                "fusion": entry.fusion,
                "input_size": entry.input_size,
                "trained_parameters": summary.trained,
                "authors_flops": summary.authors_flops,
                "macs": summary.macs,
                "published": published.get(entry.name, []),
            }
            for entry, summary in zip(entries, summaries)
        ]
        print(json.dumps(records, indent=1))
        return 0
    header = ("name", "tag", "fusion", "input", "parameters", "FLOPs (authors)", "MACs", "weights")
    rows = [_model_row(*pair, published.get(pair[0].name, [])) for pair in zip(entries, summaries)]
    print("\n".join(text_table(header, rows, left=4)))
    return 0


def summary(args: argparse.Namespace) -> int:
    entry = model_entry(args.name)
    size = args.input_size or entry.input_size
    print(describe(build_model(args.name, **model_options(args)), (1, 3, size, size)))
    return 0


def fusions(args: argparse.Namespace) -> int:
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
    command.set_defaults(run=models)

    command = commands.add_parser("summary", help="layers of a network: shapes, parameters, FLOPs")
    command.add_argument("name", help="a name of `gluon-aff models`")
    command.add_argument("--input-size", type=int, help="height and width of the input")
    add_model_options(command)
    command.set_defaults(run=summary)

    command = commands.add_parser("fusions", help="list the fusion strategies and the authors' keys for them")
    command.set_defaults(run=fusions)
