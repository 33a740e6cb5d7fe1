"""``gluon-aff attention``: where a network's fusions choose the shortcut, and where the learned branch."""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_pictures, add_viewer, data_of, model_options


def attention(args: argparse.Namespace) -> int:
    from ..gradcam import find_pictures, fusion_weights, open_viewed
    from ..gradcam.weight_sheet import draw, lines, write_arrays
    from ..runtime import devices
    from ..utils.files import FileNames

    contexts = devices.pick(args.gpus)[:1]
    pictures = find_pictures(args.images, args.count)
    viewed = open_viewed(args.weights, contexts, args.model, model_options(args), data_of(args))
    names, out = FileNames(), Path(args.out)
    for picture in pictures.chosen:
        pixels = viewed.pixels(picture.content(), picture.where)
        weights = fusion_weights(viewed.net, viewed.transform(pixels[None]))
        stem = names(f"{picture.folder}-{picture.name}")
        write_arrays(weights, out / f"{stem}.npz")
        draw(weights, pixels, f"{viewed.name}: {picture.folder}/{picture.name}", out / f"{stem}.png")
        print("\n".join([f"{picture.where}: {out / stem}.png and .npz", "", *lines(weights), ""]))
    return 0


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Make it known to the command line."""
    command = commands.add_parser(
        "attention",
        help="the fusion weights M: where the network chooses the shortcut, where the learned branch",
        description="For each picture a table, a contact sheet (rows: fusions, shallow to deep; M, its local and its "
        "global part, means over channels) and the arrays as .npz.",
    )
    add_viewer(command)
    group = command.add_argument_group("pictures")
    add_pictures(group, 4, "--image")
    group.add_argument("--out", required=True, metavar="DIR", help="where files go")
    command.set_defaults(run=attention)
