"""``gluon-aff attention``: where a network's fusions choose the shortcut and where the learned branch."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_pictures, add_viewer, data_of, model_options, nonempty


def attention(args: argparse.Namespace) -> int:
    from ..gradcam import find_pictures, fusion_weights, open_image_network
    from ..gradcam.fusion_weights_sheet import draw_weight_sheet, weight_lines, write_weight_arrays
    from ..runtime import devices
    from ..utils.files import FileNames

    contexts = devices.pick(args.gpus)[:1]
    pictures = find_pictures(args.images, args.count)
    network = open_image_network(args.weights, contexts, args.model, model_options(args), data_of(args))
    names, out = FileNames(), Path(args.out)
    for picture in pictures.chosen:
        pixels = network.input.read(picture.content(), picture.where)
        weights = fusion_weights(network.net, network.input.transform(pixels[None]))
        stem = names(f"{picture.folder}-{picture.name}")
        write_weight_arrays(weights, out / f"{stem}.npz")
        draw_weight_sheet(weights, pixels, f"{network.name}: {picture.folder}/{picture.name}", out / f"{stem}.png")
        print("\n".join([f"{picture.where}: {out / stem}.png and .npz", "", *weight_lines(weights), ""]))
    return 0


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make it known to the command line."""
    command = commands.add_parser(
        "attention",
        help="the fusion weights M: where the network chooses the shortcut, where the learned branch",
        description="For each image a table, a contact sheet (rows: fusions, shallow to deep; M, its local and its "
        "global part, means over channels) and the arrays as .npz.",
    )
    add_viewer(command)
    group = command.add_argument_group("images")
    add_pictures(group, 4, "--image")
    group.add_argument("--out", required=True, type=nonempty, metavar="DIR", help="where the files go")
    command.set_defaults(run=attention)
