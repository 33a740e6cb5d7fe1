"""``gluon-aff gradcam``: where networks look, as heat maps and in the paper's Fig. 6 layout."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Dict, List

from ..errors import UsageError
from .evaluate import MODEL_OPTIONS, whole


def gradcam(args: argparse.Namespace) -> int:
    from .. import devices
    from ..seeing import Seen, find_pictures, open_viewed, see
    from ..seeing.sheet import write_all

    contexts = devices.pick(args.gpus)[:1]
    weights = [args.weights, *(each for each in args.compare.split(",") if each)]
    pictures = find_pictures(args.images, args.count)
    seen: Dict[str, List[Seen]] = {}
    for number, (each, name) in enumerate(zip(weights, _names(args.names, weights))):
        options = {option: getattr(args, option) for option in MODEL_OPTIONS} if number == 0 else {}
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


def data_of(args: argparse.Namespace) -> Dict[str, Any]:
    """What the command line tells of the pictures."""
    size = args.input_size
    return {"dataset": args.dataset, "labels": args.labels, "size": size, "normalisation": args.normalisation}


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


def add_network_options(command: argparse.ArgumentParser) -> None:
    """What tells a network and how pictures are made ready for it."""
    command.add_argument(
        "--weights",
        required=True,
        metavar="ID|FILE|RUN",
        help="a catalogue id, a .params file, or a training run (its directory or a checkpoint's)",
    )
    group = command.add_argument_group("network", "of a file; without --model the file is recognised")
    group.add_argument("--model", help="a name of `gluon-aff models`")
    for name, settings in MODEL_OPTIONS.items():
        group.add_argument(f"--{name.replace('_', '-')}", **settings)
    group.add_argument(
        "--dataset",
        choices=("cifar10", "cifar100", "digits", "folder", "imagenet"),
        help="what the network was trained on (default: what the weights tell)",
    )
    group.add_argument("--labels", choices=("fine", "coarse"), help="of CIFAR-100")
    group.add_argument(
        "--input-size",
        type=whole(1),
        metavar="N",
        help="ImageNet's crop (default 224); other pictures become this size (default: the training's, else CIFAR's "
        "32, segmentation 512)",
    )
    group.add_argument(
        "--normalisation",
        choices=("records", "folder"),
        help="ImageNet: the authors' for record files (default for published weights) or for folders (default)",
    )
    group.add_argument("--gpus", help="a GPU number; '' for the CPU (default: the first GPU, if any)")


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make it known to the command line."""
    command = commands.add_parser(
        "gradcam",
        help="where networks look: Grad-CAM as heat maps, overlays and a sheet like the paper's Fig. 6",
        description="Rows of the sheet are networks, columns are images; below each what was predicted with its "
        "softmax score, ✕ where it is wrong. Of segmentation networks: IoU, where a mask lies beside the image.",
    )
    add_network_options(command)
    group = command.add_argument_group("pictures and maps")
    group.add_argument(
        "--images",
        nargs="+",
        required=True,
        metavar="PLACE",
        help="files, folders, zips, or what is in a zip (set.zip/test/cat); class folders tell what is right",
    )
    group.add_argument(
        "--count",
        type=whole(1),
        default=10,
        metavar="N",
        help="at most so many, evenly out of all there are (default: %(default)s)",
    )
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
