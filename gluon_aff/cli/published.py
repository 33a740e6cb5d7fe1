"""``gluon-aff published ...``: the authors' weight files, and what any weight file is."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List

from .. import published
from ..errors import GluonAFFError
from ..utils.arguments import nonempty
from ..utils.outputs import Reads, Writes, claim
from ..utils.tables import text_table

if TYPE_CHECKING:
    from ..published.recognition import Structure


_ARRAYS = Writes(nonempty, forms=("npz", "safetensors"))


def list_ids(args: argparse.Namespace) -> int:
    records = [published.record(identity) for identity in published.list_published()]
    here = {record["id"]: published.place_of(record["id"]).is_file() for record in records}
    if args.json:
        print(json.dumps([{**record, "here": here[record["id"]]} for record in records], indent=1))
        return 0
    rows = [
        (
            *(record["id"], record["model"]["name"], record["model"]["options"].get("fusion", "-")),
            *(
                "yes" if here[record["id"]] else "no",
                record["dtype"],
                record["label_mode"] or record.get("split", "-"),
                record["metric"],
            ),
            *(f"{record['value']:.4f}", f"{record['images']:,}", f"{record['bytes'] / 1e6:.1f}"),
        )
        for record in records
    ]
    header = ("id", "model", "fusion", "here", "dtype", "labels", "metric", "value", "images", "MB")
    print("\n".join(text_table(header, rows, left=7)))
    return 0


def show(args: argparse.Namespace) -> int:
    record = published.record(args.id)
    if args.json:
        print(json.dumps(record, indent=1))
        return 0
    place = published.place_of(args.id)
    model = _call({"name": record["model"]["name"], **record["model"]["options"]})
    shown = {**record, "model": model, "place": f"{place}{'' if place.is_file() else ' (not there)'}"}
    width = max(map(len, shown))
    for key, value in shown.items():
        print(f"{key.ljust(width)}  {value if isinstance(value, str) else json.dumps(value)}")
    return 0


def path(args: argparse.Namespace) -> int:
    place = published.place_of(args.id)
    print(place)
    if not place.is_file():
        print(f"not there yet: gluon-aff published fetch {args.id}", file=sys.stderr)
    return 0


def fetch(args: argparse.Namespace) -> int:
    print(published.fetch(args.id, args.url))
    return 0


def verify(args: argparse.Namespace) -> int:
    ids = published.identify(args.file)
    if not ids:
        raise GluonAFFError(_unknown(args.file))
    print(f"{args.file} is {' or '.join(ids)}: size and git blob SHA-1 are those of the authors' repository")
    if len(ids) > 1:
        fitting = [identity for identity in ids if identity in published.recognise(args.file).candidates]
        print(f"of these readings its arrays fit {' and '.join(fitting) or 'none'}")
    return 0


def _unknown(file: Path) -> str:
    size, digest = file.stat().st_size, published.git_blob_sha1(file)
    message = f"{file} is none of the published files: it has {size} bytes and git blob SHA-1 {digest}"
    for record in published.catalogue().values():
        if file.name == record["file"]:
            return f"{message}, {record['id']} has {record['git_blob_sha1']}: fetch it again"
    alike = sorted(identity for identity, record in published.catalogue().items() if record["bytes"] == size)
    return message + (f"; of that size are {', '.join(alike)}" if alike else "")


def inspect(args: argparse.Namespace) -> int:
    container = published.read_container(published.path_of(args.file))
    found = published.recognise(container)
    if args.json:
        keys = ("candidates", "create_model", "arrays", "problems")
        print(json.dumps({key: getattr(found, key) for key in keys}, indent=1))
        return 0
    types = Counter(array.dtype for array in container.arrays.values())
    if found.create_model is not None and found.structure is not None:
        print(f"network     create_model({_call(found.create_model)})")
        print(f"catalogue   {', '.join(found.candidates) or 'no published file has these names, shapes and types'}")
        print("\n".join(_described(found.structure)))
    for problem in found.problems:
        print(f"problem     {problem}")
    print(f"arrays      {found.arrays}: {', '.join(f'{count} {dtype}' for dtype, count in types.items()) or 'none'}")
    if args.arrays:
        rows = [
            (
                name.encode("unicode_escape").decode() if not name.isprintable() else name,
                array.dtype,
                _shape(array.shape),
            )
            for name, array in container.arrays.items()
        ]
        print("\n".join(["", *text_table(("array", "dtype", "shape"), rows)]))
    return 0


def _described(structure: Structure) -> List[str]:
    from ..published.recognition import INVISIBLE

    options = {**structure.properties(), "layers": _shape(structure.base.layers)}
    host = options.pop("host")
    told = ", ".join(f"{key} {value}" for key, value in options.items() if value not in (None, ""))
    lines = [f"host        {host}: {told}"]
    others = [
        other.fusion + (f" (r {other.r})" if other.r != structure.r else "") for other in structure.ambiguous_with
    ]
    if others:
        lines.append(f"as well     {', '.join(others)} have the same arrays: which fusion it was, the file cannot tell")
    lines.append(f"unseen      {', '.join(INVISIBLE)} leave no trace in a file")
    return lines


def _shape(shape: Any) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _call(model: Dict[str, Any]) -> str:
    return ", ".join([repr(model["name"]), *(f"{key}={value!r}" for key, value in model.items() if key != "name")])


def convert(args: argparse.Namespace) -> int:
    source = published.path_of(args.file)
    output = args.output or f"{source.stem}.{args.to}"
    claim(output, _ARRAYS)
    print(published.convert(source, args.to, output, args.dtype))
    return 0


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make them known to the command line."""
    published_command = commands.add_parser("published", help="the authors' weight files, and what a weight file is")
    actions = published_command.add_subparsers(dest="action", metavar="ACTION", required=True)

    identity, file = "an id of `gluon-aff published list`", "a .params file, or an id whose file is here"

    command = actions.add_parser("list", help="the published files: networks, values, images counted, sizes")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=list_ids, without_mxnet=True)

    command = actions.add_parser("show", help="all that is known of a published file")
    command.add_argument("id", help=identity)
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=show, without_mxnet=True)

    command = actions.add_parser("path", help="where a published file belongs on this machine")
    command.add_argument("id", help=identity)
    command.set_defaults(run=path, without_mxnet=True)

    command = actions.add_parser("fetch", help="download a published file to $MXNET_HOME/models and verify it")
    command.add_argument("id", help=identity)
    command.add_argument("--url", help="another address of the same file, such as a mirror's")
    command.set_defaults(run=fetch, without_mxnet=True)

    command = actions.add_parser("verify", help="which published file a file is, byte for byte")
    command.add_argument("file", type=Reads(Path), help="a file under any name")
    command.set_defaults(run=verify)

    command = actions.add_parser("inspect", help="whose network a weight file is, and how to build it")
    command.add_argument("file", type=Reads(), help=file)
    command.add_argument("--arrays", action="store_true", help="list its arrays as well")
    command.add_argument("--json", action="store_true", help="print JSON: candidates, create_model, arrays, problems")
    command.set_defaults(run=inspect)

    command = actions.add_parser("convert", help="write a weight file's arrays as npz or safetensors")
    command.add_argument("file", type=Reads(), help=file)
    command.add_argument("--to", required=True, metavar="FORMAT", help="npz or safetensors")
    text = "file to write (default: the same name in this folder)"
    command.add_argument("-o", "--output", type=_ARRAYS, metavar="FILE", help=text)
    text = "type of floating-point arrays"
    command.add_argument("--dtype", choices=("float32", "stored"), default="float32", help=text)
    command.set_defaults(run=convert)
