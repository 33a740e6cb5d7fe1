"""``gluon-aff gradcam`` and ``attention``: where networks look, and where their fusions choose which input."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Dict, List

from ..utils.outputs import Reads
from .arguments import add_figures, add_number, add_pictures, add_viewer, data_of, model_options, names_of, open_one


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
        empty = [image.mask for image in images if image.mask is not None and not image.mask.any()]
        judged = [image for image in images if image.wrong is not None and (image.mask is None or image.mask.any())]
        what = "with their target found" if images[0].mask is not None else "right"
        right = f", {sum(not image.wrong for image in judged)} of {len(judged)} {what}" if judged else ""
        without = f", {len(empty)} without a target at {empty[0].shape[1]}x{empty[0].shape[0]}" if empty else ""
        print(f"{network_name}: {len(images)} images{right}{without}")
    more = "" if is_figure(args.out) else f", {args.out}/predictions.csv and a folder for each network"
    print(f"written: {', '.join(map(str, sheets))}{more}")
    return 0


def _unique(name: str, taken: Dict[str, Any]) -> str:
    """``name``, with (2), (3), ... behind it where it is taken."""
    unique, number = name, 2
    while unique in taken:
        unique, number = f"{name} ({number})", number + 1
    return unique


def attention(args: argparse.Namespace) -> int:
    import numpy as np

    from ..gradcam import find_pictures, fusion_weights
    from ..gradcam.fusion_weights import draw_weight_sheet, weight_arrays, weight_lines
    from ..utils.figures import is_figure
    from ..utils.files import FileNames, atomic_write

    pictures, network = find_pictures(args.images, args.count), open_one(args)
    names, out = FileNames(), Path(args.out)
    for number, picture in enumerate(pictures.chosen, 1):
        pixels = network.input.read(picture.content(), picture.where)
        weights = fusion_weights(network.net, network.input.transform(pixels[None]))
        if is_figure(out):
            sheet = out if number == 1 else out.with_name(f"{out.stem}-{number}{out.suffix}")
            written = str(sheet)
        else:
            stem = names(f"{picture.folder}-{picture.name}")
            sheet, written = out / f"{stem}.png", f"{out / stem}.png and .npz"
            with atomic_write(out / f"{stem}.npz", "wb") as handle:
                np.savez_compressed(handle, **weight_arrays(weights))
        draw_weight_sheet(weights, pixels, f"{network.title}: {picture.folder}/{picture.name}", sheet, args.dpi)
        print("\n".join([f"{picture.where}: {written}", "", *weight_lines(weights), ""]))
    return 0


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make both known to the command line."""
    command = commands.add_parser(
        "gradcam",
        help="where networks look: Grad-CAM as heat maps, overlays and a sheet like the paper's Fig. 6",
        description="Rows of the sheet are networks, columns are images; below each what was predicted with its "
        "softmax score, ✕ where it is wrong. Of segmentation networks: IoU, where a mask lies beside the image.",
    )
    add_viewer(command)
    group = command.add_argument_group("images and maps")
    add_pictures(group, 10, more="; a folder named like a class gives the true class")
    text = "the class whose evidence to show (default: the predicted one); the true one where the folder tells none"
    group.add_argument("--class", dest="target", metavar="NAME|INDEX", help=text)
    group.add_argument("--layer", metavar="PATH", help="features.4.2, layer3.1, ... (default: the last stage)")
    group.add_argument("--method", choices=("grad_cam", "grad_cam++"), default="grad_cam", help="(%(default)s)")
    text = "more networks, a row for each"
    group.add_argument("--compare", type=Reads(several=True), default="", metavar="ID,FILE,RUN", help=text)
    group.add_argument("--names", default="", metavar="A,B", help="names of the rows (default: the weights')")
    add_number(group, "--batch-size", default=8, help="(default: %(default)s)")
    add_figures(group)
    command.set_defaults(run=gradcam)

    command = commands.add_parser(
        "attention",
        help="the fusion weights M: where the network chooses the shortcut, where the learned branch",
        description="For each image a table, a contact sheet (rows: fusions, shallow to deep; M, its local and its "
        "global part, means over channels) and the arrays as .npz.",
    )
    add_viewer(command)
    group = command.add_argument_group("images")
    add_pictures(group, 4, "--image")
    add_figures(group)
    command.set_defaults(run=attention)
