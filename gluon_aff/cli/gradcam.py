"""``gluon-aff gradcam``: where networks look, as heat maps and in the paper's Fig. 6 layout."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Dict, List

from ..utils.arguments import number
from ..utils.outputs import Reads
from .arguments import add_figures, add_pictures, add_viewer, data_of, model_options, names_of


def gradcam(args: argparse.Namespace) -> int:
    from ..gradcam import ExplainedImage, explain_images, find_pictures
    from ..gradcam.cam_sheet import write_explained
    from ..runtime import devices
    from ..tasks.opening import open_network
    from ..utils.figures import is_figure

    contexts = devices.pick(args.gpus)[:1]
    weights = [args.weights, *(each for each in args.compare.split(",") if each)]
    names = names_of(args.names, len(weights), "networks") or [""] * len(weights)
    pictures = find_pictures(args.images, args.count)
    rows: Dict[str, List[ExplainedImage]] = {}
    for index, (each, name) in enumerate(zip(weights, names)):
        model, options = (args.model, model_options(args)) if index == 0 else (None, {})
        network = open_network(each, model, options, contexts, data_of(args))
        images = explain_images(network, pictures, args.target, args.layer, args.method, args.batch_size)
        rows[_unique(name or network.title, rows)] = images
    sheets = write_explained(rows, Path(args.out), args.dpi)
    for network_name, images in rows.items():
        judged = [image for image in images if image.wrong is not None]
        what = "with their target found" if images[0].mask is not None else "right"
        right = f", {sum(not image.wrong for image in judged)} of {len(judged)} {what}" if judged else ""
        print(f"{network_name}: {len(images)} images{right}")
    more = "" if is_figure(args.out) else f", {args.out}/predictions.csv and a folder for each network"
    print(f"written: {', '.join(map(str, sheets))}{more}")
    return 0


def _unique(name: str, taken: Dict[str, Any]) -> str:
    """``name``, with (2), (3), ... behind it where it is taken."""
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name} ({number})", number + 1
    return unique


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make it known to the command line."""
    command = commands.add_parser(
        "gradcam",
        help="where networks look: Grad-CAM as heat maps, overlays and a sheet like the paper's Fig. 6",
        description="Rows of the sheet are networks, columns are images; below each what was predicted with its "
        "softmax score, ✕ where it is wrong. Of segmentation networks: IoU, where a mask lies beside the image.",
    )
    add_viewer(command)
    group = command.add_argument_group("images and maps")
    add_pictures(group, 10, more="; a folder named like a class gives the true class")
    group.add_argument(
        "--class",
        dest="target",
        metavar="NAME|INDEX",
        help="the class whose evidence to show (default: the predicted one); the true class of "
        "images whose folder is not named like a class",
    )
    group.add_argument("--layer", metavar="PATH", help="features.4.2, layer3.1, ... (default: the last stage)")
    group.add_argument("--method", choices=("grad_cam", "grad_cam++"), default="grad_cam", help="(%(default)s)")
    group.add_argument(
        "--compare", type=Reads(several=True), default="", metavar="ID,FILE,RUN", help="more networks, a row for each"
    )
    group.add_argument("--names", default="", metavar="A,B", help="names of the rows (default: the weights')")
    group.add_argument("--batch-size", type=number(int, 1), default=8, metavar="N", help="(default: %(default)s)")
    add_figures(group)
    command.set_defaults(run=gradcam)
