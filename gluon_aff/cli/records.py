"""``gluon-aff records make|check|info``: MXNet's record files from images, and what is in them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ..errors import GluonAFFError, UsageError
from ..facts import imagenet_classes
from ..utils.files import sha256_of
from ..utils.outputs import Reads, Writes, allow
from .arguments import add_number, add_workers


def make(args: argparse.Namespace) -> int:
    from ..data.imagenet import TreeSource
    from ..data.records import pack

    path = Path(args.data).expanduser()
    if not path.exists():
        raise UsageError(f"no images at {path}: there is no such file or folder")
    if path.suffix == ".rec":
        raise UsageError(f"{path} is a record file already: name the folder, zip or tar that holds the images")
    truth = None if args.ground_truth is None else Path(args.ground_truth).expanduser()
    source = TreeSource(path, [wnid for wnid, _ in imagenet_classes()], truth, args.split)
    for note in source.notes:
        _warn(note)

    out = Path(args.out).expanduser()
    _check_beside(out, args.overwrite)
    manifest = pack(
        source,
        out,
        resize=args.resize,
        quality=args.quality,
        shuffle=args.seed if args.shuffle else None,
        max_bad=args.max_bad,
        workers=args.workers,
        on_bad=_warn,
    )
    used = sum(1 for count in manifest["counts"] if count)
    print(
        f"{out}: {manifest['records']} records of {used} classes, {manifest['bytes']} bytes, "
        f"{len(manifest['bad'])} images left out"
    )
    return 0


def _check_beside(out: Path, overwrite: bool) -> None:
    """Raise UsageError where a list or an index lies beside the record file that no manifest of ours lists."""
    from ..data.records import manifest_path, read_manifest

    try:
        manifest = read_manifest(out)
    except GluonAFFError:
        manifest = None  # somebody else's, which the new one does not replace
    sums = {} if manifest is None else manifest["sha256"]
    for path in (out.with_suffix(".idx"), out.with_suffix(".lst"), manifest_path(out)):
        if path.is_file() and (sha256_of(path) == sums.get(path.name) or (manifest and path == manifest_path(out))):
            allow(path)
        elif path.exists() and not overwrite:
            raise UsageError(
                f"{path} is there and is none that records of this name were made with: choose another name, or "
                "--overwrite to lose it"
            )


def check(args: argparse.Namespace) -> int:
    from ..data.records import check_records

    found = check_records(_records(args.records), args.classes, workers=args.workers)
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    print(
        "\n".join([*found.faults, f"{found.records} records, {len(found.counts)} classes, {len(found.faults)} faults"])
    )
    return 1 if found.faults else 0


def info(args: argparse.Namespace) -> int:
    from ..data.records import read_manifest, record_info

    path = _records(args.records)
    found, manifest = record_info(path), read_manifest(path)
    if args.json:
        print(json.dumps({**found, "manifest": manifest}, indent=1))
        return 0
    lines = [f"records    {found['records']}, {found['bytes']} bytes"]
    if found["counts"]:
        counts = sorted(found["counts"].values())
        lines.append(
            f"classes    {len(counts)}, numbers {min(found['counts'])} to {max(found['counts'])}, "
            f"{counts[0]} to {counts[-1]} images each"
        )
    lines.append(f"images     {', '.join(f'{count} {name}' for name, count in found['formats'].items())}")
    if found["sides"]:
        lines.append(f"short side {found['sides'][0]} to {found['sides'][2]}, median {found['sides'][1]}")
    lines[-1] += f" (of {found['sample']} images)"
    if manifest is None:
        lines.append("manifest   none")
    else:
        options = ", ".join(f"{name} {value}" for name, value in manifest["options"].items() if value is not None)
        lines.append(f"manifest   from {manifest['source']}; {options}; {len(manifest['bad'])} images left out")
        lines += [f"           {message}" for message in manifest["bad"]]
    print("\n".join(lines))
    return 0


def _records(name: str) -> Path:
    path = Path(name).expanduser()
    if path.suffix != ".rec" or not path.is_file():
        raise UsageError(f"{path} is no record file: expected the name of an existing .rec")
    return path


def _warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make them known to the command line."""
    records = commands.add_parser("records", help="make, check and describe MXNet's record files (.rec)")
    actions = records.add_subparsers(dest="action", metavar="ACTION", required=True)

    command = actions.add_parser(
        "make",
        help="pack images into .rec, .idx, .lst and .manifest.json",
        description="A stopped run leaves no .rec file. MXNet and GluonCV read what it makes.",
    )
    text = "folder or zip with class folders, or an official .tar"
    command.add_argument("data", type=Reads(), metavar="IMAGES", help=text)
    command.add_argument("out", type=Writes(), metavar="OUT.rec")
    command.add_argument("--split", choices=("train", "val"), default="train", help="where there are folders of both")
    text = "of a flat val: lines of name and class, or the development kit's list with its meta.mat beside it"
    command.add_argument("--ground-truth", type=Reads(), metavar="FILE", help=text)
    add_number(command, "--resize", help="shrink a larger short side to N pixels (default: all images as they are)")
    add_number(command, "--quality", high=100, default=95, help="of shrunk JPEG (default: %(default)s)")
    command.add_argument("--shuffle", action="store_true", help="pack in random order, not class by class")
    add_number(command, "--seed", low=0, default=0, help="of --shuffle (default: %(default)s)")
    text = "unreadable images that may be left out; 0 stops at the first (default: %(default)s)"
    add_number(command, "--max-bad", low=0, default=50, help=text)
    add_workers(command, None, "that work; nothing written depends on their number")
    command.set_defaults(run=make)

    command = actions.add_parser(
        "check",
        help="look at every record: framing, index, label, image, checksums",
        description="Names every fault by its key and ends with 1 if there is one.",
    )
    command.add_argument("records", type=Reads(), metavar="FILE.rec")
    add_number(command, "--classes", help="labels are below N (default: by the manifest)")
    add_workers(command, None, "that work; nothing written depends on their number")
    command.set_defaults(run=check)

    command = actions.add_parser("info", help="counts, classes, sizes, manifest")
    command.add_argument("records", type=Reads(), metavar="FILE.rec")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=info)
