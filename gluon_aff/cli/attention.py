"""``gluon-aff attention``: where a network's fusions choose the shortcut and where the learned branch."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_figures, add_pictures, add_viewer, data_of, model_options


def attention(args: argparse.Namespace) -> int:
    from ..gradcam import find_pictures, fusion_weights
    from ..gradcam.fusion_weights import draw_weight_sheet, weight_lines, write_weight_arrays
    from ..runtime import devices
    from ..tasks.opening import open_network
    from ..utils.figures import is_figure
    from ..utils.files import FileNames

    contexts = devices.pick(args.gpus)[:1]
    pictures = find_pictures(args.images, args.count)
    network = open_network(args.weights, args.model, model_options(args), contexts, data_of(args))
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
            write_weight_arrays(weights, out / f"{stem}.npz")
        draw_weight_sheet(weights, pixels, f"{network.title}: {picture.folder}/{picture.name}", sheet, args.dpi)
        print("\n".join([f"{picture.where}: {written}", "", *weight_lines(weights), ""]))
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
    add_figures(group)
    command.set_defaults(run=attention)
