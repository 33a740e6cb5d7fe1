"""``gluon-aff gradcam``: where networks look, as heat maps and in the paper's Fig. 6 layout."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Dict, List

from ..errors import UsageError
from .arguments import add_pictures, add_viewer, data_of, model_options, whole


def gradcam(args: argparse.Namespace) -> int:
    from ..gradcam import Seen, find_pictures, open_viewed, see
    from ..gradcam.sheet import write_all
    from ..runtime import devices

    contexts = devices.pick(args.gpus)[:1]
    weights = [args.weights, *(each for each in args.compare.split(",") if each)]
    pictures = find_pictures(args.images, args.count)
    seen: Dict[str, List[Seen]] = {}
    for number, (each, name) in enumerate(zip(weights, _names(args.names, weights))):
        options = model_options(args) if number == 0 else {}
        viewed = open_viewed(each, contexts, args.model if number == 0 else None, options, data_of(args))
        row = see(viewed, pictures, args.target, args.layer, args.method, args.batch_size)
        seen[_unlike(name or viewed.name, seen)] = row
    sheets = write_all(seen, Path(args.out))
    for network, row in seen.items():
        judged = [one for one in row if one.wrong is not None]
        what = "with their target found" if row[0].mask is not None else "right"
        right = f", {sum(not one.wrong for one in judged)} of {len(judged)} {what}" if judged else ""
        print(f"{network}: {len(row)} pictures{right}")
    print(f"written: {', '.join(map(str, sheets))}, {args.out}/predictions.csv and a folder for each network")
    return 0


def _names(text: str, weights: List[str]) -> List[str]:
    names = [name.strip() for name in text.split(",")] if text else [""] * len(weights)
    if len(names) != len(weights):
        raise UsageError(f"--names {text}: expected a name for each of the {len(weights)} networks")
    return names


def _unlike(name: str, taken: Dict[str, Any]) -> str:
    number = 2
    unlike = name
    while unlike in taken:
        unlike, number = f"{name} ({number})", number + 1
    return unlike


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make it known to the command line."""
    command = commands.add_parser(
        "gradcam",
        help="where networks look: Grad-CAM as heat maps, overlays and a sheet like the paper's Fig. 6",
        description="Rows of the sheet are networks, columns are images; below each what was predicted with its "
        "softmax score, ✕ where it is wrong. Of segmentation networks: IoU, where a mask lies beside the image.",
    )
    add_viewer(command)
    group = command.add_argument_group("pictures and maps")
    add_pictures(group, 10, more="; class folders tell what is right")
    group.add_argument(
        "--class",
        dest="target",
        metavar="NAME|INDEX",
        help="whose evidence to show (default: the predicted class's); the truth where no class folder tells it",
    )
    group.add_argument("--layer", metavar="PATH", help="such as features.4.2 or layer3.1 (default: the last stage)")
    group.add_argument("--method", choices=("grad_cam", "grad_cam++"), default="grad_cam", help="(%(default)s)")
    group.add_argument("--compare", default="", metavar="ID,FILE,RUN", help="more weights, a row for each")
    group.add_argument("--names", default="", metavar="A,B", help="what the rows are called (default: the weights)")
    group.add_argument("--batch-size", type=whole(1), default=8, metavar="N", help="(default: %(default)s)")
    group.add_argument("--out", required=True, metavar="DIR", help="where files go")
    command.set_defaults(run=gradcam)
